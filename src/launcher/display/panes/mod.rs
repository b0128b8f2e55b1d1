//! Built-in panes: the server's log and every client on one terminal, with nothing to install.
//!
//! ```text
//!   keys ─▶ PanesState: focus, zoom ─▶ InputQueue ─▶ pane's writer ─▶ pseudo-terminal ─▶ client
//!                  │                                                                       │
//!                  ▼      Redraw                                                           ▼
//!   screen ◀──── draw ◀────────────── Emulation ◀─── pane's reader ◀─────────── pseudo-terminal
//! ```
//!
//! Only the thread `draw` writes to the terminal, at most 60 times a second. It sleeps while
//! nothing changes. The thread `keys` reads the terminal. Each client has two threads, both named
//! `pane` and the ID of its window: one passes the client's output to an emulated terminal, and the
//! other writes the user's input to the client. So a terminal that accepts no output blocks only
//! `draw`, and a client that does not read blocks only its own writer.
//!
//! Lock order: the state, then a pane's content. [`Redraw`] and [`input_queue`] take no other lock
//! while they hold their own.

mod draw;
mod emulation;
mod host_terminal;
mod input_queue;
mod keys;
mod layout;
mod lines;
mod number_limit;
mod pane;
mod prompt;
mod redraw;
mod state;
mod terminal_watchdog;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use ratatui::backend::{Backend as _, CrosstermBackend};
use ratatui::buffer::Buffer;
use ratatui::crossterm::cursor::{Hide, MoveTo, Show};
use ratatui::crossterm::event::{Event as Input, KeyEventKind};
use ratatui::crossterm::queue;
use ratatui::crossterm::terminal::{self, Clear, ClearType};
use ratatui::layout::{Position, Rect};

use crate::launcher::display::panes::host_terminal::HostTerminal;
use crate::launcher::display::panes::pane::PaneContent;
use crate::launcher::display::panes::redraw::Redraw;
use crate::launcher::display::panes::state::{Effect, PanesState, SERVER};
use crate::launcher::display::window_spec::WindowSpec;
use crate::launcher::live::snapshot::Snapshot;
use crate::launcher::process::ChildProcess;
use crate::launcher::room_names::RoomNames;
use crate::sync::Mutex;
use crate::tty::input::Keyboard;

pub(crate) use crate::launcher::display::panes::host_terminal::check;
pub(crate) use crate::launcher::display::panes::state::{PanesEvent, TerminalFeatures};
pub(crate) use crate::launcher::display::panes::terminal_watchdog::{
    TerminalWatchdog, run as run_terminal_watchdog,
};

pub(crate) const NAME: &str = "panes";

/// How long to wait until the thread `draw` has shown its last frame and restored the terminal. A
/// blocked terminal would otherwise keep the launcher from exiting.
const LAST_FRAME: Duration = Duration::from_millis(300);

/// Query of the background color, as [`crate::tty::input::BACKGROUND_QUERY`], but terminated by ST
/// instead of BEL. A terminal that does not know the query would ring its bell on BEL, and the user
/// would think that a client had rung it.
const BACKGROUND_QUERY: &[u8] = b"\x1b]11;?\x1b\\\x1b[c";

/// Control character that rings the terminal's bell.
const BELL: u8 = 0x07;

/// Panes on a terminal. Dropping them restores the terminal.
pub(crate) struct Panes {
    shared: Arc<SharedPanes>,
    /// Receiver that is disconnected when the thread `draw` has ended.
    drawn: Receiver<()>,
    /// The terminal watchdog. `None` once the terminal is restored.
    watchdog: Option<TerminalWatchdog>,
}

/// State that the threads of the panes share.
struct SharedPanes {
    state: Mutex<PanesState>,
    redraw: Arc<Redraw>,
}

