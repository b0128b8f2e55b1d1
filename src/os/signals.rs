//! Signals: which ones reach this process, and which are held back.

use std::io;

use super::hangup_is_ignored;

/// Lets signals through that the parent had blocked, which programs inherit, but keeps a SIGHUP that was ignored when this program started
/// (`nohup`) from ending it, although `ctrlc` is going to handle the signal. Nor is one let through that a parent has blocked for that reason.
/// A file that may not grow any more (`ulimit -f`) is an error of the write, not the end of the program.
///
/// To be called first in `main`: it blocks the signal in this thread, and threads inherit that when they start. To ignore it
/// again would take `unsafe`.
pub fn settle_signals() {
    use nix::sys::signal::{SigSet, Signal};

    let (mut others, hangup) = (SigSet::all(), SigSet::from(Signal::SIGHUP));
    others.remove(Signal::SIGHUP);
    // Neither can fail for signals that exist; if one did, SIGHUP would end the program, as without `nohup`.
    let _ = others.thread_unblock();
    if hangup_is_ignored() {
        let _ = hangup.thread_block();
    }
    // Nobody asks the flag: with a handler the write fails with EFBIG (setrlimit(2), `RLIMIT_FSIZE`). Ignored or blocked, the signal would be so in
    // programs that this one starts as well. Were there no handler to be had, it would end the program, as without this.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Default::default());
}

/// Lets this process hear how its children end, where its parent ignored SIGCHLD: that is inherited, and then nobody is told (wait(2), `ECHILD`).
///
/// # Errors
/// What sigaction(2) says.
pub fn hear_of_children() -> io::Result<()> {
    // Nobody asks the flag: a handler is all that is needed, and can be had without `unsafe`.
    signal_hook::flag::register(signal_hook::consts::SIGCHLD, Default::default()).map(drop)
}

/// Lets SIGHUP through again where [`settle_signals`] has it blocked, or a parent did by that.
pub fn allow_hangup() {
    use nix::sys::signal::{SigSet, Signal};

    // As there: it cannot fail.
    let _ = SigSet::from(Signal::SIGHUP).thread_unblock();
}

/// Makes this thread's reads from a terminal in the background fail with `EIO`; otherwise they would
/// stop the process (`SIGTTIN`, credentials(7)).
pub(crate) fn fail_background_reads() {
    use nix::sys::signal::{SigSet, Signal};

    // As above: it cannot fail.
    let _ = SigSet::from(Signal::SIGTTIN).thread_block();
}

/// Lets this process write to its terminal, and set it, also while another job is in the foreground, which would otherwise stop it (`SIGTTOU`).
pub fn allow_terminal_output() {
    use nix::sys::signal::{SigSet, Signal};

    // As above: it cannot fail.
    let _ = SigSet::from(Signal::SIGTTOU).thread_block();
}
