//! Child processes: waits for them to end, and sends them signals. A signal never reaches another
//! process that reuses a PID.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use crate::os::Scratch;
use crate::protocol::text;
use crate::sync::Mutex;

/// A child process in its own process group, so that Ctrl+C in the terminal reaches only the
/// launcher.
#[derive(Debug)]
pub(crate) struct ChildProcess {
    pid: Pid,
    /// The exit status, once the process has been reaped. Both reaping and sending a signal take
    /// this lock. Because a PID cannot be reused before its process is reaped, a signal never
    /// reaches another process.
    status: Arc<Mutex<Option<ExitStatus>>>,
    waiter: Option<JoinHandle<()>>,
    /// A temporary file with the process's stderr, if stderr is captured.
    stderr: Option<Scratch>,
}

/// The way in which a child process has ended.
pub(crate) struct ProcessEnd {
    pub(crate) status: ExitStatus,
    /// The last line of the process's stderr. Empty if there is none or stderr is not captured.
    last_line: String,
}

impl ProcessEnd {
    /// Describes how the process called `name` ended, for an error message.
    pub(crate) fn reason(&self, name: &str) -> String {
        let mut reason = format!("{name} {}", describe(self.status));
        if !self.last_line.is_empty() {
            reason.push_str(": ");
            reason.push_str(&self.last_line);
        }
        reason
    }
}

/// Describes how a process ended, in words that follow the name of the process: `exited with status
/// 3`, or `was killed by signal 9 (SIGKILL)`.
pub(crate) fn describe(status: ExitStatus) -> String {
    let shown = status.to_string();
    match (status.code(), shown.strip_prefix("signal: ")) {
        (Some(code), _) => format!("exited with status {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => format!("ended ({shown})"),
    }
}

impl ChildProcess {
    /// Starts `command` in a process group of its own. `take_pipes` takes the pipes out of the new
    /// process, and its result is returned with the process. A thread called `name` waits for the
    /// process to end and then calls `on_end`.
    ///
    /// # Errors
    /// The program or the thread cannot be started.
    pub(crate) fn start<P>(
        mut command: Command,
        name: &str,
        take_pipes: impl FnOnce(&mut Child) -> P,
        on_end: impl FnOnce() + Send + 'static,
    ) -> io::Result<(Self, P)> {
        let mut process = command.process_group(0).spawn()?;
        let pipes = take_pipes(&mut process);
        Ok((Self::watch(process, name, on_end)?, pipes))
    }

    /// Starts `command` like [`ChildProcess::start`], but without stdin and stdout. Captures its
    /// stderr in a temporary file, for [`ProcessEnd::reason`].
    ///
    /// # Errors
    /// The program or the waiting thread cannot be started, or the temporary file cannot be made.
    pub(crate) fn start_quiet(
        mut command: Command,
        name: &str,
        on_end: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let stderr = Scratch::new(b"")?;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr.file().try_clone()?);
        let (mut child, ()) = Self::start(command, name, |_| (), on_end)?;
        child.stderr = Some(stderr);
        Ok(child)
    }

    /// Takes over a process that leads a process group of its own. A thread called `name` waits for
    /// the process to end and then calls `on_end`.
    ///
    /// # Errors
    /// The thread cannot be started. The process is killed in that case.
    pub(crate) fn watch(
        mut process: Child,
        name: &str,
        on_end: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let pid = Pid::from_child(&process);
        let status = Arc::new(Mutex::new(None));
        let waiter = {
            let status = Arc::clone(&status);
            thread::Builder::new().name(name.into()).spawn(move || {
                wait_for_end(pid);
                let mut status = status.lock();
                *status = Some(process.wait().unwrap_or_default());
                drop(status);
                on_end();
            })
        };
        match waiter {
            Ok(waiter) => Ok(Self {
                pid,
                status,
                waiter: Some(waiter),
                stderr: None,
            }),
            Err(error) => {
                // The signal reaches the right process: the PID has not been reused, because the
                // process has not been reaped.
                let _ = rustix::process::kill_process_group(pid, Signal::KILL);
                Err(error)
            }
        }
    }

    /// The exit status, or `None` while the process is running.
    pub(crate) fn status(&self) -> Option<ExitStatus> {
        *self.status.lock()
    }

    /// The exit status and the last line of stderr, or `None` while the process is running.
    pub(crate) fn end(&self) -> Option<ProcessEnd> {
        let status = self.status()?;
        let stderr = self.stderr.as_ref().map(Scratch::file);
        let last_line = stderr.map_or_else(String::new, last_line);
        Some(ProcessEnd { status, last_line })
    }

    /// Sends a signal to the process group, unless the process has ended.
    pub(crate) fn signal(&self, signal: Signal) {
        let status = self.status.lock();
        if status.is_none() {
            let _ = rustix::process::kill_process_group(self.pid, signal);
        }
    }

    /// The process ID, to show in messages.
    pub(crate) fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        // Join the waiting thread only if the process has ended. Otherwise the join could block
        // forever.
        if self.status().is_some()
            && let Some(waiter) = self.waiter.take()
        {
            let _ = waiter.join();
        }
    }
}

/// Blocks until the process has ended, without reaping it.
fn wait_for_end(pid: Pid) {
    loop {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        match rustix::process::waitid(WaitId::Pid(pid), options) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(_) | Err(_) => return,
        }
    }
}

/// Returns the last line of `file` that is not blank, cleaned for printing. Empty if there is none.
fn last_line(file: &File) -> String {
    let mut bytes = vec![0; 4096];
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let start = length.saturating_sub(bytes.len() as u64);
    let count = file.read_at(&mut bytes, start).unwrap_or(0);
    let text = String::from_utf8_lossy(&bytes[..count]);
    let last = text
        .lines()
        .rev()
        .map(str::trim)
        .find(|line| !line.is_empty());
    last.map_or_else(String::new, |line| text::clean(line).into_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn an_exit_reason_has_the_status_and_the_last_line_of_stderr() {
        let (sender, ends) = mpsc::channel();
        let command = sh("echo no; echo why >&2; echo >&2; exit 3");
        let on_end = move || sender.send(()).unwrap();
        let child = ChildProcess::start_quiet(command, "test", on_end).unwrap();
        ends.recv_timeout(DEADLINE).unwrap();
        let end = child.end().unwrap();
        assert_eq!(end.reason("sh"), "sh exited with status 3: why");
    }

    #[test]
    fn an_exit_reason_names_the_signal_that_killed_the_process() {
        let (sender, ends) = mpsc::channel();
        let on_end = move || sender.send(()).unwrap();
        let child = ChildProcess::start_quiet(sh("kill -KILL $$"), "test", on_end).unwrap();
        ends.recv_timeout(DEADLINE).unwrap();
        let end = child.end().unwrap();
        assert_eq!(end.reason("sh"), "sh was killed by signal 9 (SIGKILL)");
    }

    #[test]
    fn a_signal_reaches_the_whole_process_group() {
        let (sender, ends) = mpsc::channel();
        let on_end = move || sender.send(()).unwrap();
        let command = sh("sleep 60; true");
        let (child, ()) = ChildProcess::start(command, "test", |_| (), on_end).unwrap();
        assert_eq!(child.status(), None);
        child.signal(Signal::TERM);
        ends.recv_timeout(DEADLINE).unwrap();
        assert!(child.status().is_some());
        child.signal(Signal::TERM);
    }
}
