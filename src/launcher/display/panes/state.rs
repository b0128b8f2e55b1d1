//! State of the panes: which panes are visible, which pane has the focus, and how keys change that.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use ratatui::crossterm::event::{KeyCode, KeyEvent, MouseEventKind};
use ratatui::layout::Rect;

use crate::launcher::display::panes::keys::{self, Action};
use crate::launcher::display::panes::layout::{self, Tile};
use crate::launcher::display::panes::pane::Pane;
use crate::launcher::display::panes::prompt::{self, Prompt, Reply};
use crate::launcher::display::panes::redraw::Redraw;
use crate::launcher::display::window_spec::WindowSpec;
use crate::launcher::live::snapshot::Snapshot;
use crate::launcher::process::ChildProcess;
use crate::launcher::room_names::RoomNames;
use crate::protocol::commands;
use crate::tty::background::Background;
use crate::tty::console::{self, PROMPT};
use crate::tty::editor::{Editor, EditorAction, History, Purpose, Refusal};

/// The index of the server's pane.
pub(crate) const SERVER: usize = 0;

/// Capabilities of the host terminal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TerminalFeatures {
    pub(crate) has_color: bool,
    /// Whether the terminal can show characters other than ASCII.
    pub(crate) has_unicode: bool,
}

/// An event that the panes report to the session.
pub(crate) enum PanesEvent {
    /// The user wants to end the session.
    Interrupt,
    /// A line for the server's console was typed. The line includes its ending.
    ConsoleLine(Vec<u8>),
    /// The user wants to restart the client in the pane of the window with this ID. The previous
    /// client has ended.
    Restart(usize),
    /// The user wants to freeze or thaw the client in the pane of the window with this ID.
    ToggleFreeze(usize),
    /// The live view was opened or closed.
    WatchLive(bool),
    /// Reading from or drawing on the terminal has failed.
    Failed,
}

/// The result of handling a key, which decides when the next frame is drawn.
pub(crate) enum Effect {
    /// The screen has changed and must be drawn now.
    Changed,
    /// The screen has changed and must be drawn now, and again at this time, when the prompt ends.
    ChangedUntil(Instant),
    /// The key was sent to a client, whose response will probably change the screen.
    SentToClient,
    Event(PanesEvent),
}

/// State of the panes.
pub(crate) struct PanesState {
    pub(crate) features: TerminalFeatures,
    /// The host terminal's background, if the terminal has reported it.
    background: Option<Background>,
    /// Size of the screen, in columns and rows.
    pub(crate) size: (u16, u16),
    /// Number of panes in the layout: the panes that are open, and those that the session is about
    /// to open.
    slots: usize,
    pub(crate) panes: Vec<Pane>,
    pub(crate) focus: usize,
    pub(crate) zoomed: bool,
    pub(crate) help: bool,
    /// Whether the server's pane shows the live view instead of the log.
    pub(crate) is_live: bool,
    /// The snapshot that the live view shows. `None` until the first one arrives.
    pub(crate) snapshot: Option<Box<Snapshot>>,
    /// The number of members in the room who are not clients of this session.
    pub(crate) others: usize,
    /// The names that Tab completes in the server's pane.
    names: RoomNames,
    /// The question in the status line.
    pub(crate) prompt: Option<Prompt>,
    /// The input line of the server's pane.
    pub(crate) line: Editor,
}

impl PanesState {
    /// Creates the server's pane, and reserves space for `clients` more panes.
    pub(crate) fn new(
        features: TerminalFeatures,
        background: Option<Background>,
        size: (u16, u16),
        clients: usize,
        names: RoomNames,
    ) -> Self {
        let mut state = Self {
            features,
            background,
            size,
            slots: 1 + clients,
            panes: Vec::new(),
            focus: SERVER,
            zoomed: false,
            help: false,
            is_live: false,
            snapshot: None,
            others: 0,
            names,
            prompt: None,
            line: Editor::new(PROMPT, Purpose::Command, History::default()),
        };
        let size = state.size_of(SERVER);
        state.panes.push(Pane::new("server".into(), size));
        state
    }

    /// The visible panes and their areas within `area`.
    pub(crate) fn tiles(&self, area: Rect) -> Vec<Tile> {
        layout::arrange(self.slots, area, self.focus, self.zoomed)
    }

    /// Gives every visible pane the size of its area on the screen. Closes the pseudo-terminals of
    /// clients that have ended.
    pub(crate) fn fit_panes(&mut self) {
        self.panes.iter_mut().for_each(Pane::close_ended);
        let (area, _) = layout::split(self.screen());
        for tile in self.tiles(area) {
            let size = content_size(tile);
            if let Some(pane) = self.panes.get_mut(tile.pane) {
                pane.resize(size);
            }
        }
    }

