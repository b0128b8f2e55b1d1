//! The server of a session: a child whose console is ours.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;

use anyhow::{Context, Result};
use rustix::process::Signal;

use super::child::Child;
use super::output::Output;
use crate::cli::RoomArgs;
use crate::style;

/// What the server's first line begins with; the rest of it is the address.
const READY: &str = "listening on ";

/// Longest first line that is looked at, in bytes.
const MAX_READY: u64 = 256;

/// The server.
pub(super) struct Server {
    child: Child,
    /// Its console. Its end makes the server shut down, and so does ours, even by SIGKILL.
    console: Option<ChildStdin>,
}

impl Server {
    /// Starts `program` with the options of `room`, and copies its log to `output`. `on_ready` is called with the address that it listens
    /// on, `on_end` when it has ended; both in threads of their own.
    ///
    /// # Errors
    /// The program cannot be started, or no thread is to be had.
    pub(super) fn start(
        program: &Path,
        room: &RoomArgs,
        output: Output,
        on_ready: impl FnOnce(SocketAddr) + Send + 'static,
        on_end: impl FnOnce() + Send + 'static,
    ) -> Result<Self> {
        // The server's stdout is a pipe, ours may be a terminal.
        let color = if style::is_coloured(room.color) {
            "always"
        } else {
            "never"
        };
        let mut arguments: Vec<OsString> = vec!["--lifeline".into()];
        arguments.extend(room.to_server_args());
        arguments.extend(["--color".into(), color.into()]);
        let mut command = Command::new(program);
        command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(password) = &room.password {
            command.env("CHAT_PASSWORD", password);
        }
        let take = |process: &mut std::process::Child| {
            let errors = process.stderr.take();
            (process.stdin.take(), process.stdout.take(), errors)
        };
        let (child, (console, log, errors)) = Child::start(command, "server", take, on_end)
            .with_context(|| format!("cannot start {}", program.display()))?;
        let server = Self { child, console };
        if let Some(console) = &server.console {
            // A server that does not read its console must not hold up the session.
            rustix::io::ioctl_fionbio(console, true).context("cannot set up the console")?;
        }
        if let Some(errors) = errors {
            let output = output.clone();
            thread::Builder::new()
                .name("errors".into())
                .spawn(move || {
                    for line in BufReader::new(errors).split(b'\n').map_while(Result::ok) {
                        output.warn(&String::from_utf8_lossy(&line));
                    }
                })
                .context("cannot start a thread for the server's errors")?;
        }
        if let Some(log) = log {
            // It ends with the server, whose end closes the pipe.
            thread::Builder::new()
                .name("log".into())
                .spawn(move || drop(copy_log(log, &output, on_ready)))
                .context("cannot start a thread for the server's log")?;
        }
        Ok(server)
    }

    /// Hands a line to the server's console. `false` where the server has not read for so long that there is no room for it, or has ended.
    pub(super) fn type_in(&mut self, line: &[u8]) -> bool {
        self.console
            .as_mut()
            .is_some_and(|console| console.write_all(line).is_ok())
    }

    /// Asks the server to shut down.
    pub(super) fn close(&mut self) {
        self.console = None;
    }

    /// How it ended, where it has.
    pub(super) fn ended(&self) -> Option<ExitStatus> {
        self.child.ended()
    }

    /// Ends the server at once.
    pub(super) fn kill(&self) {
        self.child.signal(Signal::KILL);
    }

    /// The number of its process, to show.
    pub(super) fn pid(&self) -> i32 {
        self.child.pid()
    }
}

/// Copies whole lines, so that a line of the launcher's never lands inside one of the server's.
fn copy_log(
    log: ChildStdout,
    output: &Output,
    on_ready: impl FnOnce(SocketAddr),
) -> io::Result<()> {
    let mut log = BufReader::new(log);
    let mut line = Vec::new();
    log.by_ref().take(MAX_READY).read_until(b'\n', &mut line)?;
    let address = std::str::from_utf8(&line)
        .ok()
        .and_then(|line| line.trim_end().strip_prefix(READY)?.parse().ok());
    output.pass_on(std::mem::take(&mut line));
    if let Some(address) = address {
        on_ready(address);
    }
    loop {
        let bytes = log.fill_buf()?;
        if bytes.is_empty() {
            output.pass_on(line);
            return Ok(());
        }
        let count = bytes.len();
        line.extend_from_slice(bytes);
        log.consume(count);
        if let Some(end) = memchr::memrchr(b'\n', &line) {
            let rest = line.split_off(end + 1);
            output.pass_on(std::mem::replace(&mut line, rest));
        }
    }
}
