//! A client that asks one thing after another on one connection, and counts the answers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A small question to a model that every deployment has.
pub const BODY: &str = r#"{"model":"m0","input":"x"}"#;

/// A connection that asks again and again.
pub struct Client {
    socket: BufReader<TcpStream>,
    name: usize,
    asked: usize,
}

impl Client {
    pub fn new(address: SocketAddr, name: usize) -> Self {
        let socket = TcpStream::connect(address).expect("it listens");
        socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a valid time");
        Self { socket: BufReader::new(socket), name, asked: 0 }
    }

    pub fn send(&mut self, body: &str) {
        let id = format!("{}-{}", self.name, self.asked);
        self.asked += 1;
        let length = body.len();
        let text = format!(
            "POST /v1/embeddings HTTP/1.1\r\nhost: x\r\nx-request-id: {id}\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        self.socket.get_mut().write_all(text.as_bytes()).expect("it reads");
    }

    /// The status of the answer to what was sent last.
    pub fn receive(&mut self) -> u16 {
        let (mut status, mut length, mut id) = (0, 0, String::new());
        loop {
            let mut line = String::new();
            self.socket.read_line(&mut line).expect("it answers");
            let line = line.trim_end();
            match line.split_once(": ") {
                Some(("content-length", value)) => length = value.parse().expect("a number"),
                Some(("x-request-id", value)) => id = value.to_owned(),
                Some(_) => {}
                None if line.is_empty() => break,
                None => status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status"),
            }
        }
        let mut body = vec![0; length];
        self.socket.read_exact(&mut body).expect("the whole body");
        assert_eq!(id, format!("{}-{}", self.name, self.asked - 1), "the answer to another request");
        status
    }

    /// Says that nothing more comes, and makes sure that nothing more was said.
    pub fn end(mut self) {
        self.socket.get_mut().shutdown(std::net::Shutdown::Write).expect("it is open");
        let mut rest = Vec::new();
        self.socket.read_to_end(&mut rest).expect("the server closes");
        assert!(rest.is_empty(), "more answers than requests: {}", String::from_utf8_lossy(&rest));
    }
}
