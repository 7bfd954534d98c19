//! Azure Functions 2019: calls per function and minute.
//!
//! One file per day with the header `HashOwner,HashApp,HashFunction,Trigger,1,…,1440`; subsets may leave out the first
//! two columns, or minutes. The i-th file is day i, from zero; column `480` is the minute from 7:59 to 8:00. Functions
//! are told apart by owner, application and function, and named by the latter.
//!
//! Shahrad et al., Serverless in the Wild, USENIX ATC 2020.

use crate::names::Names;
use crate::recorded::{MINUTE, MinuteCount, Recorded, Trace};
use crate::rows::{Row, Rows};
use statmux_core::files::FileError;
use statmux_core::{Span, Time};
use std::path::{Path, PathBuf};

const MINUTES_PER_DAY: u32 = 1440;

pub(super) fn read(files: &[PathBuf], until: Time) -> Result<Trace, FileError> {
    let mut names = Names::default();
    let mut functions: Vec<Vec<MinuteCount>> = Vec::new();
    let (mut first, mut end) = (u32::MAX, 0);
    for (day, path) in (0_u32..).zip(files) {
        let mut rows = Rows::open(path)?;
        let columns = Columns::of(path, &rows, day)?;
        first = first.min(columns.minutes[0].1);
        end = end.max(1 + columns.minutes.iter().map(|&(_, minute)| minute).max().unwrap_or(0));
        while let Some(row) = rows.next()? {
            let function = columns.function(&row, &mut names)?;
            functions.resize(names.list().len(), Vec::new());
            for &(column, minute) in &columns.minutes {
                let bytes = row.bytes(column);
                if bytes == b"0" || bytes.is_empty() {
                    continue;
                }
                let count = row.count(column, "calls per minute")?;
                let counted = MinuteCount { minute, count };
                if count > 0 && counted.start() < until {
                    functions[function as usize].push(counted);
                }
            }
        }
    }
    functions.iter_mut().for_each(add_up);
    let at = |minute: u32| Time::ZERO + MINUTE * u64::from(minute);
    Ok(Trace {
        functions: names.into_list(),
        start: at(first.min(end)),
        end: at(end),
        recorded: Recorded::PerMinute(functions),
        taken_off: Span::ZERO,
        remarks: Vec::new(),
    })
}

/// Sorts a function's minutes and adds up what several rows say of one.
fn add_up(minutes: &mut Vec<MinuteCount>) {
    minutes.sort_by_key(|minute| minute.minute);
    minutes.dedup_by(|next, kept| {
        let same = next.minute == kept.minute;
        if same {
            kept.count = kept.count.saturating_add(next.count);
        }
        same
    });
    minutes.shrink_to_fit();
}

struct Columns {
    /// Owner and application, where the file has them.
    owners: Vec<usize>,
    function: usize,
    /// Each minute's column, and the minute since the trace's zero.
    minutes: Vec<(usize, u32)>,
}

impl Columns {
    fn of(path: &Path, rows: &Rows<'_>, day: u32) -> Result<Self, FileError> {
        let mut minutes = Vec::new();
        for (column, name) in rows.header().iter().enumerate() {
            let Ok(minute) = name.parse::<u32>() else { continue };
            if !(1..=MINUTES_PER_DAY).contains(&minute) {
                return Err(FileError::at_line(path, 1, format!("column `{name}` is no minute of a day, 1 to 1440")));
            }
            minutes.push((column, day * MINUTES_PER_DAY + minute - 1));
        }
        minutes.sort_unstable_by_key(|&(_, minute)| minute);
        if minutes.is_empty() {
            return Err(FileError::at_line(path, 1, "the header has no columns for minutes, 1 to 1440"));
        }
        if let Some(pair) = minutes.windows(2).find(|pair| pair[0].1 == pair[1].1) {
            let minute = pair[0].1 % MINUTES_PER_DAY + 1;
            return Err(FileError::at_line(path, 1, format!("column `{minute}` stands twice in the header")));
        }
        let owners = [rows.find("HashOwner")?, rows.find("HashApp")?].into_iter().flatten().collect();
        Ok(Self { owners, function: rows.column("HashFunction")?, minutes })
    }

    /// The number of a row's function.
    fn function(&self, row: &Row<'_>, names: &mut Names) -> Result<u32, FileError> {
        let name = row.text(self.function, "HashFunction")?;
        let mut key = Vec::with_capacity(200);
        for &column in &self.owners {
            key.extend_from_slice(row.bytes(column));
            key.push(b'\n');
        }
        key.extend_from_slice(name.as_bytes());
        names.id_shown_as(&key, name).ok_or_else(|| row.error("there are too many functions"))
    }
}