    /// Whether the bell of any pane has rung since the last call. Marks such a pane until it gets
    /// the focus.
    pub(crate) fn take_bells(&mut self) -> bool {
        let mut rang = false;
        for (index, pane) in self.panes.iter().enumerate() {
            let mut content = pane.lock();
            let has_rung = content.emulation.take_bell();
            content.has_bell_mark = (content.has_bell_mark || has_rung) && index != self.focus;
            rang |= has_rung;
        }
        rang
    }

    fn screen(&self) -> Rect {
        Rect::new(0, 0, self.size.0, self.size.1)
    }

    /// The size, in columns and rows, that the content of this pane would have if the pane had the
    /// focus. A pane that has the focus is always visible.
    fn size_of(&self, pane: usize) -> (u16, u16) {
        let (area, _) = layout::split(self.screen());
        let tiles = layout::arrange(self.slots, area, pane, self.zoomed);
        let tile = tiles.into_iter().find(|tile| tile.pane == pane);
        tile.map_or((0, 0), content_size)
    }

    /// Starts a client in a new pane. If its window already has a pane, uses that pane.
    ///
    /// # Errors
    /// The client, its pseudo-terminal or a thread cannot be started.
    pub(crate) fn open(
        &mut self,
        window: &WindowSpec,
        redraw: &Arc<Redraw>,
        on_end: impl FnOnce() + Send + 'static,
    ) -> io::Result<ChildProcess> {
        let known = self
            .panes
            .iter()
            .position(|pane| pane.window() == Some(window.id));
        if let Some(pane) = known {
            return self.panes[pane].start(window, redraw, on_end);
        }
        let new = self.panes.len();
        // Only the first client's pane at the start gets the focus. A pane opened later by `/open`
        // does not, because the user may be typing another command in the server's pane.
        let takes_focus = new == 1 && new < self.slots && self.focus == SERVER;
        self.slots = self.slots.max(new + 1);
        let mut pane = Pane::new(window.pane_title(), self.size_of(new));
        pane.lock().emulation.set_background(self.background);
        let child = pane.start(window, redraw, on_end)?;
        self.panes.push(pane);
        if takes_focus {
            self.focus_on(new);
        }
        Ok(child)
    }

    fn focus_on(&mut self, pane: usize) {
        if pane == self.focus || pane >= self.panes.len() {
            return;
        }
        self.panes[self.focus].focus(false);
        self.focus = pane;
        self.panes[self.focus].focus(true);
    }

    /// Handles a key. If a prompt is shown, any key answers or removes it.
    pub(crate) fn key(&mut self, key: KeyEvent) -> Effect {
        let Some(prompt) = self.prompt.take() else {
            return self.act(key);
        };
        if prompt.confirms_end() && keys::action(key) == Action::EndSession {
            return Effect::Event(PanesEvent::Interrupt);
        }
        if let Prompt::PaneNumber(digits) = prompt {
            match prompt::type_number(digits, key, self.panes.len()) {
                Reply::Ask(prompt) => self.prompt = Some(prompt),
                Reply::Focus(pane) => self.focus_on(pane),
                Reply::Cancel => {}
                Reply::Other => return self.act_and_redraw(key),
            }
            return Effect::Changed;
        }
        self.act_and_redraw(key)
    }

    /// Handles a key that has removed the prompt. The screen changes even if the key goes to a
    /// client that does not react, because the prompt disappears.
    fn act_and_redraw(&mut self, key: KeyEvent) -> Effect {
        match self.act(key) {
            Effect::SentToClient => Effect::Changed,
            effect @ (Effect::Changed | Effect::ChangedUntil(_) | Effect::Event(_)) => effect,
        }
    }

    fn act(&mut self, key: KeyEvent) -> Effect {
        let action = keys::action(key);
        if std::mem::take(&mut self.help) && action != Action::EndSession {
            return Effect::Changed;
        }
        let count = self.panes.len();
        match action {
            Action::EndSession => return self.end_session(),
            Action::Focus(pane) => self.focus_on(pane),
            Action::Next => self.focus_on((self.focus + 1) % count),
            Action::Previous => self.focus_on((self.focus + count - 1) % count),
            Action::Zoom => self.zoomed = !self.zoomed,
            Action::ScrollBack => self.panes[self.focus].lock().emulation.scroll(1),
            Action::ScrollForward => self.panes[self.focus].lock().emulation.scroll(-1),
            Action::ScrollToEnd if self.panes[self.focus].lock().emulation.scrolled() > 0 => {
                self.panes[self.focus].lock().emulation.scroll_to_end();
            }
            Action::AskPane => self.prompt = Some(Prompt::PaneNumber(String::new())),
            Action::Help => self.help = true,
            Action::ToggleLive => {
                self.set_live_view(!self.is_live);
                return Effect::Event(PanesEvent::WatchLive(self.is_live));
            }
            Action::ToggleFreeze => match self.panes[self.focus].window() {
                Some(window) => return Effect::Event(PanesEvent::ToggleFreeze(window)),
                None => self.show_note("F8 freezes a client: go to its pane first, with F6"),
            },
            Action::ScrollToEnd | Action::Pass => return self.pass(key),
        }
        Effect::Changed
    }

