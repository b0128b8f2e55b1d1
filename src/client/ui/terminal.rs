//! The terminal itself: taken for the line editor, given back however the client ends, and the thread that reads its keys.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender, SyncSender};
use std::thread;
use std::time::Duration;

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use crossterm::terminal;

use crate::client::{Happening, PATIENCE};
use crate::tty;
use crate::tty::input::Keyboard;

/// Bracketed paste and reports of focus on; the title put aside (xterm's control sequences, `Ps = 22`).
const TAKE: &str = "\x1b[?2004h\x1b[?1004h\x1b[22;2t";

/// All that off; what stands below the cursor gone, and the cursor shown.
const GIVE_BACK: &str = "\x1b[?1004l\x1b[?2004l\x1b[23;2t\x1b[0m\x1b[J\x1b[?25h";

/// Time that a terminal has to take [`GIVE_BACK`]: one that takes nothing must not hold up the end.
const GIVE_BACK_TIME: Duration = Duration::from_millis(200);

/// What may have been typed ahead of the main thread, which a terminal that takes nothing holds up: keys, or a paste of 64 KiB at most.
const MAX_AHEAD: usize = 1024;

/// How much the main thread has handled: who looks at it sees whether it gets on.
static HANDLED: AtomicU64 = AtomicU64::new(0);

/// Whether the terminal is in other modes than it was found in. One for the process, so that any thread that ends it can put it
/// right.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal, until this is dropped.
pub(crate) struct Taken(());

impl Drop for Taken {
    fn drop(&mut self) {
        give_back();
    }
}

/// Takes the terminal on stdin and stdout.
///
/// # Errors
/// Its modes cannot be changed.
pub(crate) fn take() -> io::Result<Taken> {
    set_modes()?;
    Ok(Taken(()))
}

fn set_modes() -> io::Result<()> {
    terminal::enable_raw_mode()?;
    TAKEN.store(true, Ordering::SeqCst);
    tty::write_past_std(TAKE.as_bytes())
}

/// Gives the terminal back as it was before [`take`]; nothing where that was not called. From any thread, and in a panic.
pub(crate) fn give_back() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    let (done, written) = mpsc::channel();
    // Without a thread the modes alone are right again.
    let _ = thread::Builder::new()
        .name("give-back".into())
        .spawn(move || {
            let _ = tty::write_past_std(GIVE_BACK.as_bytes());
            let _ = done.send(());
        });
    let _ = written.recv_timeout(GIVE_BACK_TIME);
    // It fails where the terminal is gone.
    let _ = terminal::disable_raw_mode();
}

/// Stops the process, as Ctrl+Z does in a shell, until it is continued; then takes the terminal again. To be called from the main
/// thread, as [`tty::suspend`].
///
/// # Errors
/// As [`take`].
pub(crate) fn suspend() -> io::Result<()> {
    give_back();
    tty::suspend()?;
    set_modes()
}

/// Takes the terminal again where somebody else has had it, as after a stop that nobody asked this process for; true where that was so. In the
/// background it waits, as [`tty::make_raw_again`].
///
/// # Errors
/// As [`take`].
pub(crate) fn retake() -> io::Result<bool> {
    // Whoever ends the process has given it back.
    let was_away = TAKEN.load(Ordering::SeqCst) && tty::make_raw_again()?;
    if was_away {
        tty::write_past_std(TAKE.as_bytes())?;
    }
    Ok(was_away)
}

/// Columns and rows.
pub(crate) fn size() -> (usize, usize) {
    match terminal::size() {
        Ok((columns, rows)) if columns > 0 && rows > 0 => (columns.into(), rows.into()),
        // As a terminal that does not say.
        Ok(_) | Err(_) => (80, 24),
    }
}

