//! The built-in panes: the server's log and every client on one terminal, with nothing else to install.
//!
//! ```text
//!   keys ──▶ State: panes, focus, zoom ──▶ a pane's writer ──▶ pseudo-terminal ──▶ chat-client
//!               │                                                                     │
//!               ▼                     Wake                                            ▼
//!   screen ◀── draw ◀──────────────────────────── a pane's reader, emulation ◀── pseudo-terminal
//! ```
//!
//! The thread `draw` alone writes to the terminal, at most 60 times a second, and sleeps while nothing changes. `keys` reads the terminal. Each client
//! has two threads called `pane`: one reads what it writes into the emulation of its terminal, the other writes what is typed for it. So a terminal that takes nothing
//! holds up `draw`, and a client that reads nothing its own writer, and neither of them anything else.
//!
//! The locks: the state's, and in it a pane's; [`redraw`] has one that is never held while another is taken.

mod draw;
mod emulation;
mod host_terminal;
mod input_queue;
mod keys;
mod layout;
mod lines;
mod pane;
mod redraw;
mod state;
mod terminal_watchdog;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use ratatui::backend::{Backend, CrosstermBackend};
use ratatui::buffer::Buffer;
use ratatui::crossterm::cursor::{Hide, MoveTo, Show};
use ratatui::crossterm::event::{Event as Input, KeyEventKind};
use ratatui::crossterm::queue;
use ratatui::crossterm::terminal::{self, Clear, ClearType};
use ratatui::layout::{Position, Rect};

use crate::launcher::display::panes::host_terminal::HostTerminal;
use crate::launcher::display::panes::pane::Inside;
use crate::launcher::display::panes::redraw::Redraw;
use crate::launcher::display::panes::state::{Effect, SERVER, State};
use crate::launcher::display::panes::terminal_watchdog::TerminalWatchdog;
use crate::launcher::display::window_spec::WindowSpec;
use crate::launcher::process::ChildProcess;
use crate::sync::Mutex;
use crate::tty::input::Keyboard;

pub(crate) use crate::launcher::display::panes::host_terminal::check;
pub(crate) use crate::launcher::display::panes::terminal_watchdog::keep;

pub(crate) const NAME: &str = "panes";

/// Time that the terminal has to take its last frame before it is given back all the same.
const LAST_FRAME: Duration = Duration::from_millis(300);

/// Makes a terminal ring.
const BELL: u8 = 0x07;

/// What the terminal can show.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) coloured: bool,
    /// Whether there is more than ASCII.
    pub(crate) unicode: bool,
}

/// What the session is told.
pub(crate) enum Happening {
    /// Ctrl+C.
    Interrupt,
    /// A line for the server's console, with its ending.
    InputQueue(Vec<u8>),
    /// The client of this window has left, and is to be started again.
    Again(usize),
    /// The terminal cannot be drawn on any more.
    Failed,
}

/// The panes, on a terminal that is theirs until this is dropped.
pub(crate) struct Panes {
    shared: Arc<Shared>,
    ended: Receiver<()>,
    /// Stands by until the terminal was given back.
    keeper: Option<TerminalWatchdog>,
}

struct Shared {
    state: Mutex<State>,
    redraw: Arc<Redraw>,
}

impl Shared {}

impl Panes {
    /// Takes the terminal, with room for `clients`. `on_happening` is called in the threads of the panes, and must not wait for them.
    ///
    /// # Errors
    /// The terminal is gone, or no process or thread is to be had.
    pub(crate) fn start(
        look: Look,
        clients: usize,
        on_happening: impl Fn(Happening) + Clone + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let keeper = TerminalWatchdog::start()?;
        let redraw = Arc::new(Redraw::default());
        let (on_panic, woken) = (on_happening.clone(), Arc::clone(&redraw));
        let outer = HostTerminal::take(move || {
            woken.end();
            on_panic(Happening::Failed);
        })?;
        // Before the size is asked for, so that no change of it is missed.
        let keyboard = Keyboard::open()?;
        let size = terminal::size()?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State::new(look, size, clients)),
            redraw,
        });
        shared.redraw.at_once();
        let (end, ended) = mpsc::channel();
        let (drawn, failed) = (Arc::clone(&shared), on_happening.clone());
        thread::Builder::new().name("draw".into()).spawn(move || {
            if draw(&drawn, outer).is_err() {
                failed(Happening::Failed);
            }
            drop(end);
        })?;
        let panes = Self {
            shared: Arc::clone(&shared),
            ended,
            keeper: Some(keeper),
        };
        // Not joined: nothing ends a read of a terminal but the end of the process.
        thread::Builder::new()
            .name("keys".into())
            .spawn(move || read_keys(keyboard, &shared, on_happening))?;
        Ok(panes)
    }

    /// Opens a pane for the client of `window`, or starts another one in the pane that it has had. `on_end` is called when it has ended.
    ///
    /// # Errors
    /// There is no terminal for it, it cannot be started, or there is no thread.
    pub(crate) fn open(
        &self,
        window: &WindowSpec,
        on_end: impl FnOnce() + Send + 'static,
    ) -> io::Result<ChildProcess> {
        let redraw = &self.shared.redraw;
        let child = self.shared.state.lock().open(window, redraw, on_end);
        redraw.at_once();
        child
    }

    /// A way to show something in the server's pane.
    pub(crate) fn log(&self) -> Log {
        Log {
            inside: self.shared.state.lock().panes[SERVER].inside(),
            redraw: Arc::clone(&self.shared.redraw),
        }
    }

    /// Says in its title what the server is.
    pub(crate) fn set_server(&self, address: SocketAddr, online: usize) {
        let titles = vec![
            format!("server {address} · {online} online"),
            format!("server :{} · {online} online", address.port()),
            format!("server · {online} online"),
            "server".into(),
        ];
        self.shared.state.lock().panes[SERVER].set_titles(titles);
        self.shared.redraw.changed();
    }
}

