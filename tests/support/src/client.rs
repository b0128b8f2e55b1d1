//! The client in a pipe and on a terminal, and a scripted server for it.

use std::net::TcpListener;
use std::process::{Command, Stdio};

use crate::proxy::Proxy;
use crate::screen::Screen;
use crate::{Client, Program, Server, Terminal, bin, byte_by_byte, program, wait_until};

/// Welcome that admits a client as `ala`, the member with ID 7.
pub const WELCOME: &str = r#"{"type":"welcome","room":"r","token":"t","id":7,"name":"ala","count":1,"online":[{"id":7,"name":"ala"}],"seq":0}"#;

/// A command that runs `chat-client` with these arguments and a pipe as stdin.
pub fn chat_client(args: &[&str]) -> Command {
    let mut command = program(&bin("chat-client"));
    command.args(args).stdin(Stdio::piped());
    command
}

/// As [`chat_client`], with the address of this server before the arguments.
pub fn chat_client_for(server: &Server, args: &[&str]) -> Command {
    let mut command = chat_client(&[&server.address.to_string()]);
    command.args(args);
    command
}

/// Starts a client of this server in a pipe.
#[track_caller]
pub fn piped(server: &Server, args: &[&str]) -> Program {
    Program::start(chat_client_for(server, args))
}

/// Starts a client named `ala` on a terminal of this size and waits for its welcome.
#[track_caller]
pub fn ala_on_screen(server: &Server, columns: u16, rows: u16) -> Screen {
    let ala = Screen::start(&chat_client_for(server, &["-n", "ala"]), columns, rows);
    ala.expect("* welcome, ala");
    ala
}

/// Replaces the time of day at the beginning of each line with `10:00`.
pub fn mask_times(text: &str) -> String {
    let begins_with_time = |line: &str| {
        let bytes = line.as_bytes();
        bytes.len() > 5
            && bytes[2] == b':'
            && [0, 1, 3, 4].iter().all(|at| bytes[*at].is_ascii_digit())
    };
    let mut masked = String::new();
    for line in text.split_inclusive('\n') {
        let rest = if begins_with_time(line) {
            masked += "10:00";
            &line[5..]
        } else {
            line
        };
        masked += rest;
    }
    masked
}

/// A server whose part is played by the test.
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

    /// Starts a client in a pipe that joins as `ala`.
    pub fn piped(&self) -> Program {
        Program::start(chat_client(&[&self.address(), "-n", "ala"]))
    }

    /// Whether a connection waits to be accepted. If so, accepts and closes it.
    pub fn has_pending_connection(&self) -> bool {
        self.listener.set_nonblocking(true).unwrap();
        let is_pending = self.listener.accept().is_ok();
        self.listener.set_nonblocking(false).unwrap();
        is_pending
    }

    /// Waits for the next connection and accepts it.
    #[track_caller]
    pub fn accept(&self) -> Client {
        self.listener.set_nonblocking(true).unwrap();
        let socket = wait_until("a client has connected", || self.listener.accept().ok()).0;
        socket.set_nonblocking(false).unwrap();
        Client::from_socket(socket).named("the server")
    }

    /// Accepts the next connection, reads its login as `ala`, and welcomes it.
    pub fn accept_login(&self) -> Client {
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

    /// As [`Terminal::start`], with these variables in the client's environment.
    #[track_caller]
    pub fn start_with(args: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = chat_client(args);
        command.envs(environment.iter().copied());
        Self::run(&command)
    }
}
