//! Sets the modes of the terminal on stdin: raw for the line editor and the panes, or without echo
//! for a password. However the program ends, except by SIGKILL, the original modes are restored.
//!
//! The process keeps a single record of the original modes, so that any thread can restore them: by
//! dropping the guard, in a signal handler that ends the process, or in a panic hook.

use std::io;
use std::panic;
use std::process;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::process::{Signal, kill_current_process_group};
use rustix::termios::{InputModes, LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::os;
use crate::sync::Mutex;
use crate::tty::{BACKGROUND_TIME, is_background, write_past_std};

/// Time limit for writing [`Sequences::leave`]. A terminal that accepts no output must not keep the
/// program from exiting.
const LEAVE_TIME: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 200_000_000,
};

/// The state of the terminal. No other lock is taken while this one is held.
static TERMINAL: Mutex<TerminalState> = Mutex::new(TerminalState {
    taken: None,
    is_final: false,
});

struct TerminalState {
    taken: Option<Taken>,
    /// Whether the program is exiting, so that the modes must not be changed again.
    is_final: bool,
}

/// The terminal's original modes, and the control sequences with which this program set it up.
#[derive(Clone)]
struct Taken {
    before: Termios,
    sequences: Sequences,
}

/// Control sequences that set up the terminal itself, in addition to the modes of its driver.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sequences {
    /// Sequences to write before `enter`. They save the modes that `enter` changes.
    pub(crate) save: Vec<u8>,
    /// Sequences to write after the terminal was made raw.
    pub(crate) enter: Vec<u8>,
    /// Sequences to write before the original modes are restored.
    pub(crate) leave: Vec<u8>,
    /// Whether to keep the driver's flow control, with which Ctrl+S stops the output and Ctrl+Q
    /// continues it.
    pub(crate) has_flow_control: bool,
}

/// A guard that restores the terminal's original modes when it's dropped.
#[derive(Debug)]
pub(crate) struct RawMode(());

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

impl RawMode {
    /// Makes the terminal on stdin raw: each key can be read at once, and Ctrl+C and Ctrl+Z are
    /// ordinary keys. If the process is in the background, it stops until a shell moves it to the
    /// foreground.
    ///
    /// # Errors
    /// Stdin isn't a terminal, the terminal on stdout is gone, the program is exiting, or the
    /// process is in the background and no shell can move it to the foreground (orphaned group).
    pub(crate) fn enter(sequences: Sequences) -> io::Result<Self> {
        let enter = [&sequences.save[..], &sequences.enter].concat();
        let guard = Self::take(sequences, raw)?;
        write_past_std(&enter)?;
        Ok(guard)
    }

    /// Turns off the echo of what is typed on stdin, except for the line ending.
    ///
    /// # Errors
    /// Stdin isn't a terminal, or the program is exiting.
    pub(crate) fn hide_typing() -> io::Result<Self> {
        Self::take(Sequences::default(), |before, _| {
            let mut hidden = before.clone();
            hidden.local_modes.remove(LocalModes::ECHO);
            hidden.local_modes.insert(LocalModes::ECHONL);
            hidden
        })
    }