impl Drop for Panes {
    fn drop(&mut self) {
        self.shared.redraw.end();
        match self.ended.recv_timeout(LAST_FRAME) {
            // The thread has dropped its end, and given the terminal back before.
            Ok(()) | Err(RecvTimeoutError::Disconnected) => {
                if let Some(keeper) = self.keeper.take() {
                    keeper.dismiss();
                }
            }
            // The terminal takes nothing. The thread ends with the process, and the keeper does what it can.
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Shows something in the server's pane.
#[derive(Clone)]
pub(crate) struct Log {
    inside: Arc<Mutex<Inside>>,
    redraw: Arc<Redraw>,
}

impl Log {
    /// Shows whole lines. Never waits for the terminal.
    pub(crate) fn show(&self, lines: &[u8]) {
        self.inside.lock().show(lines);
        self.redraw.changed();
    }
}

/// Reads the terminal until that fails: without keys there would be no way to end the session.
fn read_keys(mut keyboard: Keyboard, shared: &Shared, on_happening: impl Fn(Happening)) {
    while let Ok(event) = keyboard.read() {
        match event {
            Input::Key(key) if key.kind != KeyEventKind::Release => {
                let effect = shared.state.lock().key(key);
                match effect {
                    Effect::Seen => {}
                    Effect::Passed => {
                        shared.redraw.expect();
                        continue;
                    }
                    Effect::Session(happening) => on_happening(happening),
                }
            }
            Input::Paste(text) => shared.state.lock().paste(&text),
            Input::Resize(columns, rows) => shared.state.lock().size = (columns, rows),
            Input::FocusGained | Input::FocusLost => {
                let state = shared.state.lock();
                state.panes[state.focus].focus(event == Input::FocusGained);
                continue;
            }
            Input::Key(_) | Input::Mouse(_) => continue,
        }
        shared.redraw.at_once();
    }
    on_happening(Happening::Failed);
}

/// Draws until the end, and gives the terminal back.
///
/// # Errors
/// The terminal is gone.
fn draw(shared: &Shared, mut outer: HostTerminal) -> io::Result<()> {
    let mut shown = Buffer::empty(Rect::ZERO);
    let mut shown_cursor = None;
    let mut last = Instant::now();
    while shared.redraw.wait(last) {
        last = Instant::now();
        let (next, cursor, rang) = {
            let mut state = shared.state.lock();
            state.fit();
            let rang = state.hear_bells();
            let (columns, rows) = state.size;
            let mut next = Buffer::empty(Rect::new(0, 0, columns, rows));
            let cursor = draw::draw(&mut state, &mut next);
            (next, cursor, rang)
        };
        let mut frame = changes(&mut shown, next, shown_cursor, cursor)?;
        shown_cursor = cursor;
        if rang {
            // However often it did since the last frame.
            frame.push(BELL);
        }
        if !frame.is_empty() {
            outer.show(&frame)?;
        }
    }
    Ok(())
}

/// What makes the terminal show `next` where it shows `shown`, which becomes `next`; empty where that is the same.
fn changes(
    shown: &mut Buffer,
    next: Buffer,
    shown_cursor: Option<Position>,
    cursor: Option<Position>,
) -> io::Result<Vec<u8>> {
    let mut frame = Vec::new();
    if shown.area() != next.area() {
        queue!(frame, Clear(ClearType::All))?;
        *shown = Buffer::empty(*next.area());
    }
    let cells = shown.diff(&next);
    if cells.is_empty() && frame.is_empty() && shown_cursor == cursor {
        return Ok(frame);
    }
    queue!(frame, Hide)?;
    CrosstermBackend::new(&mut frame).draw(cells.into_iter())?;
    if let Some(Position { x, y }) = cursor {
        queue!(frame, MoveTo(x, y), Show)?;
    }
    *shown = next;
    Ok(frame)
}
