//! A server as users start it: the binary, in a session's folder.

use super::Session;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

/// A server that is told to stop, or killed, before its test ends.
pub(crate) struct Serving {
    child: Child,
    pub(crate) address: String,
    pub(crate) url: String,
}

impl Serving {
    /// Starts `statmux serve` without models.
    pub(crate) fn start(session: &Session, args: &str) -> Self {
        Self::start_on("sleep", session, args)
    }

    /// Starts `statmux serve` in the session's folder and waits until it says where it listens.
    pub(crate) fn start_on(backend: &str, session: &Session, args: &str) -> Self {
        let args = format!("serve s.toml --backend {backend} --listen 127.0.0.1:0 --format json -q {args}");
        let mut child = Command::new(env!("CARGO_BIN_EXE_statmux"))
            .args(args.split_whitespace())
            .current_dir(session.folder())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("text");
        let listening: serde_json::Value = serde_json::from_str(&line).expect("one line of JSON");
        let text = |key: &str| listening[key].as_str().expect("a text").to_owned();
        assert_eq!(text("backend"), backend);
        Self { child, address: text("address"), url: text("url") }
    }

    /// The status and the text of an answer.
    pub(crate) fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
        let mut socket = TcpStream::connect(&self.address).expect("it listens");
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        );
        socket.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("it answers");
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, answer)
    }

    /// Asks it to end as an operator would, and gives back the exit code.
    #[cfg(unix)]
    pub(crate) fn terminate(mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().expect("kill runs").success());
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