    /// Records the original modes and sets the new modes, both under one lock. Otherwise, another
    /// thread that exits the program in between could miss that the modes must be restored.
    fn take(
        sequences: Sequences,
        modes: impl FnOnce(&Termios, &Sequences) -> Termios,
    ) -> io::Result<Self> {
        let stdin = io::stdin();
        wait_for_foreground()?;
        let mut terminal = TERMINAL.lock();
        if terminal.is_final {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let before = tcgetattr(&stdin)?;
        set(&modes(&before, &sequences))?;
        terminal.taken = Some(Taken { before, sequences });
        Ok(Self(()))
    }

    /// Restores the terminal like [`restore`], but without a time limit: blocks until the terminal
    /// accepts output.
    pub(crate) fn restore_and_wait(self) {
        let taken = TERMINAL.lock().taken.clone();
        if let Some(taken) = taken {
            // Write without holding the lock, so that another thread can exit the program
            // meanwhile.
            let _ = write_past_std(&taken.sequences.leave);
            if let Some(taken) = TERMINAL.lock().taken.take() {
                let _ = set(&taken.before);
            }
        }
    }
}

/// Restores the original modes. Does nothing if they are restored already. Takes at most 200 ms.
/// Any thread may call this function, even while panicking. The lock is held until the modes are
/// set, so that no other thread exits the program before that.
pub(crate) fn restore() {
    let mut terminal = TERMINAL.lock();
    let Some(taken) = terminal.taken.take() else {
        return;
    };
    // In the background, change nothing: the shell has set modes of its own, and a change would
    // stop this process.
    if is_background(&io::stdin()) {
        return;
    }
    let stdout = io::stdout();
    let mut wait = [PollFd::new(&stdout, PollFlags::OUT)];
    // Wait until the terminal accepts output (poll(2)). A terminal accepts none while its output is
    // stopped, as after Ctrl+S, or while a write of another thread blocks. A pseudoterminal that
    // accepts output has space for more than the few bytes written here, so this write doesn't
    // block.
    if let Ok(1..) = retry_on_intr(|| poll(&mut wait, Some(&LEAVE_TIME))) {
        let _ = write_past_std(&taken.sequences.leave);
    }
    // Ignore an error, which means that the terminal is gone.
    let _ = set(&taken.before);
}

/// Restores the terminal like [`restore`], and makes sure that no thread changes its modes again.
/// Called before the program exits.
pub(crate) fn finish() {
    TERMINAL.lock().is_final = true;
    restore();
}

/// Restores the terminal and exits the process.
pub(crate) fn exit(code: i32) -> ! {
    finish();
    process::exit(code)
}

/// Whether a [`RawMode`] has changed the terminal's modes and they are not restored yet.
pub(crate) fn is_taken() -> bool {
    TERMINAL.lock().taken.is_some()
}

/// Makes a panic in any thread restore the terminal before the panic is reported, so that the
/// report is readable. After the report, `then` is called.
pub(crate) fn restore_on_panic(then: impl Fn() + Send + Sync + 'static) {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        // Allow output in the background, where the report could stop the process otherwise (`stty
        // tostop`).
        os::allow_terminal_output();
        restore();
        report(panic);
        then();
    }));
}

/// Restores the terminal, stops the job like [`stop_job`], and makes the terminal raw again when
/// the job continues.
///
/// # Errors
/// As [`RawMode::enter`].
pub(crate) fn suspend() -> io::Result<()> {
    let sequences = TERMINAL
        .lock()
        .taken
        .as_ref()
        .map(|taken| taken.sequences.clone());
    restore();
    stop_job()?;
    if let Some(sequences) = sequences {
        // Forget the new guard: the caller still has the old guard, which restores the terminal in
        // the same way.
        std::mem::forget(RawMode::enter(sequences)?);
    }
    Ok(())
}

/// Stops the process's job, as Ctrl+Z does in a shell. Returns when the job continues.
///
/// Must be called from the main thread. The kernel delivers a signal for a process to the main
/// thread if it can (signal(7)), so the process stops before this function returns.
///
/// # Errors
/// Signaling the process's own group is not known to fail.
pub(crate) fn stop_job() -> io::Result<()> {
    // Signal the whole process group, as the terminal driver does: a parent such as `cargo run` is
    // part of the job. The kernel doesn't stop a group that no shell could continue (setpgid(2),
    // orphaned groups).
    Ok(kill_current_process_group(Signal::TSTP)?)
}

/// Makes the terminal raw again if another program changed its modes, as a shell does when this
/// process stops for a reason other than Ctrl+Z. Returns whether the modes were changed.
///
/// In the background, this function stops the process (SIGTTOU) until the shell moves it to the
/// foreground.
///
/// # Errors
/// The terminal is gone, or no shell can move the process to the foreground (orphaned group).
pub(crate) fn retake() -> io::Result<bool> {
    if !is_taken() {
        return Ok(false);
    }
    let was_background = wait_for_foreground()?;
    // Check and set the modes under one lock, so that no other thread restores the terminal in
    // between.
    let enter = {
        let terminal = TERMINAL.lock();
        let Some(taken) = &terminal.taken else {
            return Ok(false);
        };
        let modes = tcgetattr(io::stdin())?;
        if !was_background && !modes.local_modes.contains(LocalModes::ICANON) {
            return Ok(false);
        }
        set(&raw(&modes, &taken.sequences))?;
        taken.sequences.enter.clone()
    };
    write_past_std(&enter)?;
    Ok(true)
}

