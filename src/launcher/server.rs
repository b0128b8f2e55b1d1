//! The server of a session, which is a child process. The launcher writes to the server's console
//! and reads its log.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;

use anyhow::{Context, Result};
use rustix::process::Signal;

use crate::cli::{PASSWORD_VARIABLE, RoomArgs};
use crate::launcher::output::Output;
use crate::launcher::process::ChildProcess;
use crate::protocol::console::{MAX_CONSOLE_LINE, ServerLine};
use crate::tty::style;

/// Limit on the length in bytes of the log's first line, which has the server's address.
const MAX_FIRST_LINE: u64 = 256;

pub(crate) struct Server {
    child: ChildProcess,
    /// The server's stdin. The server shuts down when its stdin is closed, so it ends when the
    /// launcher ends, even by SIGKILL.
    console: Option<ChildStdin>,
}

/// Error context for a log thread that cannot be started.
const NO_LOG_THREAD: &str = "cannot start a thread for the server's log";

impl Server {
    /// Starts `program` with the options of `room`, then `more`, and copies its log to `output`.
    /// Calls `on_ready` with the address on which the server listens, `on_change` with the lines
    /// that report a change of the members online, and `on_end` when the server has ended. All
    /// three are called in other threads.
    ///
    /// # Errors
    /// The program or a thread cannot be started.
    pub(crate) fn start(
        program: &Path,
        room: &RoomArgs,
        more: Vec<OsString>,
        output: Output,
        on_ready: impl FnOnce(SocketAddr) + Send + 'static,
        on_change: impl Fn(ServerLine<'_>) + Send + 'static,
        on_end: impl FnOnce() + Send + 'static,
    ) -> Result<Self> {
        // Decide on colors here, because the server's stdout is a pipe, while the launcher's stdout
        // may be a terminal.
        let color = if style::is_colored(room.color) {
            "always"
        } else {
            "never"
        };
        let mut arguments: Vec<OsString> = vec!["--supervised".into()];
        arguments.extend(room.to_server_args());
        arguments.extend(["--color".into(), color.into()]);
        arguments.extend(more);
        let mut command = Command::new(program);
        command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Capture stderr too, because the server must not write to the terminal, on which panes
            // may be drawn.
            .stderr(Stdio::piped());
        if let Some(password) = &room.password {
            command.env(PASSWORD_VARIABLE, password.as_str());
        }
        let take = |process: &mut std::process::Child| {
            let streams = (process.stdout.take(), process.stderr.take());
            (process.stdin.take(), streams)
        };
        let (child, (console, (log, stderr))) =
            ChildProcess::start(command, "server", take, on_end)
                .with_context(|| format!("cannot start {}", program.display()))?;
        let server = Self { child, console };
        if let Some(console) = &server.console {
            // Make the pipe non-blocking, so that a server that does not read its console cannot
            // block the session.
            rustix::io::ioctl_fionbio(console, true).context("cannot set up the console")?;
        }
        // The two log threads, one for stdout and one for stderr, are never joined. Both end when
        // the server ends and so closes its pipes.
        let log_thread = || thread::Builder::new().name("log".into());
        if let Some(stderr) = stderr {
            let output = output.clone();
            log_thread()
                .spawn(move || {
                    for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
                        output.fail(&String::from_utf8_lossy(&line));
                    }
                })
                .context(NO_LOG_THREAD)?;
        }
        if let Some(log) = log {
            log_thread()
                .spawn(move || drop(copy_log(log, &output, on_ready, on_change)))
                .context(NO_LOG_THREAD)?;
        }
        Ok(server)
    }

    /// Writes a line of at most [`MAX_CONSOLE_LINE`] bytes to the server's console, either whole or
    /// not at all. Returns false if the server has ended, or if the pipe is full because the server
    /// does not read its console.
    pub(crate) fn type_in(&mut self, line: &[u8]) -> bool {
        line.len() <= MAX_CONSOLE_LINE
            && self
                .console
                .as_mut()
                .is_some_and(|console| console.write_all(line).is_ok())
    }

    /// Returns a duplicate of the pipe to the server's stdin, with which a thread can poll whether
    /// the pipe has space. The server shuts down only after the duplicate is closed too.
    pub(crate) fn console(&self) -> Option<OwnedFd> {
        let console = self.console.as_ref()?;
        console.as_fd().try_clone_to_owned().ok()
    }

    /// Makes the server shut down by closing its stdin.
    pub(crate) fn close(&mut self) {
        self.console = None;
    }

    /// The exit status, or `None` while the server is running.
    pub(crate) fn status(&self) -> Option<ExitStatus> {
        self.child.status()
    }

    /// Sends the server SIGKILL.
    pub(crate) fn kill(&self) {
        self.child.signal(Signal::KILL);
    }

    /// The server's process ID, to show in messages.
    pub(crate) fn pid(&self) -> i32 {
        self.child.pid()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Kill the server in case it is still running: starting it may have failed halfway, or it
        // may have ignored the request to end.
        self.kill();
    }
}

/// Copies the server's log in whole lines, so that output of the launcher never splits a line.
fn copy_log(
    log: ChildStdout,
    output: &Output,
    on_ready: impl FnOnce(SocketAddr),
    on_change: impl Fn(ServerLine<'_>),
) -> io::Result<()> {
    let mut log = BufReader::new(log);
    let mut line = Vec::new();
    log.by_ref()
        .take(MAX_FIRST_LINE)
        .read_until(b'\n', &mut line)?;
    let first = std::mem::take(&mut line);
    output.pass_on(first.clone());
    // Before calling `on_ready`, show the lines that the server wrote together with the first one,
    // because `on_ready` makes the launcher show lines that must come after these.
    let end = memchr::memrchr(b'\n', log.buffer()).map_or(0, |at| at + 1);
    pass_on(&log.buffer()[..end], output, &on_change);
    log.consume(end);
    if let Some(ServerLine::Listening(address)) = ServerLine::parse(&first) {
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
            let lines = std::mem::replace(&mut line, rest);
            pass_on(&lines, output, &on_change);
        }
    }
}

/// Shows lines of the log, except changes of the members online, which are passed to `on_change`.
/// Passes on the last line too, after showing it.
fn pass_on(lines: &[u8], output: &Output, on_change: impl Fn(ServerLine<'_>)) {
    let mut shown = Vec::with_capacity(lines.len());
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        match ServerLine::parse(line) {
            Some(
                change @ (ServerLine::Online(_) | ServerLine::Joined(_) | ServerLine::Left(_)),
            ) => on_change(change),
            Some(closed @ ServerLine::Closed(_)) => {
                output.pass_on(std::mem::take(&mut shown));
                output.conclude(&closed.to_string());
                on_change(closed);
            }
            Some(ServerLine::Listening(_)) | None => shown.extend_from_slice(line),
        }
    }
    output.pass_on(shown);
}
