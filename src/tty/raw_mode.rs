//! The modes of the terminal on stdin: raw for the line editor and the panes, or without echo for a
//! password. Given back however the program ends, unless by SIGKILL.
//!
//! There is one record of the original modes for the process, so that any thread can restore them:
//! a guard that is dropped, a signal handler that ends the process, a panic hook.

use std::io;
use std::panic;
use std::process;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::process::{Signal, kill_current_process_group};
use rustix::termios::{InputModes, LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::sync::Mutex;
use crate::tty::{is_foreground, write_past_std};

/// Time limit for writing [`Sequences::leave`]: a terminal that accepts no output must not delay
/// the end of the program.
const LEAVE_TIME: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 200_000_000,
};

/// The state of the terminal. No other lock is taken while this one is held.
static TERMINAL: Mutex<Terminal> = Mutex::new(Terminal {
    taken: None,
    is_final: false,
});

struct Terminal {
    taken: Option<Taken>,
    /// The program ends: the terminal isn't to be taken any more.
    is_final: bool,
}

/// The terminal's original modes, and the sequences for the current ones.
#[derive(Clone)]
struct Taken {
    before: Termios,
    sequences: Sequences,
}

/// Control sequences for the terminal itself, beside the modes of its driver.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sequences {
    /// Written after the terminal was made raw.
    pub(crate) enter: Vec<u8>,
    /// Written before the original modes are restored.
    pub(crate) leave: Vec<u8>,
    /// Keep the driver's flow control, so that Ctrl+S stops the output and Ctrl+Q continues it.
    pub(crate) has_flow_control: bool,
}

/// The terminal in other modes than it was found in, until this is dropped.
#[derive(Debug)]
pub(crate) struct RawMode(());

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

impl RawMode {
    /// Makes the terminal on stdin raw: each key is read at once, and Ctrl+C and Ctrl+Z are keys.
    ///
    /// # Errors
    /// Stdin isn't a terminal, the terminal on stdout is gone, or the program ends. In the
    /// background, the process stops until it's in the foreground, unless no shell can bring it
    /// back (orphaned group).
    pub(crate) fn enter(sequences: Sequences) -> io::Result<Self> {
        let enter = sequences.enter.clone();
        let guard = Self::take(sequences, raw)?;
        write_past_std(&enter)?;
        Ok(guard)
    }

    /// Hides what is typed on stdin, except for the end of the line.
    ///
    /// # Errors
    /// Stdin isn't a terminal, or the program ends.
    pub(crate) fn hide_typing() -> io::Result<Self> {
        Self::take(Sequences::default(), |before, _| {
            let mut hidden = before.clone();
            hidden.local_modes.remove(LocalModes::ECHO);
            hidden.local_modes.insert(LocalModes::ECHONL);
            hidden
        })
    }