/// Waits until this process is in the foreground. Returns whether it was in the background. Must be
/// called without holding the lock of [`TERMINAL`], because the wait may be long.
///
/// # Errors
/// The terminal is gone, or no shell can move the process to the foreground (orphaned group).
fn wait_for_foreground() -> io::Result<bool> {
    let stdin = io::stdin();
    let mut was_background = false;
    while is_background(&stdin) {
        was_background = true;
        // Set the modes without changing them, because this stops the process (SIGTTOU) until the
        // shell moves it to the foreground.
        set(&tcgetattr(&stdin)?)?;
        // The process may still be in the background, because the kernel sends no signal if the
        // terminal isn't the controlling one. Sleep before the next check: with no descriptors,
        // poll(2) just sleeps.
        if is_background(&stdin) {
            let _ = poll(&mut [], Some(&BACKGROUND_TIME));
        }
    }
    Ok(was_background)
}

/// Continues output that Ctrl+S stopped, as the terminal driver does when a key sends a signal.
pub(crate) fn restart_output() {
    let terminal = TERMINAL.lock();
    let has_flow_control = |taken: &Taken| taken.sequences.has_flow_control;
    if !terminal.taken.as_ref().is_some_and(has_flow_control) {
        return;
    }
    if let Ok(modes) = tcgetattr(io::stdin()) {
        // Turn flow control off and on again, because turning it off restarts the output. Ignore
        // errors, which mean that the terminal is gone.
        let mut without = modes.clone();
        without.input_modes.remove(InputModes::IXON);
        let _ = set(&without);
        let _ = set(&modes);
    }
}

fn raw(modes: &Termios, sequences: &Sequences) -> Termios {
    let mut raw = modes.clone();
    raw.make_raw();
    if sequences.has_flow_control {
        let flow = InputModes::IXON | InputModes::IXANY;
        raw.input_modes |= modes.input_modes & flow;
    }
    raw
}

fn set(modes: &Termios) -> io::Result<()> {
    let set = || tcsetattr(io::stdin(), OptionalActions::Now, modes);
    Ok(retry_on_intr(set)?)
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::io::Read;
    use std::thread;

    use portable_pty::{CommandBuilder, PtyPair, PtySize, native_pty_system};

    use super::*;

    /// Environment variable for a test that runs its own program again on a pty: its value tells
    /// that program in which mode to panic.
    const MODE: &str = "CHAT_TEST_MODE";

    const THIS: &str =
        "tty::raw_mode::tests::a_panic_in_any_thread_restores_the_terminal_before_its_report";

    #[test]
    fn a_panic_in_any_thread_restores_the_terminal_before_its_report() {
        if let Ok(mode) = env::var(MODE) {
            restore_on_panic(|| process::exit(101));
            let sequences = Sequences {
                save: b"<save>".to_vec(),
                enter: b"<enter>".to_vec(),
                leave: b"<leave>".to_vec(),
                has_flow_control: mode == "console",
            };
            let _raw = match mode.as_str() {
                "hidden" => RawMode::hide_typing().unwrap(),
                _ => RawMode::enter(sequences).unwrap(),
            };
            let thread = thread::Builder::new().name("receive".into());
            let ended = thread.spawn(|| panic!("in a thread")).unwrap().join();
            unreachable!("the hook ends the process: {ended:?}");
        }
        for mode in ["raw", "console"] {
            let shown = panic_on_a_terminal(mode);
            let (_, rest) = shown.split_once("<enter>").unwrap();
            let (_, report) = rest.split_once("<leave>").unwrap();
            assert!(report.contains("in a thread"), "{shown}");
        }
        let shown = panic_on_a_terminal("hidden");
        assert!(shown.contains("in a thread"), "{shown}");
    }

    /// Runs this test again on a pty, on which it panics. Returns the output, and checks that the
    /// modes of the pty are the same as before.
    fn panic_on_a_terminal(mode: &str) -> String {
        let PtyPair { master, slave } = native_pty_system().openpty(PtySize::default()).unwrap();
        let modes = || format!("{:?}", master.get_termios());
        let before = modes();
        let mut program = CommandBuilder::new(env::current_exe().unwrap());
        program.args(["--exact", "--nocapture", THIS]);
        program.env(MODE, mode);
        let mut child = slave.spawn_command(program).unwrap();
        let mut reader = master.try_clone_reader().unwrap();
        let shown = thread::spawn(move || {
            let mut shown = Vec::new();
            // Ignore an error: reading a pty whose other side is closed returns an error instead of
            // end of file.
            let _ = reader.read_to_end(&mut shown);
            String::from_utf8_lossy(&shown).into_owned()
        });
        let status = child.wait().unwrap();
        let after = modes();
        drop(slave);
        let shown = shown.join().unwrap();
        assert_eq!(status.exit_code(), 101, "{shown}");
        assert_eq!(after, before, "{shown}");
        shown
    }
}
