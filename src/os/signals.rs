//! Signals: which ones this process receives, and which ones it blocks.

use std::io;
use std::sync::Arc;

use super::hangup_is_ignored;

/// Sets the signals of this process to a known state. Of the state inherited from the parent, only
/// an ignored or blocked SIGHUP matters:
///
/// - All signals except SIGHUP are unblocked.
/// - If SIGHUP was ignored at start (`nohup`), it is blocked instead. Otherwise `ctrlc` would
///   handle the signal and end the process, and ignoring it again would require `unsafe`. If SIGHUP
///   was blocked at start, it stays blocked, because a parent may have blocked it for `nohup`.
/// - SIGXFSZ is handled, so that a write beyond the file size limit (`ulimit -f`) fails instead of
///   ending the process.
///
/// Call this function first in `main`, because later threads inherit the signal mask of this one.
pub fn settle_signals() {
    use nix::sys::signal::{SigSet, Signal};

    let (mut others, hangup) = (SigSet::all(), SigSet::from(Signal::SIGHUP));
    others.remove(Signal::SIGHUP);
    // Ignore the results: a call cannot fail for a signal that exists. If one failed, SIGHUP would
    // end the process, as it does without `nohup`.
    let _ = others.thread_unblock();
    if hangup_is_ignored() {
        let _ = hangup.thread_block();
    }
    // Install a handler, so that the write fails with EFBIG (setrlimit(2), `RLIMIT_FSIZE`). The
    // flag that the handler sets is never read. Ignoring or blocking the signal would make the
    // write fail too, but child processes would inherit that state.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
}

/// Stops ignoring SIGCHLD. A process that was started with SIGCHLD ignored cannot wait for its own
/// children (wait(2), `ECHILD`).
///
/// # Errors
/// As sigaction(2).
pub fn reset_sigchld() -> io::Result<()> {
    // Install a handler, because restoring the default action would require `unsafe`. The flag that
    // the handler sets is never read.
    signal_hook::flag::register(signal_hook::consts::SIGCHLD, Arc::default()).map(drop)
}

/// Unblocks SIGHUP, which [`settle_signals`] or a parent may have blocked. From now on, the signal
/// ends this process.
pub fn allow_hangup() {
    use nix::sys::signal::{SigSet, Signal};

    // Ignore the result: unblocking a signal that exists can't fail.
    let _ = SigSet::from(Signal::SIGHUP).thread_unblock();
}

/// Whether [`settle_signals`] or a parent has blocked SIGHUP, so that it doesn't end this process.
pub(crate) fn ignores_hangup() -> bool {
    use nix::sys::signal::{SigSet, Signal};

    // Reading the mask cannot fail.
    SigSet::thread_get_mask().is_ok_and(|blocked| blocked.contains(Signal::SIGHUP))
}

/// Makes this thread's reads from its terminal fail with `EIO` while the process is in the
/// background. If the thread did not block SIGTTIN, such a read would stop the process
/// (credentials(7)).
pub(crate) fn fail_background_reads() {
    use nix::sys::signal::{SigSet, Signal};

    // Ignore the result: blocking a signal that exists can't fail.
    let _ = SigSet::from(Signal::SIGTTIN).thread_block();
}

/// Lets this thread write to its terminal and change the terminal's modes while another job is in
/// the foreground. If the thread did not block SIGTTOU, that would stop the process.
pub fn allow_terminal_output() {
    use nix::sys::signal::{SigSet, Signal};

    // Ignore the result: blocking a signal that exists can't fail.
    let _ = SigSet::from(Signal::SIGTTOU).thread_block();
}
