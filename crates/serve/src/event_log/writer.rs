//! Writing a log: through a thread of its own and a channel with bounds, so that no disk delays the server.
//!
//! **Invariant:** a line is in the file, or counted as missing, and the file says where: a gap stands in the place of
//! lines that came too fast, or while the disk was full. That something is missing is said at once, and once.

use super::line::{EntryLine, GapLine};
use super::{Line, LogHeader};
use prometheus_client::metrics::counter::Counter;
use serde::Serialize;
use statmux_core::files::{FileError, create_log};
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// Lines that may wait to be written.
const WAITING: usize = 1 << 16;
/// As much is written at once.
const BUFFER: usize = 64 << 10;
/// How long a disk that failed is left alone.
const PAUSE: Duration = Duration::from_secs(1);
/// How long the end of a log is waited for: a disk may hang, or nobody read from a pipe.
const FAREWELL: Duration = Duration::from_secs(5);

/// How a log does, for whoever watches the server.
#[derive(Clone, Debug, Default)]
pub struct LogHealth {
    /// Lines written.
    pub(crate) written: Counter,
    /// Lines that are missing.
    pub(crate) missing: Counter,
    /// Attempts to write that failed.
    pub(crate) errors: Counter,
}

/// A log that is being written.
#[derive(Debug)]
pub struct LogWriter {
    path: PathBuf,
    lines: LogLines,
    end: Receiver<Option<io::Error>>,
}

/// How a log ended.
#[derive(Debug)]
pub struct LogEnd {
    /// Lines written.
    pub written: u64,
    /// Lines that are missing, as far as known.
    pub missing: u64,
    /// What kept the log from being written, if anything did.
    pub failure: Option<FileError>,
}

impl LogEnd {
    /// Whether everything was written.
    pub fn is_complete(&self) -> bool {
        self.missing == 0 && self.failure.is_none()
    }
}

/// What the writer is told.
#[derive(Debug)]
enum Message {
    Line(Line),
    /// So many lines are missing here.
    Gap(u64),
    /// Nothing more comes.
    End,
}

/// Where lines go. Copies go to the same log.
#[derive(Clone, Debug)]
pub struct LogLines {
    lines: SyncSender<Message>,
    /// Lines that found no room since the last one that did.
    owed: Arc<AtomicU64>,
    health: LogHealth,
}

impl LogLines {
    /// Hands a line to the writer. Never blocks: where the disk cannot keep up, the line is left out and counted.
    pub fn send(&self, line: Line) {
        let owed = self.owed.load(Relaxed);
        // What is missing is told in its place.
        let told = owed == 0 || self.lines.try_send(Message::Gap(owed)).is_ok();
        if told {
            self.owed.fetch_sub(owed, Relaxed);
        }
        let sent = told && self.lines.try_send(Message::Line(line)).is_ok();
        if !sent {
            if self.health.missing.inc() == 0 {
                tracing::error!("the event log cannot keep up: lines are left out, and serving goes on");
            }
            self.owed.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn health(&self) -> &LogHealth {
        &self.health
    }
}

impl LogWriter {
    /// Begins the log at `path`; what was there before is lost.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn create(path: &Path, header: &LogHeader) -> Result<Self, FileError> {
        Self::with_room(path, header, WAITING)
    }

    /// The same, with room for so many lines that wait to be written.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn with_room(path: &Path, header: &LogHeader, waiting: usize) -> Result<Self, FileError> {
        let failed = |cause| FileError::io(path, "cannot be written", cause);
        let mut file = create_log(path)?;
        let mut first = serde_json::to_vec(header).expect("plain data serialises");
        first.push(b'\n');
        file.write_all(&first).map_err(failed)?;
        let (lines, inbox) = sync_channel(waiting);
        let lines = LogLines { lines, owed: Arc::default(), health: LogHealth::default() };
        let (done, end) = channel();
        let page = Page::new(file, first.len() as u64, lines.health.clone(), path.to_owned());
        let owed = Arc::clone(&lines.owed);
        let work = move || {
            // Nobody waits any more: the server is gone.
            let _ = done.send(write(page, &inbox, &owed));
        };
        thread::Builder::new().name("event-log".to_owned()).spawn(work).map_err(failed)?;
        Ok(Self { path: path.to_owned(), lines, end })
    }

