//! What the client's tests need besides: the client in a pipe and on a terminal, and a server that says what it is told to.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;

use portable_pty::{CommandBuilder, MasterPty, PtySize, native_pty_system};
use rustix::fs::OFlags;
use rustix::process::{Pid, kill_process};
use rustix::termios::{LocalModes, Termios, tcgetattr};

use super::support::proxy::Proxy;
use super::support::{Capture, Client, Program, Server, Signal, program, taking_apart, wait_until};

/// What lets a client in, as member 7, `ala`.
pub(crate) const WELCOME: &str = r#"{"type":"welcome","room":"r","token":"t","id":7,"name":"ala","count":1,"online":[{"id":7,"name":"ala"}],"seq":0}"#;

/// A command that runs `chat-client` with these arguments, its stdin a pipe.
pub(crate) fn chat_client(args: &[&str]) -> Command {
    let mut command = program(env!("CARGO_BIN_EXE_chat-client"));
    command.args(args).stdin(Stdio::piped());
    command
}

/// Starts a client in a pipe, for this server.
#[track_caller]
pub(crate) fn piped(server: &Server, args: &[&str]) -> Program {
    let mut command = chat_client(&[&server.address.to_string()]);
    command.args(args);
    Program::start(command)
}

/// `text` with each time of day at a line's beginning as `10:00`.
pub(crate) fn at_ten(text: &str) -> String {
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
pub(crate) struct FakeServer {
    listener: TcpListener,
    proxy: Option<Proxy>,
}

impl FakeServer {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = taking_apart(listener.local_addr().unwrap());
        Self { listener, proxy }
    }

    pub(crate) fn address(&self) -> String {
        let address = match &self.proxy {
            Some(proxy) => proxy.address(),
            None => self.listener.local_addr().unwrap(),
        };
        address.to_string()
    }

    /// A client in a pipe that joins as `ala`.
    pub(crate) fn piped(&self) -> Program {
        Program::start(chat_client(&[&self.address(), "-n", "ala"]))
    }

    /// Whether somebody waits to be let in.
    pub(crate) fn is_called(&self) -> bool {
        self.listener.set_nonblocking(true).unwrap();
        let called = self.listener.accept().is_ok();
        self.listener.set_nonblocking(false).unwrap();
        called
    }

    /// The next connection.
    #[track_caller]
    pub(crate) fn accept(&self) -> Client {
        self.listener.set_nonblocking(true).unwrap();
        let socket = wait_until("a client has connected", || self.listener.accept().ok()).0;
        socket.set_nonblocking(false).unwrap();
        Client::over(socket).called("the server")
    }

    /// The next connection, which has said that it is `ala`, and is let in.
    pub(crate) fn let_in(&self) -> Client {
        let mut client = self.accept();
        client.expect("/json ala");
        client.send(WELCOME);
        client
    }
}

/// A client on a terminal of its own, 24 lines of 100 columns. It is killed when this is dropped.
pub(crate) struct Terminal {
    child: Box<dyn portable_pty::Child + Send + Sync>,
    /// Its end is the terminal's.
    _master: Box<dyn MasterPty + Send>,
    keyboard: Box<dyn Write + Send>,
    /// Held open, as the modes of a terminal that nobody holds are forgotten.
    line: Option<File>,
    /// The modes that it was in before.
    modes: String,
    screen: Capture,
    reader: Option<JoinHandle<()>>,
    /// How much of the screen's text was expected already.
    seen: usize,
}

impl Terminal {
    #[track_caller]
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::start_with(args, &[])
    }

    /// Starts it with these variables in its environment.
    #[track_caller]
    pub(crate) fn start_with(args: &[&str], environment: &[(&str, &str)]) -> Self {
        let size = PtySize {
            rows: 24,
            cols: 100,
            ..PtySize::default()
        };
        let pair = native_pty_system().openpty(size).unwrap();
        let template = chat_client(args);
        let mut command = CommandBuilder::new(template.get_program());
        command.args(template.get_args());
        for (name, value) in template.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            }
        }
        for (name, value) in environment {
            command.env(name, value);
        }
        let line = OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::NOCTTY.bits().cast_signed())
            .open(pair.master.tty_name().unwrap())
            .unwrap();
        let modes = format!("{:?}", tcgetattr(&line).unwrap());
        let child = pair.slave.spawn_command(command).unwrap();
        let screen = Capture::default();
        let reader = screen.start(pair.master.try_clone_reader().unwrap());
        Self {
            child,
            keyboard: pair.master.take_writer().unwrap(),
            _master: pair.master,
            modes,
            line: Some(line),
            screen,
            reader: Some(reader),
            seen: 0,
        }
    }

    /// Presses keys; `\r` is Enter.
    #[track_caller]
    pub(crate) fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
        self.keyboard.flush().unwrap();
    }

    #[track_caller]
    pub(crate) fn type_line(&mut self, line: &str) {
        self.press(&format!("{line}\r"));
    }

    /// Waits until `part` comes to the screen, after what was expected before.
    #[track_caller]
    pub(crate) fn expect(&mut self, part: &str) {
        let seen = self.seen;
        let what = format!("{part:?} on the screen after its first {seen} bytes");
        self.seen = self.screen.wait(&what, |text| {
            let rest = text.get(seen..)?;
            rest.find(part).map(|at| seen + at + part.len())
        });
    }

    /// All that came to the screen.
    pub(crate) fn text(&self) -> String {
        self.screen.text()
    }

    pub(crate) fn modes(&self) -> Termios {
        tcgetattr(self.line.as_ref().unwrap()).unwrap()
    }

    /// Whether what is typed shows.
    pub(crate) fn echoes(&self) -> bool {
        self.modes().local_modes.contains(LocalModes::ECHO)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self
            .child
            .process_id()
            .and_then(|pid| Pid::from_raw(pid.cast_signed()));
        kill_process(pid.unwrap(), signal).unwrap();
    }

    /// Waits until the client has ended with this code, and gives all that came to the screen. The terminal is in the modes that it
    /// was in before.
    #[track_caller]
    pub(crate) fn exit(mut self, code: u32) -> String {
        let status = wait_until("the client has ended", || self.child.try_wait().unwrap());
        assert_eq!(format!("{:?}", self.modes()), self.modes);
        self.line = None;
        // With nobody on the terminal, its reader ends.
        self.reader.take().unwrap().join().unwrap();
        assert_eq!(status.exit_code(), code, "{}", self.text());
        self.text()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            #[expect(clippy::print_stderr, reason = "the screen of a test that failed")]
            {
                eprintln!("the screen:\n{}", self.text().escape_debug());
            }
        }
    }
}