    /// Shows the live view or the log in the server's pane.
    pub(crate) fn set_live_view(&mut self, is_live: bool) {
        self.is_live = is_live;
        // An old snapshot must not be shown when the view is opened again.
        self.snapshot = None;
    }

    /// Ends the session, or first asks the user to press Ctrl+C again if others are in the room.
    fn end_session(&mut self) -> Effect {
        if self.others == 0 {
            return Effect::Event(PanesEvent::Interrupt);
        }
        let (prompt, until) = Prompt::end_session(self.others);
        self.prompt = Some(prompt);
        Effect::ChangedUntil(until)
    }

    /// Passes a key on to the focused pane: to its client, or to the input line of the server's
    /// pane.
    fn pass(&mut self, key: KeyEvent) -> Effect {
        let pane = &self.panes[self.focus];
        let mut content = pane.lock();
        content.emulation.scroll_to_end();
        let application = content.emulation.screen().application_cursor();
        let is_running = content.is_running;
        drop(content);
        match pane.window() {
            None => {
                let names = self.names.clone();
                let complete =
                    |before: &str| console::complete(before, commands::of_console(), &names.list());
                match self.line.key(key, complete) {
                    Some(EditorAction::Submit) => return Effect::Event(self.enter_line()),
                    Some(EditorAction::Refuse(refusal)) => self.show_refusal(&refusal),
                    // Ctrl+C never gets here, because it ends the session. Ctrl+D, Ctrl+L and
                    // Ctrl+Z have no effect on the server's input line.
                    Some(
                        EditorAction::Interrupt
                        | EditorAction::EndOfInput
                        | EditorAction::Clear
                        | EditorAction::Suspend,
                    )
                    | None => {}
                }
                Effect::Changed
            }
            Some(window) if !is_running && key.code == KeyCode::Enter => {
                Effect::Event(PanesEvent::Restart(window))
            }
            Some(_) => {
                pane.send(&keys::encode(key, application));
                // If the client does not read its input, no response to the key will follow. Draw
                // now, so that the pane shows that keys are ignored.
                if pane.rejects_input() {
                    Effect::Changed
                } else {
                    Effect::SentToClient
                }
            }
        }
    }

    /// Passes arrow keys, which the terminal may have sent for the mouse wheel, to the focused
    /// pane. If the pane has a client, sends it all keys at once, because the client too recognizes
    /// the wheel by several arrow keys that arrive together.
    pub(crate) fn scroll(&mut self, directions: &[MouseEventKind]) {
        let pane = &self.panes[self.focus];
        if pane.window().is_none() {
            for direction in directions {
                self.line.scroll(*direction);
            }
            return;
        }
        let application = pane.lock().emulation.screen().application_cursor();
        let keys = directions.iter().filter_map(|direction| match direction {
            MouseEventKind::ScrollUp => Some(KeyCode::Up),
            MouseEventKind::ScrollDown => Some(KeyCode::Down),
            _ => None,
        });
        let keys = keys.flat_map(|code| keys::encode(KeyEvent::from(code), application));
        pane.send(&keys.collect::<Vec<_>>());
    }

    /// Passes pasted text on to the focused pane: to its client, or to the input line of the
    /// server's pane.
    pub(crate) fn paste(&mut self, text: &str) {
        self.prompt = None;
        let pane = &self.panes[self.focus];
        let mut content = pane.lock();
        content.emulation.scroll_to_end();
        let bracketed = content.emulation.screen().bracketed_paste();
        drop(content);
        if pane.window().is_some() {
            pane.send(&keys::encode_paste(text, bracketed));
        } else if let Err(refusal) = self.line.paste(text) {
            self.show_refusal(&refusal);
        }
    }

    /// Tells the user why the input line has refused the input.
    fn show_refusal(&self, refusal: &Refusal) {
        self.show_note(&refusal.to_string());
    }

    /// Shows an error in the server's pane.
    fn show_note(&self, error: &str) {
        let note = format!("\x1b[33m! {error}\x1b[m\n");
        self.panes[SERVER].lock().show(note.as_bytes());
    }

    /// Removes the submitted line from the input line, and echoes it in the log, as a terminal
    /// would.
    fn enter_line(&mut self) -> PanesEvent {
        let line = self.line.take();
        let echo = format!("\x1b[2m{PROMPT}{line}\x1b[m\n");
        self.panes[SERVER].lock().show(echo.as_bytes());
        PanesEvent::ConsoleLine(format!("{line}\n").into_bytes())
    }
}

/// The size of a pane's content in columns and rows, without the border and the server's input
/// line.
fn content_size(tile: Tile) -> (u16, u16) {
    let mut area = layout::inside_border(tile.area);
    if tile.pane == SERVER {
        area = layout::log_and_line(area).0;
    }
    (area.width, area.height)
}
