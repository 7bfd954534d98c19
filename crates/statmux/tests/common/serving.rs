//! A server as users start it: the binary, in a session's folder.

use super::Session;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, Command, Stdio};

/// A server that is told to stop, or killed, before its test ends.
pub(crate) struct Serving {
    child: Child,
    /// What it says on stderr, if somebody wants to read it.
    stderr: Option<BufReader<ChildStderr>>,
    pub(crate) address: String,
    pub(crate) url: String,
    pub(crate) admin_url: serde_json::Value,
}

impl Serving {
    /// Starts `statmux serve` without models.
    pub(crate) fn start(session: &Session, args: &str) -> Self {
        Self::start_on("sleep", session, args)
    }

    /// Starts `statmux serve` in the session's folder and waits until it says where it listens.
    pub(crate) fn start_on(backend: &str, session: &Session, args: &str) -> Self {
        Self::launch(session, &format!("--backend {backend} -q {args}"), Stdio::inherit())
    }

    /// The same without models, its stderr to be read with [`Serving::line`].
    pub(crate) fn watched(session: &Session, args: &str) -> Self {
        Self::launch(session, &format!("--backend sleep {args}"), Stdio::piped())
    }

    fn launch(session: &Session, args: &str, stderr: Stdio) -> Self {
        let args = format!("serve s.toml --listen 127.0.0.1:0 --format json {args}");
        let mut child = Command::new(env!("CARGO_BIN_EXE_statmux"))
            .args(args.split_whitespace())
            .current_dir(session.folder())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .expect("the binary runs");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("text");
        let listening: serde_json::Value = serde_json::from_str(&line).expect("one line of JSON");
        let text = |key: &str| listening[key].as_str().expect("a text").to_owned();
        let stderr = child.stderr.take().map(BufReader::new);
        Self { child, stderr, address: text("address"), url: text("url"), admin_url: listening["admin_url"].clone() }
    }

    /// The next line on stderr that holds all of `parts`; what stands before it is passed over.
    pub(crate) fn line(&mut self, parts: &[&str]) -> String {
        let stderr = self.stderr.as_mut().expect("it is watched");
        let mut passed = String::new();
        loop {
            let mut line = String::new();
            stderr.read_line(&mut line).expect("text");
            assert!(!line.is_empty(), "no line with {parts:?}; it said: {passed}");
            if parts.iter().all(|part| line.contains(part)) {
                return line;
            }
            passed += &line;
        }
    }

    /// Sends it a signal, such as `HUP`.
    #[cfg(unix)]
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().expect("kill runs").success());
    }

    /// The rest of what it says on stderr, and its exit code, after it is asked to end.
    #[cfg(unix)]
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        self.signal("TERM");
        let mut rest = String::new();
        self.stderr.take().expect("it is watched").read_to_string(&mut rest).expect("text");
        (self.child.wait().expect("it ends").code(), rest)
    }

    /// The status and the text of an answer.
    pub(crate) fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
        self.ask_at(&self.address, method, path, headers, body)
    }

    /// The same, at another address.
    pub(crate) fn ask_at(&self, address: &str, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
        let mut socket = TcpStream::connect(address).expect("it listens");
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        );
        socket.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("it answers");
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, answer)
    }

    /// Its exit code, once it has ended.
    #[cfg(unix)]
    pub(crate) fn ended(mut self) -> Option<i32> {
        self.child.wait().expect("it ends").code()
    }

    /// Asks it to end as an operator would, and gives back the exit code.
    #[cfg(unix)]
    pub(crate) fn terminate(mut self) -> Option<i32> {
        self.signal("TERM");
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
