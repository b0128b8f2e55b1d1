//! Signals: which ones this process receives, and which ones it blocks.

use std::io;
use std::sync::Arc;

use super::hangup_is_ignored;

/// Sets the signals of this process to a known state, whatever it inherited from its parent:
///
/// - All signals except SIGHUP are unblocked.
/// - If SIGHUP was ignored at start (`nohup`), it is blocked, because the handler of `ctrlc` would
///   end the process. Ignoring it again would take `unsafe`. A blocked SIGHUP stays blocked: a
///   parent may have blocked it for the same reason.
/// - SIGXFSZ is handled, so that a write beyond the file size limit (`ulimit -f`) fails instead of
///   ending the process.
///
/// Call it first in `main`, because later threads inherit the signal mask of this one.
pub fn settle_signals() {
    use nix::sys::signal::{SigSet, Signal};

    let (mut others, hangup) = (SigSet::all(), SigSet::from(Signal::SIGHUP));
    others.remove(Signal::SIGHUP);
    // Neither call can fail for signals that exist. If one did, SIGHUP would end the process, as
    // without `nohup`.
    let _ = others.thread_unblock();
    if hangup_is_ignored() {
        let _ = hangup.thread_block();
    }
    // The flag is never read: only the handler matters, which makes the write fail with EFBIG
    // (setrlimit(2), `RLIMIT_FSIZE`). Child processes would inherit an ignored or blocked signal,
    // but not a handler.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
}

/// Stops ignoring SIGCHLD. A process inherits an ignored SIGCHLD from its parent, and then cannot
/// wait for its children (wait(2), `ECHILD`).
///
/// # Errors
/// As sigaction(2).
pub fn reset_sigchld() -> io::Result<()> {
    // The flag is never read. Installing a handler needs no `unsafe`, unlike restoring the default.
    signal_hook::flag::register(signal_hook::consts::SIGCHLD, Arc::default()).map(drop)
}

/// Unblocks SIGHUP if [`settle_signals`] or a parent has blocked it.
pub fn allow_hangup() {
    use nix::sys::signal::{SigSet, Signal};

    // Cannot fail for a signal that exists.
    let _ = SigSet::from(Signal::SIGHUP).thread_unblock();
}

/// Makes this thread's reads from its terminal fail with `EIO` while the process is in the
/// background. Otherwise SIGTTIN would stop the process (credentials(7)).
pub(crate) fn fail_background_reads() {
    use nix::sys::signal::{SigSet, Signal};

    // Cannot fail for a signal that exists.
    let _ = SigSet::from(Signal::SIGTTIN).thread_block();
}

/// Lets this process write to its terminal and change the terminal's modes while another job is in
/// the foreground. Otherwise SIGTTOU would stop the process.
pub fn allow_terminal_output() {
    use nix::sys::signal::{SigSet, Signal};

    // Cannot fail for a signal that exists.
    let _ = SigSet::from(Signal::SIGTTOU).thread_block();
}
