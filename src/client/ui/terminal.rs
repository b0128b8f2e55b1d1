//! The client's terminal: its modes, and the threads that read its input.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender, SyncSender};
use std::thread;
use std::time::Duration;

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};

use crate::tty;
use crate::tty::input::Keyboard;
use crate::tty::modes::{self, Mode};
use crate::tty::raw_mode::{self, RawMode};

/// Modes of the terminal while the client uses it.
const MODES: &[Mode] = &[
    Mode::BracketedPaste,
    Mode::FocusReports,
    Mode::AltAsEscape,
    Mode::Title,
];

/// Sequence that clears the screen below the cursor.
const LEAVE: &str = "\x1b[J";

/// How long the main thread may take to leave after a signal or Ctrl+C. After this time, the
/// process exits anyway, because a terminal that accepts no output blocks the main thread.
pub(crate) const EXIT_TIMEOUT: Duration = Duration::from_millis(1500);

/// Limit on the events that are read ahead while a terminal that accepts no output blocks the main
/// thread. An event is a key, or a paste of up to 64 KiB.
const MAX_AHEAD: usize = 1024;

/// Number of events that the main thread has handled, which shows whether it makes progress.
static HANDLED: AtomicU64 = AtomicU64::new(0);

/// Switches the terminal on stdin and stdout to raw mode.
///
/// # Errors
/// The terminal's modes cannot be changed (see [`RawMode::enter`]).
pub(crate) fn enter() -> io::Result<RawMode> {
    RawMode::enter(modes::sequences(MODES, LEAVE))
}

/// Counts an event as handled. Called by the main thread for each event.
pub(crate) fn count_handled() {
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

/// An input event from the terminal.
pub(crate) struct TerminalInput {
    pub(crate) event: Event,
    /// The sender that keeps the exit timer running, if the event is Ctrl+C. The main thread drops
    /// the sender when it takes the event, which stops the timer.
    _untaken: Option<Sender<()>>,
}

impl TerminalInput {
    /// Starts an exit timer if the event is Ctrl+C, because a main thread that is blocked writing
    /// to the terminal cannot handle the key. Unless the main thread takes the event, which stops
    /// the timer, the client exits after [`EXIT_TIMEOUT`], as after a signal.
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
            _untaken: leaves.then(exit_unless_taken),
        }
    }
}

/// Exits the process after [`EXIT_TIMEOUT`], unless the returned sender is dropped before. The time
/// starts again whenever the main thread makes progress, as it does during a flood of messages.
fn exit_unless_taken() -> Sender<()> {
    let (untaken, taken) = mpsc::channel();
    // Ignore an error: if the thread cannot be started, a signal still ends the client.
    let _ = thread::Builder::new()
        .name("exit-timeout".into())
        .spawn(move || {
            let mut handled = HANDLED.load(Ordering::Relaxed);
            while taken.recv_timeout(EXIT_TIMEOUT) == Err(RecvTimeoutError::Timeout) {
                let before = std::mem::replace(&mut handled, HANDLED.load(Ordering::Relaxed));
                if before == handled {
                    raw_mode::exit(0)
                }
            }
        });
    untaken
}

/// Starts three threads: `keys` reads the terminal, `ahead` posts the events that `keys` has read,
/// and `hang-up` posts an event when the terminal is gone, which a blocked read wouldn't notice.
/// The functions `input` and `closed` create these events.
///
/// `keys` waits only for the terminal, so that it sees Ctrl+C at once. The threads aren't joined,
/// because only the end of the process ends a read of a terminal.
///
/// # Errors
/// A thread can't be created.
pub(crate) fn start_keys<E: Send + 'static>(
    mut keyboard: Keyboard,
    post: SyncSender<E>,
    input: fn(TerminalInput) -> E,
    closed: fn() -> E,
) -> io::Result<()> {
    let gone = post.clone();
    thread::Builder::new()
        .name("hang-up".into())
        .spawn(move || {
            tty::wait_until_gone();
            let _ = gone.send(closed());
        })?;
    let (typed, ahead) = mpsc::sync_channel(MAX_AHEAD);
    thread::Builder::new().name("ahead".into()).spawn(move || {
        for event in ahead {
            if post.send(event).is_err() {
                return;
            }
        }
    })?;
    thread::Builder::new()
        .name("keys".into())
        .spawn(move || {
            while let Ok(event) = keyboard.read() {
                if typed.send(input(TerminalInput::new(event))).is_err() {
                    return;
                }
            }
            let _ = typed.send(closed());
        })
        .map(drop)
}
