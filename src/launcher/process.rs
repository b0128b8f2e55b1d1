//! A process of our own: how it ended, and signals that cannot hit another one.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use crate::sync::Mutex;

/// What the launcher keeps of a process that it started in a process group of its own, so that Ctrl+C in its terminal reaches the
/// launcher alone.
#[derive(Debug)]
pub(crate) struct ChildProcess {
    pid: Pid,
    /// How it ended. The lock is held while the process is reaped and while it is sent a signal: as long as it is not reaped, no other
    /// process can get its number.
    ended: Arc<Mutex<Option<ExitStatus>>>,
    waiter: Option<JoinHandle<()>>,
}

impl ChildProcess {
    /// Starts `command`, and hands over what `take` takes from the process: its pipes. A thread called `name` waits for its end and calls `on_end`.
    ///
    /// # Errors
    /// The program cannot be started, or no thread is to be had.
    pub(crate) fn start<P>(
        mut command: Command,
        name: &str,
        take: impl FnOnce(&mut std::process::Child) -> P,
        on_end: impl FnOnce() + Send + 'static,
    ) -> io::Result<(Self, P)> {
        let mut process = command.process_group(0).spawn()?;
        let pipes = take(&mut process);
        Ok((Self::watch(process, name, on_end)?, pipes))
    }

    /// Takes over a process that leads its own group, as [`ChildProcess::start`]. Where that fails, it is killed.
    ///
    /// # Errors
    /// No thread is to be had.
    pub(crate) fn watch(
        mut process: std::process::Child,
        name: &str,
        on_end: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let pid = Pid::from_child(&process);
        let ended = Arc::new(Mutex::new(None));
        let waiter = {
            let ended = Arc::clone(&ended);
            thread::Builder::new().name(name.into()).spawn(move || {
                wait_for_end(pid);
                let mut ended = ended.lock();
                *ended = Some(process.wait().unwrap_or_default());
                drop(ended);
                on_end();
            })
        };
        match waiter {
            Ok(waiter) => {
                let waiter = Some(waiter);
                Ok(Self { pid, ended, waiter })
            }
            Err(error) => {
                // Nobody waits for it, so the number is still its own.
                let _ = rustix::process::kill_process_group(pid, Signal::KILL);
                Err(error)
            }
        }
    }

    /// How it ended, where it has.
    pub(crate) fn ended(&self) -> Option<ExitStatus> {
        *self.ended.lock()
    }

    /// Sends a signal to its process group, as long as it has not ended.
    pub(crate) fn signal(&self, signal: Signal) {
        let ended = self.ended.lock();
        if ended.is_none() {
            let _ = rustix::process::kill_process_group(self.pid, signal);
        }
    }

    /// The number of its process, to show.
    pub(crate) fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        // The waiter of a process that does not end, not even by SIGKILL, is left to it.
        if self.ended().is_some()
            && let Some(waiter) = self.waiter.take()
        {
            let _ = waiter.join();
        }
    }
}

/// Blocks until the process has ended, and leaves it to be reaped.
fn wait_for_end(pid: Pid) {
    loop {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        match rustix::process::waitid(WaitId::Pid(pid), options) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(_) | Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_end_is_told_with_its_status() {
        let (sender, told) = mpsc::channel();
        let mut command = Command::new("sh");
        command.args(["-c", "exit 3"]);
        let on_end = move || sender.send(()).unwrap();
        let (child, ()) = ChildProcess::start(command, "test", |_| (), on_end).unwrap();
        told.recv_timeout(Duration::from_secs(10)).unwrap();
        assert_eq!(child.ended().and_then(|status| status.code()), Some(3));
    }

    #[test]
    fn a_signal_reaches_the_whole_group() {
        let (sender, told) = mpsc::channel();
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60; true"]);
        let on_end = move || sender.send(()).unwrap();
        let (child, ()) = ChildProcess::start(command, "test", |_| (), on_end).unwrap();
        assert_eq!(child.ended(), None);
        child.signal(Signal::TERM);
        told.recv_timeout(Duration::from_secs(10)).unwrap();
        assert!(child.ended().is_some());
        child.signal(Signal::TERM);
    }
}