impl Panes {
    /// Takes over the terminal, and reserves space for the panes of `clients` clients. In the
    /// server's pane, Tab completes `names`. `on_event` is called in the threads of the panes, and
    /// must not wait for these threads.
    ///
    /// # Errors
    /// The terminal is gone, or a process or thread cannot be started.
    pub(crate) fn start(
        features: TerminalFeatures,
        clients: usize,
        names: RoomNames,
        on_event: impl Fn(PanesEvent) + Clone + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let watchdog = TerminalWatchdog::start(&host_terminal::sequences())?;
        let redraw = Arc::new(Redraw::default());
        let (on_panic, to_end) = (on_event.clone(), Arc::clone(&redraw));
        let terminal = HostTerminal::take(move || {
            to_end.end();
            on_panic(PanesEvent::Failed);
        })?;
        // Open the keyboard, which reports resizes, before reading the size. Otherwise, a resize
        // between the two would be missed.
        let mut keyboard = Keyboard::open()?;
        let background = if features.has_color {
            keyboard.ask_background(BACKGROUND_QUERY)?
        } else {
            None
        };
        let size = terminal::size()?;
        let shared = Arc::new(SharedPanes {
            state: Mutex::new(PanesState::new(features, background, size, clients, names)),
            redraw,
        });
        shared.redraw.request_now();
        let (ending, drawn) = mpsc::channel();
        let (to_draw, on_failure) = (Arc::clone(&shared), on_event.clone());
        thread::Builder::new().name("draw".into()).spawn(move || {
            if draw(&to_draw, terminal).is_err() {
                on_failure(PanesEvent::Failed);
            }
            drop(ending);
        })?;
        let panes = Self {
            shared: Arc::clone(&shared),
            drawn,
            watchdog: Some(watchdog),
        };
        // This thread is never joined, because only the end of the process ends a blocked read of
        // the terminal.
        thread::Builder::new()
            .name("keys".into())
            .spawn(move || read_keys(keyboard, &shared, on_event))?;
        Ok(panes)
    }

    /// Starts the client of `window` in a new pane. If the window already has a pane, uses that
    /// pane. `on_end` is called when the client has ended.
    ///
    /// # Errors
    /// The client, its terminal or a thread cannot be started.
    pub(crate) fn open(
        &self,
        window: &WindowSpec,
        on_end: impl FnOnce() + Send + 'static,
    ) -> io::Result<ChildProcess> {
        let redraw = &self.shared.redraw;
        let child = self.shared.state.lock().open(window, redraw, on_end);
        redraw.request_now();
        child
    }

    /// Returns a handle that shows lines in the server's pane.
    pub(crate) fn log(&self) -> Log {
        Log {
            content: self.shared.state.lock().panes[SERVER].content(),
            redraw: Arc::clone(&self.shared.redraw),
        }
    }

    /// Shows the server's address and the number of members online in the title of the server's
    /// pane. `others` is the number of members that are not clients of this session. If it is not
    /// 0, Ctrl+C asks before it ends the session.
    pub(crate) fn set_server(&self, address: SocketAddr, online: usize, others: usize) {
        let titles = vec![
            format!("server {address} · {online} online"),
            format!("server :{} · {online} online", address.port()),
            format!("server · {online} online"),
            "server".into(),
        ];
        let mut state = self.shared.state.lock();
        state.panes[SERVER].set_titles(titles);
        state.others = others;
        drop(state);
        self.shared.redraw.request();
    }

    /// Shows the live view in the server's pane.
    pub(crate) fn show_live_view(&self) {
        self.shared.state.lock().set_live_view(true);
        self.shared.redraw.request_now();
    }

    /// Sets the snapshot that the live view shows. Ignored while the log is shown.
    pub(crate) fn set_live(&self, snapshot: Box<Snapshot>) {
        let mut state = self.shared.state.lock();
        if state.is_live {
            state.snapshot = Some(snapshot);
        }
        drop(state);
        self.shared.redraw.request();
    }