    /// Where lines go.
    pub fn lines(&self) -> LogLines {
        self.lines.clone()
    }

    /// Waits until everything is written, but not for long, and says how it went.
    ///
    /// What is sent afterwards is lost: stop the engine first.
    pub fn finish(self) -> LogEnd {
        let Self { path, lines, end } = self;
        let LogLines { lines, health, .. } = lines;
        let limit = Instant::now() + FAREWELL;
        while let Err(TrySendError::Full(_)) = lines.try_send(Message::End)
            && Instant::now() < limit
        {
            thread::sleep(Duration::from_millis(5));
        }
        let cause = match end.recv_timeout(limit.saturating_duration_since(Instant::now())) {
            Ok(cause) => cause,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                Some(io::Error::new(io::ErrorKind::TimedOut, "the disk did not take the last lines in time"))
            }
        };
        let failure = cause.map(|cause| FileError::io(&path, "cannot be written", cause));
        LogEnd { written: health.written.get(), missing: health.missing.get(), failure }
    }
}

/// What lines are written to.
trait Sink: Write {
    /// Takes back all beyond `length`.
    fn cut(&mut self, length: u64) -> io::Result<()>;
}

impl Sink for File {
    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)?;
        self.seek(SeekFrom::Start(length)).map(drop)
    }
}

/// The file, and what is to be written to it next.
struct Page<S> {
    sink: S,
    path: PathBuf,
    /// Bytes of the whole lines in the file.
    length: u64,
    buffer: Vec<u8>,
    /// Lines in the buffer.
    lines: u64,
    /// Lines that are missing, which the file does not say yet; of them, those that the buffer speaks of.
    missing: u64,
    told: u64,
    /// The last failure, and when it was, while nothing can be written.
    failing: Option<(io::Error, Instant)>,
    health: LogHealth,
}

impl<S: Sink> Page<S> {
    fn new(sink: S, length: u64, health: LogHealth, path: PathBuf) -> Self {
        Self { sink, path, length, buffer: Vec::new(), lines: 0, missing: 0, told: 0, failing: None, health }
    }

    fn add(&mut self, line: &Line, now: Instant) {
        match line {
            Line::Placed(header) => self.note(header, now),
            Line::Entry(entry, origin) => self.note(&EntryLine::new(entry, origin.as_ref()), now),
        }
    }

    /// So many lines are missing here; they were counted where they were left out.
    fn skip(&mut self, lines: u64, now: Instant) {
        self.flush(now);
        self.missing += lines;
    }

    fn note(&mut self, line: &impl Serialize, now: Instant) {
        if let Some((_, since)) = &self.failing
            && now.duration_since(*since) < PAUSE
        {
            self.health.missing.inc();
            self.missing += 1;
            return;
        }
        self.tell_gap();
        push(&mut self.buffer, line);
        self.lines += 1;
        if self.failing.is_some() || self.buffer.len() >= BUFFER {
            self.flush(now);
        }
    }

    fn tell_gap(&mut self) {
        if self.missing > self.told {
            push(&mut self.buffer, &GapLine::new(self.missing - self.told));
            self.told = self.missing;
        }
    }

    /// Writes what is in the buffer, or counts it as missing.
    fn flush(&mut self, now: Instant) {
        if self.buffer.is_empty() {
            return;
        }
        match self.sink.write_all(&self.buffer).and_then(|()| self.sink.flush()) {
            Ok(()) => {
                self.length += self.buffer.len() as u64;
                self.health.written.inc_by(self.lines);
                if self.failing.take().is_some() {
                    let (path, missing) = (self.path.display(), self.told);
                    tracing::warn!(%path, missing, "the event log is written again, with a gap");
                }
                self.missing -= self.told;
            }
            Err(error) => {
                self.health.errors.inc();
                self.health.missing.inc_by(self.lines);
                self.missing += self.lines;
                // What can be read is whole lines; of a pipe nothing can be taken back.
                let _ = self.sink.cut(self.length);
                if self.failing.is_none() {
                    let path = self.path.display();
                    tracing::error!(%path, %error, "the event log cannot be written: lines are left out, and serving goes on");
                }
                self.failing = Some((error, now));
            }
        }
        self.buffer.clear();
        (self.lines, self.told) = (0, 0);
    }

