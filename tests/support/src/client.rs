//! What the client's tests need besides: the client in a pipe and on a terminal, and a server that says what it is told to.

use std::net::TcpListener;
use std::process::{Command, Stdio};

use crate::proxy::Proxy;
use crate::{Client, Program, Server, Terminal, bin, byte_by_byte, program, wait_until};

/// What lets a client in, as member 7, `ala`.
pub const WELCOME: &str = r#"{"type":"welcome","room":"r","token":"t","id":7,"name":"ala","count":1,"online":[{"id":7,"name":"ala"}],"seq":0}"#;

/// A command that runs `chat-client` with these arguments, its stdin a pipe.
pub fn chat_client(args: &[&str]) -> Command {
    let mut command = program(&bin("chat-client"));
    command.args(args).stdin(Stdio::piped());
    command
}

/// Starts a client in a pipe, for this server.
#[track_caller]
pub fn piped(server: &Server, args: &[&str]) -> Program {
    let mut command = chat_client(&[&server.address.to_string()]);
    command.args(args);
    Program::start(command)
}

/// `text` with each time of day at a line's beginning as `10:00`.
pub fn at_ten(text: &str) -> String {
    let mut lines = String::new();
    for line in text.lines() {
        let is_time = line.len() > 6
            && line.bytes().zip(*b"00:00 ").all(|(byte, form)| match form {
                b'0' => byte.is_ascii_digit(),
                other => byte == other,
            });
        lines += if is_time { "10:00 " } else { "" };
        lines += if is_time { &line[6..] } else { line };
        lines.push('\n');
    }
    lines
}

/// A server that a test plays.
pub struct FakeServer {
    listener: TcpListener,
    proxy: Option<Proxy>,
}

impl FakeServer {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = byte_by_byte::proxy(listener.local_addr().unwrap());
        Self { listener, proxy }
    }

    pub fn address(&self) -> String {
        let address = match &self.proxy {
            Some(proxy) => proxy.address(),
            None => self.listener.local_addr().unwrap(),
        };
        address.to_string()
    }

    /// A client in a pipe that joins as `ala`.
    pub fn piped(&self) -> Program {
        Program::start(chat_client(&[&self.address(), "-n", "ala"]))
    }

    /// Whether somebody waits to be let in.
    pub fn is_called(&self) -> bool {
        self.listener.set_nonblocking(true).unwrap();
        let called = self.listener.accept().is_ok();
        self.listener.set_nonblocking(false).unwrap();
        called
    }

    /// The next connection.
    #[track_caller]
    pub fn accept(&self) -> Client {
        self.listener.set_nonblocking(true).unwrap();
        let socket = wait_until("a client has connected", || self.listener.accept().ok()).0;
        socket.set_nonblocking(false).unwrap();
        Client::over(socket).called("the server")
    }

    /// The next connection, which has said that it is `ala`, and is let in.
    pub fn let_in(&self) -> Client {
        let mut client = self.accept();
        client.expect("/json ala");
        client.send(WELCOME);
        client
    }
}

impl Terminal {
    /// Starts a client on a terminal.
    #[track_caller]
    pub fn start(args: &[&str]) -> Self {
        Self::start_with(args, &[])
    }

    /// Starts it with these variables in its environment.
    #[track_caller]
    pub fn start_with(args: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = chat_client(args);
        command.envs(environment.iter().copied());
        Self::run(&command)
    }
}