    /// Records the modes and sets the new ones under one lock, so that a thread that ends the
    /// program restores either all or nothing.
    fn take(
        sequences: Sequences,
        modes: impl FnOnce(&Termios, &Sequences) -> Termios,
    ) -> io::Result<Self> {
        let stdin = io::stdin();
        if is_foreground(&stdin) == Some(false) {
            // Stops the process (SIGTTOU) until it's in the foreground; not with the lock.
            set(&tcgetattr(&stdin)?)?;
        }
        let mut terminal = TERMINAL.lock();
        if terminal.is_final {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let before = tcgetattr(&stdin)?;
        set(&modes(&before, &sequences))?;
        terminal.taken = Some(Taken { before, sequences });
        Ok(Self(()))
    }

    /// Restores the terminal like [`restore`], but waits as long as it accepts no output.
    pub(crate) fn restore_and_wait(self) {
        let taken = TERMINAL.lock().taken.clone();
        if let Some(taken) = taken {
            // Without the lock, so that another thread can still end the program.
            let _ = write_past_std(&taken.sequences.leave);
            if let Some(taken) = TERMINAL.lock().taken.take() {
                let _ = set(&taken.before);
            }
        }
    }
}

/// Restores the original modes, once. Does nothing if there is no [`RawMode`]. Any thread may call
/// this, also in a panic; it takes at most 200 ms. The lock is held until the modes are set, so that
/// no other thread ends the program before.
pub(crate) fn restore() {
    let mut terminal = TERMINAL.lock();
    let Some(taken) = terminal.taken.take() else {
        return;
    };
    // In the background, the modes are the shell's, and setting them would stop this process.
    if is_foreground(&io::stdin()) == Some(false) {
        return;
    }
    let stdout = io::stdout();
    let mut wait = [PollFd::new(&stdout, PollFlags::OUT)];
    // A terminal that is stopped, or blocks another thread's write, isn't ready (poll(2)).
    if let Ok(1..) = retry_on_intr(|| poll(&mut wait, Some(&LEAVE_TIME))) {
        let _ = write_past_std(&taken.sequences.leave);
    }
    // It fails if the terminal is gone.
    let _ = set(&taken.before);
}

/// Restores the terminal like [`restore`] for the end of the program: no thread can take it again.
pub(crate) fn finish() {
    TERMINAL.lock().is_final = true;
    restore();
}

/// Restores the terminal and ends the process.
pub(crate) fn exit(code: i32) -> ! {
    finish();
    process::exit(code)
}

/// Whether there is a [`RawMode`] whose terminal wasn't restored yet.
pub(crate) fn is_taken() -> bool {
    TERMINAL.lock().taken.is_some()
}

/// Makes a panic in any thread restore the terminal first, so that its report can be read, and then
/// call `then`.
pub(crate) fn restore_on_panic(then: impl Fn() + Send + Sync + 'static) {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        restore();
        report(panic);
        then();
    }));
}

/// Restores the terminal, stops the job like [`stop_job`], and makes the terminal raw again.
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
        // The caller still has its guard, which restores the terminal like this one.
        std::mem::forget(RawMode::enter(sequences)?);
    }
    Ok(())
}

/// Stops the process's job, as Ctrl+Z does in a shell, and returns when it continues.
///
/// Must be called from the main thread: the kernel prefers it for a signal to the process
/// (signal(7)), so it has stopped before this returns.
///
/// # Errors
/// None known.
pub(crate) fn stop_job() -> io::Result<()> {
    // The whole group, as the driver does, since a parent such as `cargo run` belongs to the job.
    // The kernel doesn't stop a group that no shell could continue (setpgid(2), orphaned groups).
    Ok(kill_current_process_group(Signal::TSTP)?)
}

/// Makes the terminal raw again after another program changed its modes, as a shell does when its
/// job stops without Ctrl+Z. Returns true if that was the case.
///
/// In the background, this stops the process (SIGTTOU) until the shell brings it back.
///
/// # Errors
/// The terminal is gone, or no shell could bring the process back (orphaned group).
pub(crate) fn retake() -> io::Result<bool> {
    let Some(taken) = TERMINAL.lock().taken.clone() else {
        return Ok(false);
    };
    let stdin = io::stdin();
    let modes = tcgetattr(&stdin)?;
    if is_foreground(&stdin) != Some(false) && !modes.local_modes.contains(LocalModes::ICANON) {
        return Ok(false);
    }
    set(&raw(&modes, &taken.sequences))?;
    write_past_std(&taken.sequences.enter)?;
    Ok(true)
}

/// Continues output that Ctrl+S stopped, as the driver does for the keys that send a signal.
pub(crate) fn restart_output() {
    let terminal = TERMINAL.lock();
    let has_flow_control = |taken: &Taken| taken.sequences.has_flow_control;
    if !terminal.taken.as_ref().is_some_and(has_flow_control) {
        return;
    }
    if let Ok(modes) = tcgetattr(io::stdin()) {
        // Turning flow control off restarts the output. It fails if the terminal is gone.
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

    /// Set in the environment of the test program when it runs itself on a pty, to panic there.
    const MODE: &str = "CHAT_TEST_MODE";

    const THIS: &str =
        "tty::raw_mode::tests::a_panic_in_any_thread_restores_the_terminal_before_its_report";

    #[test]
    fn a_panic_in_any_thread_restores_the_terminal_before_its_report() {
        if let Ok(mode) = env::var(MODE) {
            restore_on_panic(|| process::exit(101));
            let sequences = Sequences {
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

    /// The output of a program that panics on a pty, whose modes must be the same as before.
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
            // Reading a pty fails, instead of ending, once the other side is closed.
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
