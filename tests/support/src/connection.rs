//! A connection to a server, which speaks line by line.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::{DEADLINE, GREETING, Value, cut, excerpt, json};

/// A raw connection: what it sends and what it expects is said in lines.
pub struct Client {
    socket: TcpStream,
    /// What was read and is not a whole line yet, or was not asked for.
    buffer: Vec<u8>,
    transcript: Vec<String>,
    name: String,
    broken: bool,
    /// What a JSON client was told when it joined.
    pub welcome: Value,
}

impl Client {
    /// Connects, and says nothing.
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect_timeout(&address, DEADLINE)
            .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
        Self::over(socket)
    }

    /// Takes a connection that there is.
    pub fn over(socket: TcpStream) -> Self {
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

    /// Logs in, as [`Server::join`] does.
    #[track_caller]
    pub fn join(self, who: &str) -> Self {
        let mut client = self.called(who);
        // Who speaks first is greeted at once.
        client.send(who);
        client.expect(GREETING);
        client.expect_start("* welcome, ");
        client
    }

    /// Logs in, as [`Server::join_json`] does.
    #[track_caller]
    pub fn join_json(self, who: &str) -> Self {
        let mut client = self.called(who);
        client.send(&format!("/json {who}"));
        client.expect(GREETING);
        client.welcome = client.expect_json(json!({"type": "welcome"}));
        client
    }

    /// The same, under this name in a failed test's output.
    pub fn called(mut self, name: &str) -> Self {
        self.name = name.into();
        self
    }

    /// What a JSON client can come back by.
    #[track_caller]
    pub fn token(&self) -> String {
        self.welcome["token"].as_str().expect("a token").to_owned()
    }

    /// Its socket.
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Its own address.
    #[track_caller]
    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("it is connected")
    }

    /// Sends a line.
    #[track_caller]
    pub fn send(&mut self, line: &str) {
        self.send_bytes(format!("{line}\n").as_bytes());
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]);
        self.transcript.push(format!("> {text:?}"));
        (&self.socket)
            .write_all(bytes)
            .unwrap_or_else(|error| panic!("{} cannot send: {error}", self.name));
    }

    /// Says that it will send nothing more, and can still be sent to, as `nc -N` does.
    #[track_caller]
    pub fn finish_sending(&mut self) {
        self.transcript.push("> end of input".into());
        self.socket
            .shutdown(Shutdown::Write)
            .expect("it is connected");
    }

    /// Leaves in a way that is none of `/quit`'s: its token is good still.
    #[track_caller]
    pub fn hang_up(mut self) {
        self.finish_sending();
        self.lines_to_end();
    }

    /// Breaks the connection, as a machine does that loses its power and comes back.
    #[track_caller]
    pub fn reset(self) {
        let socket = socket2::SockRef::from(&self.socket);
        socket
            .set_linger(Some(Duration::ZERO))
            .expect("it is a TCP socket");
    }

    /// The next line; `None` where the server has closed.
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

    /// The next whole line; `None` where the connection is over, however it ended.
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

    /// The next line.
    #[track_caller]
    pub fn line(&mut self) -> String {
        let line = self.line_or_end();
        line.unwrap_or_else(|| panic!("{} got the end, not a line", self.name))
    }

    /// All lines until the server closes.
    #[track_caller]
    pub fn lines_to_end(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.line_or_end()).collect()
    }

    /// The next line is this one.
    #[track_caller]
    pub fn expect(&mut self, line: &str) {
        let got = self.line();
        assert!(
            got == line,
            "{} got {:?}, not {:?}",
            self.name,
            cut(&got),
            cut(line)
        );
    }

    /// The next lines are these.
    #[track_caller]
    pub fn expect_all(&mut self, lines: &[&str]) {
        for line in lines {
            self.expect(line);
        }
    }

    /// The next line begins so.
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

    /// Reads on until this line comes, and gives what came before it.
    #[track_caller]
    pub fn skip_to(&mut self, line: &str) -> Vec<String> {
        let deadline = Instant::now() + DEADLINE;
        let mut before = Vec::new();
        loop {
            assert!(
                Instant::now() < deadline,
                "{} got others, and not {line:?}",
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

    /// The next line is a JSON object.
    #[track_caller]
    pub fn json(&mut self) -> Value {
        let line = self.line();
        let value: Result<Value, _> = serde_json::from_str(&line);
        match value {
            Ok(value) if value.is_object() => value,
            _ => panic!("{} got {line:?}, no JSON object", self.name),
        }
    }

    /// The next line is a JSON object that has these fields, and perhaps others; all of it is given back.
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

    /// The next line is a JSON error with this text.
    #[track_caller]
    pub fn expect_error(&mut self, text: &str) {
        self.expect_json(json!({"type": "error", "text": text}));
    }

    /// The next line is a JSON event that is replayed.
    #[track_caller]
    pub fn expect_replay(&mut self, mut fields: Value) -> Value {
        fields["replay"] = true.into();
        self.expect_json(fields)
    }

    /// The server closes, and says nothing before.
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