/// To be called by the main thread for each thing that it handles.
pub(crate) fn get_on() {
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

/// What came from the terminal.
pub(crate) struct Input {
    pub(crate) event: Event,
    /// Of Ctrl+C; dropped with this by who takes it.
    _untaken: Option<Sender<()>>,
}

impl Input {
    /// To be called as soon as it has come. A main thread that writes to a terminal that takes nothing cannot take Ctrl+C, so its time to do that
    /// begins here; after it the client ends as a signal ends it.
    fn new(event: Event) -> Self {
        let leaves = matches!(
            event,
            Event::Key(KeyEvent {
                code: KeyCode::Char('c'),
                modifiers: KeyModifiers::CONTROL,
                ..
            })
        );
        Self {
            event,
            _untaken: leaves.then(end_unless_taken),
        }
    }
}

/// Ends the process in a while, unless what this gives is dropped, or the main thread gets on: in a flood its turn comes later.
fn end_unless_taken() -> Sender<()> {
    let (untaken, taken) = mpsc::channel();
    // Without it, a signal has to do.
    let _ = thread::Builder::new()
        .name("patience".into())
        .spawn(move || {
            let mut handled = HANDLED.load(Ordering::Relaxed);
            while taken.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                let before = std::mem::replace(&mut handled, HANDLED.load(Ordering::Relaxed));
                if before == handled {
                    crate::client::end_now()
                }
            }
        });
    untaken
}

/// Starts the threads called `keys`, which reads what the terminal sends, `ahead`, which posts it, and `hang-up`, which posts that the
/// terminal is gone: a read would not tell.
///
/// `keys` waits for nothing else, so that it hears Ctrl+C at once. They are not joined: nothing ends a read of a terminal but the end of the process.
///
/// # Errors
/// No thread or no socket is to be had.
pub(crate) fn start_keys(post: SyncSender<Happening>) -> io::Result<()> {
    let mut keyboard = Keyboard::open()?;
    let gone = post.clone();
    thread::Builder::new()
        .name("hang-up".into())
        .spawn(move || {
            if tty::wait_until_gone() {
                let _ = gone.send(Happening::NoKeys);
            }
        })?;
    let (typed, ahead) = mpsc::sync_channel(MAX_AHEAD);
    thread::Builder::new().name("ahead".into()).spawn(move || {
        for happening in ahead {
            if post.send(happening).is_err() {
                return;
            }
        }
    })?;
    thread::Builder::new()
        .name("keys".into())
        .spawn(move || {
            while let Ok(event) = keyboard.read() {
                if typed.send(Happening::Terminal(Input::new(event))).is_err() {
                    return;
                }
            }
            let _ = typed.send(Happening::NoKeys);
        })
        .map(drop)
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::io::Read;

    use portable_pty::{CommandBuilder, PtyPair, PtySize, native_pty_system};

    use super::*;

    /// In the environment of the program that panics: these tests, once more, on a terminal of their own. Its value is what has changed that.
    const CHANGED_BY: &str = "CHAT_TEST_CHANGED_BY";

    const THIS: &str = "client::ui::terminal::tests::a_thread_that_panics_gives_the_terminal_back_and_ends_the_client";

    #[test]
    fn a_thread_that_panics_gives_the_terminal_back_and_ends_the_client() {
        if let Ok(by) = env::var(CHANGED_BY) {
            crate::client::end_on_panic();
            let _taken = (by == "window").then(|| take().unwrap());
            let _hidden = (by == "password").then(|| tty::hide_typing().unwrap());
            let thread = thread::Builder::new().name("receive".into());
            let ended = thread.spawn(|| panic!("as any thread may")).unwrap().join();
            unreachable!("it has ended the process: {ended:?}");
        }
        let shown = panic_on_a_terminal("window");
        let (_, rest) = shown.split_once(TAKE).unwrap();
        let (_, report) = rest.split_once(GIVE_BACK).unwrap();
        assert!(report.contains("as any thread may"), "{shown}");
        let shown = panic_on_a_terminal("password");
        assert!(shown.contains("as any thread may"), "{shown}");
    }

    /// What a program shows that panics after its terminal was changed, which is as it was before.
    fn panic_on_a_terminal(changed_by: &str) -> String {
        let PtyPair { master, slave } = native_pty_system().openpty(PtySize::default()).unwrap();
        let modes = || format!("{:?}", master.get_termios());
        let before = modes();
        let mut program = CommandBuilder::new(env::current_exe().unwrap());
        program.args(["--exact", "--nocapture", THIS]);
        program.env(CHANGED_BY, changed_by);
        let mut child = slave.spawn_command(program).unwrap();
        let mut reader = master.try_clone_reader().unwrap();
        let shown = thread::spawn(move || {
            let mut shown = Vec::new();
            // A terminal that nobody holds any more fails instead of ending.
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