    /// Marks the panes of the windows with these IDs as frozen, and all others as not frozen.
    pub(crate) fn set_frozen(&self, windows: Vec<usize>) {
        let mut state = self.shared.state.lock();
        for pane in &mut state.panes {
            pane.is_frozen = pane.window().is_some_and(|id| windows.contains(&id));
        }
        drop(state);
        self.shared.redraw.request_now();
    }
}

impl Drop for Panes {
    fn drop(&mut self) {
        self.shared.redraw.end();
        match self.drawn.recv_timeout(LAST_FRAME) {
            // The thread `draw` has restored the terminal and ended.
            Ok(()) | Err(RecvTimeoutError::Disconnected) => {
                if let Some(watchdog) = self.watchdog.take() {
                    watchdog.dismiss();
                }
            }
            // The terminal accepts no output. The thread `draw` then ends only with the process,
            // and the watchdog tries to restore the terminal after that.
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Handle that shows lines in the server's pane.
#[derive(Clone)]
pub(crate) struct Log {
    content: Arc<Mutex<PaneContent>>,
    redraw: Arc<Redraw>,
}

impl Log {
    /// Shows whole lines. Does not wait for the terminal.
    pub(crate) fn show(&self, lines: &[u8]) {
        self.content.lock().show(lines);
        self.redraw.request();
    }
}

/// Reads and handles the terminal's input. A read error counts as a failure of the panes, because
/// the user cannot end the session without keys.
fn read_keys(mut keyboard: Keyboard, shared: &SharedPanes, on_event: impl Fn(PanesEvent)) {
    let mut scrolled = Vec::new();
    while let Ok(event) = keyboard.read() {
        match event {
            Input::Key(key) if key.kind != KeyEventKind::Release => {
                let effect = shared.state.lock().key(key);
                match effect {
                    Effect::Changed => {}
                    Effect::ChangedUntil(time) => shared.redraw.request_at(time),
                    Effect::SentToClient => {
                        shared.redraw.expect_echo();
                        continue;
                    }
                    Effect::Event(event) => on_event(event),
                }
            }
            Input::Paste(text) => shared.state.lock().paste(&text),
            Input::Resize(columns, rows) => shared.state.lock().size = (columns, rows),
            Input::FocusGained | Input::FocusLost => {
                let state = shared.state.lock();
                state.panes[state.focus].focus(event == Input::FocusGained);
                continue;
            }
            Input::Mouse(mouse) => {
                scrolled.push(mouse.kind);
                if keyboard.scrolls_on() {
                    continue;
                }
                shared.state.lock().scroll(&scrolled);
                scrolled.clear();
            }
            Input::Key(_) => continue,
        }
        shared.redraw.request_now();
    }
    on_event(PanesEvent::Failed);
}

/// Draws frames until [`Redraw::end`] is called, and then restores the terminal.
///
/// # Errors
/// The terminal is gone.
fn draw(shared: &SharedPanes, mut terminal: HostTerminal) -> io::Result<()> {
    let mut shown = Buffer::empty(Rect::ZERO);
    let mut shown_cursor = None;
    let mut last = Instant::now();
    while shared.redraw.wait(last) {
        last = Instant::now();
        let (next, cursor, rang) = {
            let mut state = shared.state.lock();
            state.fit_panes();
            let rang = state.take_bells();
            let (columns, rows) = state.size;
            let mut next = Buffer::empty(Rect::new(0, 0, columns, rows));
            let cursor = draw::draw(&mut state, &mut next);
            (next, cursor, rang)
        };
        let mut frame = changes(&mut shown, next, shown_cursor, cursor)?;
        shown_cursor = cursor;
        if rang {
            // Ring only once, however many bells have rung since the last frame.
            frame.push(BELL);
        }
        if !frame.is_empty() {
            terminal.show(&frame)?;
        }
    }
    Ok(())
}

/// Returns the bytes that change a terminal from showing `shown` to showing `next`; empty if
/// nothing has changed. Sets `shown` to `next`.
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
