//! A raw connection to a server that sends and expects lines.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::{DEADLINE, GREETING, Value, excerpt, json, truncate};

/// A client's connection, with a transcript for failing tests.
pub struct Client {
    socket: TcpStream,
    /// Bytes read but not yet returned as a line.
    buffer: Vec<u8>,
    transcript: Vec<String>,
    name: String,
    broken: bool,
    /// Welcome of a JSON client; null for a plain client.
    pub welcome: Value,
}

impl Client {
    /// Connects and sends nothing.
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect_timeout(&address, DEADLINE)
            .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
        Self::from_socket(socket)
    }

    /// Wraps an open connection.
    pub fn from_socket(socket: TcpStream) -> Self {
        socket.set_nodelay(true).expect("it is a TCP socket");
        socket
            .set_write_timeout(Some(DEADLINE))
            .expect("the timeout is not 0");
        Self {
            socket,
            buffer: Vec::new(),
            transcript: Vec::new(),
            name: "a client".into(),
            broken: false,
            welcome: Value::Null,
        }
    }

    /// Logs in as a plain client, as [`Server::join`] does.
    #[track_caller]
    pub fn join(self, who: &str) -> Self {
        let mut client = self.named(who);
        // A client that sends first is greeted at once.
        client.send(who);
        client.expect(GREETING);
        client.expect_start("* welcome, ");
        client
    }

    /// Logs in as a JSON client, as [`Server::join_json`] does.
    #[track_caller]
    pub fn join_json(self, who: &str) -> Self {
        let mut client = self.named(who);
        client.send(&format!("/json {who}"));
        client.expect(GREETING);
        client.welcome = client.expect_json(json!({"type": "welcome"}));
        client
    }

    /// Sets the name of this client in the output of a failing test.
    pub fn named(mut self, name: &str) -> Self {
        self.name = name.into();
        self
    }

    /// Resume token of a JSON client.
    #[track_caller]
    pub fn token(&self) -> String {
        self.welcome["token"].as_str().expect("a token").to_owned()
    }

    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Local address of the connection.
    #[track_caller]
    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("it is connected")
    }

    /// Sends a line and its LF.
    #[track_caller]
    pub fn send(&mut self, line: &str) {
        self.send_bytes(format!("{line}\n").as_bytes());
    }

    /// Sends bytes unchanged.
    #[track_caller]
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]);
        self.transcript.push(format!("> {text:?}"));
        (&self.socket)
            .write_all(bytes)
            .unwrap_or_else(|error| panic!("{} cannot send: {error}", self.name));
    }

    /// Shuts down the sending side, as `nc -N` does at the end of input. Receiving still works.
    #[track_caller]
    pub fn finish_sending(&mut self) {
        self.transcript.push("> end of input".into());
        self.socket
            .shutdown(Shutdown::Write)
            .expect("it is connected");
    }

    /// Closes the connection without `/quit`, so the resume token stays valid.
    #[track_caller]
    pub fn hang_up(mut self) {
        self.finish_sending();
        self.lines_to_end();
    }

    /// Resets the connection, as a machine does after it lost power and restarted.
    #[track_caller]
    pub fn reset(self) {
        let socket = socket2::SockRef::from(&self.socket);
        socket
            .set_linger(Some(Duration::ZERO))
            .expect("it is a TCP socket");
    }

    /// Reads the next line; `None` if the server has closed the connection.
    #[track_caller]
    pub fn line_or_end(&mut self) -> Option<String> {
        let line = self.line_or_broken();
        if line.is_none() {
            let rest = String::from_utf8_lossy(&self.buffer);
            assert_eq!(rest, "", "{} got half a line at the end", self.name);
            assert!(
                !self.broken,
                "{} cannot read: the connection broke",
                self.name
            );
        }
        line
    }

    /// Reads the next line; `None` if the connection was closed or reset.
    #[track_caller]
    pub fn line_or_broken(&mut self) -> Option<String> {
        let deadline = Instant::now() + DEADLINE;
        let mut chunk = [0; 16 * 1024];
        let mut scanned = 0;
        loop {
            if let Some(at) = self.buffer[scanned..]
                .iter()
                .position(|&byte| byte == b'\n')
            {
                let line: Vec<u8> = self.buffer.drain(..=scanned + at).collect();
                let line = String::from_utf8(line).expect("a server sends UTF-8");
                let line = line.strip_suffix('\n').expect("it ends so").to_owned();
                self.transcript.push(format!("< {line}"));
                return Some(line);
            }
            scanned = self.buffer.len();
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{} got no line in time", self.name);
            self.socket
                .set_read_timeout(Some(left))
                .expect("it is not 0");
            match (&self.socket).read(&mut chunk) {
                Ok(0) => {
                    self.transcript.push("< end".into());
                    return None;
                }
                Ok(read) => self.buffer.extend_from_slice(&chunk[..read]),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                    _ => {
                        self.transcript.push(format!("< {error}"));
                        self.broken = true;
                        return None;
                    }
                },
            }
        }
    }

    /// Reads the next bytes, which must be `bytes`.
    #[track_caller]
    pub fn expect_bytes(&mut self, bytes: &[u8]) {
        let got = self.bytes(bytes.len());
        assert_eq!(got, bytes, "the bytes that {} got", self.name);
    }

    /// Reads the next `count` bytes.
    #[track_caller]
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        self.socket
            .set_read_timeout(Some(DEADLINE))
            .expect("it is not 0");
        let from_buffer = self.buffer.len().min(count);
        let mut got: Vec<u8> = self.buffer.drain(..from_buffer).collect();
        let buffered = got.len();
        got.resize(count, 0);
        (&self.socket)
            .read_exact(&mut got[buffered..])
            .unwrap_or_else(|error| panic!("{} cannot read: {error}", self.name));
        self.transcript.push(format!("< {got:x?}"));
        got
    }

    /// Reads the next line.
    #[track_caller]
    pub fn line(&mut self) -> String {
        let line = self.line_or_end();
        line.unwrap_or_else(|| panic!("{} got the end, not a line", self.name))
    }

    /// Reads all lines until the server closes the connection.
    #[track_caller]
    pub fn lines_to_end(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.line_or_end()).collect()
    }

    /// Reads the next line, which must be `line`.
    #[track_caller]
    pub fn expect(&mut self, line: &str) {
        let got = self.line();
        assert!(
            got == line,
            "{} got {:?}, not {:?}",
            self.name,
            truncate(&got),
            truncate(line)
        );
    }

    /// Reads the next lines, which must be `lines`.
    #[track_caller]
    pub fn expect_all(&mut self, lines: &[&str]) {
        for line in lines {
            self.expect(line);
        }
    }

    /// Reads the next line, which must begin with `start`.
    #[track_caller]
    pub fn expect_start(&mut self, start: &str) -> String {
        let got = self.line();
        assert!(
            got.starts_with(start),
            "{} got {got:?}, not {start:?}…",
            self.name
        );
        got
    }

    /// Reads up to and including `line` and returns the lines before it.
    #[track_caller]
    pub fn skip_to(&mut self, line: &str) -> Vec<String> {
        let deadline = Instant::now() + DEADLINE;
        let mut before = Vec::new();
        loop {
            assert!(
                Instant::now() < deadline,
                "{} got other lines, but not {line:?}",
                self.name
            );
            let Some(got) = self.line_or_end() else {
                panic!("{} got the end before {line:?}", self.name);
            };
            if got == line {
                return before;
            }
            before.push(got);
        }
    }

    /// Reads the next line, which must be a JSON object.
    #[track_caller]
    pub fn json(&mut self) -> Value {
        let line = self.line();
        let value: Result<Value, _> = serde_json::from_str(&line);
        match value {
            Ok(value) if value.is_object() => value,
            _ => panic!("{} got {line:?}, not a JSON object", self.name),
        }
    }

    /// Reads the next line, which must be a JSON object with at least these fields, and returns it.
    #[track_caller]
    pub fn expect_json(&mut self, fields: Value) -> Value {
        let got = self.json();
        for (name, value) in fields.as_object().expect("fields are an object") {
            let other = got.get(name);
            assert_eq!(
                other,
                Some(value),
                "the field {name:?} that {} got in {got}",
                self.name
            );
        }
        got
    }

    /// Reads the next line, which must be a JSON error with this text.
    #[track_caller]
    pub fn expect_error(&mut self, text: &str) {
        self.expect_json(json!({"type": "error", "text": text}));
    }

    /// Reads the next line, which must be a replayed JSON event with at least these fields.
    #[track_caller]
    pub fn expect_replay(&mut self, mut fields: Value) -> Value {
        fields["replay"] = true.into();
        self.expect_json(fields)
    }

    /// Checks that the server closes the connection without another line.
    #[track_caller]
    pub fn expect_end(&mut self) {
        let got = self.line_or_end();
        assert_eq!(got, None, "{} got a line, not the end", self.name);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}:\n{}", self.name, excerpt(&self.transcript));
        }
    }
}
