//! Signals: which ones reach this process, and which are blocked.

use std::io;
use std::sync::Arc;

use super::hangup_is_ignored;

/// Unblocks signals that the parent had blocked, which programs inherit, but keeps a SIGHUP that
/// was ignored at start (`nohup`) from ending the process, although `ctrlc` handles that signal. A
/// SIGHUP that a parent has blocked for this reason stays blocked. A file that reaches its size
/// limit (`ulimit -f`) makes a write fail instead of ending the process.
///
/// Call it first in `main`: it blocks the signal in this thread, and later threads inherit that.
/// Ignoring the signal again would take `unsafe`.
pub fn settle_signals() {
    use nix::sys::signal::{SigSet, Signal};

    let (mut others, hangup) = (SigSet::all(), SigSet::from(Signal::SIGHUP));
    others.remove(Signal::SIGHUP);
    // Neither can fail for signals that exist. If one did, SIGHUP would end the process, as without
    // `nohup`.
    let _ = others.thread_unblock();
    if hangup_is_ignored() {
        let _ = hangup.thread_block();
    }
    // The flag is not read: with a handler, the write fails with EFBIG (setrlimit(2),
    // `RLIMIT_FSIZE`). Ignoring or blocking the signal would be inherited by child processes.
    // Without a handler, the signal would end the process.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
}

/// Resets SIGCHLD if the parent ignored it: the disposition is inherited, and then waiting for a
/// child fails (wait(2), `ECHILD`).
///
/// # Errors
/// See sigaction(2).
pub fn reset_sigchld() -> io::Result<()> {
    // The flag is not read: installing a handler needs no `unsafe`.
    signal_hook::flag::register(signal_hook::consts::SIGCHLD, Arc::default()).map(drop)
}

/// Unblocks SIGHUP if [`settle_signals`] or a parent has blocked it.
pub fn allow_hangup() {
    use nix::sys::signal::{SigSet, Signal};

    // Cannot fail, as above.
    let _ = SigSet::from(Signal::SIGHUP).thread_unblock();
}

/// Makes this thread's reads from a terminal in the background fail with `EIO`; otherwise they
/// would stop the process (`SIGTTIN`, credentials(7)).
pub(crate) fn fail_background_reads() {
    use nix::sys::signal::{SigSet, Signal};

    // Cannot fail, as above.
    let _ = SigSet::from(Signal::SIGTTIN).thread_block();
}

/// Lets this process write to its terminal, and change its modes, while another job is in the
/// foreground. Otherwise SIGTTOU would stop it.
pub fn allow_terminal_output() {
    use nix::sys::signal::{SigSet, Signal};

    // Cannot fail, as above.
    let _ = SigSet::from(Signal::SIGTTOU).thread_block();
}