    /// Writes the last of it, lines that found no room included.
    fn close(mut self, owed: u64, now: Instant) -> Option<io::Error> {
        self.skip(owed, now);
        self.tell_gap();
        self.flush(now);
        self.failing.map(|(error, _)| error)
    }
}

fn push(buffer: &mut Vec<u8>, line: &impl Serialize) {
    serde_json::to_writer(&mut *buffer, line).expect("plain data serialises");
    buffer.push(b'\n');
}

/// Writes lines until the end. Returns the last failure, if nothing could be written then.
fn write<S: Sink>(mut page: Page<S>, inbox: &Receiver<Message>, owed: &AtomicU64) -> Option<io::Error> {
    loop {
        let message = inbox.try_recv().or_else(|_| {
            // Nothing happens at the moment, so what has happened may be looked at.
            page.flush(Instant::now());
            inbox.recv()
        });
        match message {
            Ok(Message::Line(line)) => page.add(&line, Instant::now()),
            Ok(Message::Gap(lines)) => page.skip(lines, Instant::now()),
            Ok(Message::End) | Err(_) => break,
        }
    }
    page.close(owed.load(Relaxed), Instant::now())
}

#[cfg(test)]
mod tests {
    use super::*;
    use statmux_core::{GroupId, Time};
    use statmux_sched::Event;
    use statmux_sched::log::Entry;

    /// A disk with a size, which others may change.
    #[derive(Clone, Default)]
    struct Disk {
        bytes: Vec<u8>,
        size: usize,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let room = self.size.saturating_sub(self.bytes.len());
            if room == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let taken = room.min(bytes.len());
            self.bytes.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Sink for Disk {
        fn cut(&mut self, length: u64) -> io::Result<()> {
            self.bytes.truncate(length as usize);
            Ok(())
        }
    }

    fn entry(n: u64) -> Line {
        let event = Event::GroupRestored(GroupId(0));
        Line::Entry(Entry { now: Time::from_nanos(n), event, actions: Vec::new() }, None)
    }

    #[test]
    fn a_disk_that_is_full_for_a_while_leaves_whole_lines_and_one_gap() {
        for size in 1..700 {
            let health = LogHealth::default();
            let mut page = Page::new(Disk { bytes: Vec::new(), size }, 0, health.clone(), PathBuf::new());
            let start = Instant::now();
            for n in 0..10 {
                page.add(&entry(n), start);
                page.flush(start);
            }
            let (errors, missing) = (health.errors.get(), health.missing.get());
            assert_eq!(health.written.get() + missing, 10);
            assert!(errors == u64::from(missing > 0), "{errors} attempts within a second");
            // There is room again, and it is found out with the next line.
            page.sink.size = usize::MAX;
            page.add(&entry(10), start + PAUSE);
            page.skip(3, start + PAUSE);
            page.add(&entry(11), start + PAUSE);
            let disk = {
                page.flush(start + PAUSE);
                page.sink.clone()
            };
            assert!(page.close(0, start + PAUSE).is_none());
            assert_eq!(health.written.get() + missing, 12);
            let text = String::from_utf8(disk.bytes).expect("text");
            let gaps: Vec<u64> = text
                .lines()
                .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("whole lines"))
                .filter_map(|line| line["gap"]["lines"].as_u64())
                .collect();
            let expected = if missing > 0 { vec![missing, 3] } else { vec![3] };
            assert_eq!(gaps, expected, "{size}: {text}");
        }
    }

    #[test]
    fn lines_that_find_no_room_are_counted_and_told_in_their_place() {
        let (lines, inbox) = sync_channel(2);
        let lines = LogLines { lines, owed: Arc::default(), health: LogHealth::default() };
        (0..5).for_each(|n| lines.send(entry(n)));
        assert_eq!(lines.health.missing.get(), 3);
        assert_eq!(inbox.try_iter().count(), 2);
        lines.send(entry(5));
        let told: Vec<_> = inbox.try_iter().collect();
        assert!(matches!(told[..], [Message::Gap(3), Message::Line(_)]), "{told:?}");
        assert_eq!((lines.owed.load(Relaxed), lines.health.missing.get()), (0, 3));
        drop(inbox);
        lines.send(entry(6));
        assert_eq!(lines.health.missing.get(), 4);
    }
}
