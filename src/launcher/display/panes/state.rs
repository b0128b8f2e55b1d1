//! All that is on the screen, and what keys do to it.

use std::io;
use std::sync::Arc;

use ratatui::crossterm::event::{KeyCode, KeyEvent};
use ratatui::layout::Rect;

use crate::launcher::display::panes::keys::{self, Action};
use crate::launcher::display::panes::layout::{self, Tile};
use crate::launcher::display::panes::pane::Pane;
use crate::launcher::display::panes::redraw::Redraw;
use crate::launcher::display::panes::{Happening, Look};
use crate::launcher::display::window_spec::WindowSpec;
use crate::launcher::process::ChildProcess;
use crate::protocol::commands;
use crate::tty::console::{self, PROMPT};
use crate::tty::editor::{Editor, EditorAction, History, Purpose, Refusal};

/// The server's pane is the first one.
pub(crate) const SERVER: usize = 0;

/// What a key has led to.
pub(crate) enum Effect {
    /// Something else is to be seen.
    Seen,
    /// A program got it, and will show what it makes of it.
    Passed,
    /// Something that is the session's business.
    Session(Happening),
}

/// The panes, and how they are shown.
pub(crate) struct State {
    pub(crate) look: Look,
    /// The screen's columns and rows.
    pub(crate) size: (u16, u16),
    /// How many panes there is to be room for: those that are there, and those that are about to be opened.
    places: usize,
    pub(crate) panes: Vec<Pane>,
    pub(crate) focus: usize,
    pub(crate) zoomed: bool,
    pub(crate) help: bool,
    /// The line typed in the server's pane.
    pub(crate) line: Editor,
}

impl State {
    /// The server's pane, and room for those of `clients`.
    pub(crate) fn new(look: Look, size: (u16, u16), clients: usize) -> Self {
        let mut state = Self {
            look,
            size,
            places: 1 + clients,
            panes: Vec::new(),
            focus: SERVER,
            zoomed: false,
            help: false,
            line: Editor::new(PROMPT, Purpose::Command, History::default()),
        };
        let size = state.size_of(SERVER);
        state.panes.push(Pane::new("server".into(), size));
        state
    }

    /// Where the panes are that are shown.
    pub(crate) fn tiles(&self, area: Rect) -> Vec<Tile> {
        layout::arrange(self.places, area, self.focus, self.zoomed)
    }

    /// Gives every pane that is shown the size of its place, and no pane a terminal that nobody has.
    pub(crate) fn fit(&mut self) {
        self.panes.iter_mut().for_each(Pane::close_ended);
        let (area, _) = layout::split(self.screen());
        for tile in self.tiles(area) {
            let size = content(tile);
            if let Some(pane) = self.panes.get_mut(tile.pane) {
                pane.resize(size);
            }
        }
    }

    /// Whether a pane rang the bell since this was last asked. It is marked until it has the focus.
    pub(crate) fn hear_bells(&mut self) -> bool {
        let mut rang = false;
        for (index, pane) in self.panes.iter().enumerate() {
            let mut inside = pane.lock();
            let rings = inside.emulation.take_bell();
            inside.calls = (inside.calls || rings) && index != self.focus;
            rang |= rings;
        }
        rang
    }

    fn screen(&self) -> Rect {
        Rect::new(0, 0, self.size.0, self.size.1)
    }

    /// The columns and rows that there will be in a pane when it is shown.
    fn size_of(&self, pane: usize) -> (u16, u16) {
        let (area, _) = layout::split(self.screen());
        let tiles = layout::arrange(self.places, area, pane, self.zoomed);
        let tile = tiles.into_iter().find(|tile| tile.pane == pane);
        tile.map_or((0, 0), content)
    }

    /// Starts a client in the pane of its window, or in a new one.
    ///
    /// # Errors
    /// As [`Pane::start`].
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
        // One more than was planned is one that somebody has asked for just now.
        let is_extra = new >= self.places;
        self.places = self.places.max(new + 1);
        let mut pane = Pane::new(window.pane_title(), self.size_of(new));
        let child = pane.start(window, redraw, on_end)?;
        self.panes.push(pane);
        if is_extra || (new == 1 && self.focus == SERVER) {
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

    /// Does what a key is for.
    pub(crate) fn key(&mut self, key: KeyEvent) -> Effect {
        let action = keys::action(key);
        if std::mem::take(&mut self.help) && action != Action::End {
            return Effect::Seen;
        }
        let count = self.panes.len();
        match action {
            Action::End => return Effect::Session(Happening::Interrupt),
            Action::Focus(pane) => self.focus_on(pane),
            Action::Next => self.focus_on((self.focus + 1) % count),
            Action::Previous => self.focus_on((self.focus + count - 1) % count),
            Action::Zoom => self.zoomed = !self.zoomed,
            Action::Back => self.panes[self.focus].lock().emulation.scroll(1),
            Action::Forth => self.panes[self.focus].lock().emulation.scroll(-1),
            Action::Bottom if self.panes[self.focus].lock().emulation.scrolled() > 0 => {
                self.panes[self.focus].lock().emulation.scroll_to_end();
            }
            Action::Help => self.help = true,
            Action::Bottom | Action::Pass => return self.pass(key),
        }
        Effect::Seen
    }

    /// Hands a key to what is in the focused pane.
    fn pass(&mut self, key: KeyEvent) -> Effect {
        let pane = &self.panes[self.focus];
        let mut inside = pane.lock();
        inside.emulation.scroll_to_end();
        let application = inside.emulation.screen().application_cursor();
        let runs = inside.runs;
        drop(inside);
        match pane.window() {
            None => {
                let names = || self.panes.iter().filter_map(Pane::name).collect::<Vec<_>>();
                let complete =
                    |before: &str| console::complete(before, commands::of_console(), &names());
                match self.line.key(key, complete) {
                    Some(EditorAction::Submit) => return Effect::Session(self.typed()),
                    Some(EditorAction::Refuse(refusal)) => self.refuse(&refusal),
                    // The panes have their own Ctrl+C; the other keys have no use in a pane.
                    Some(
                        EditorAction::Interrupt
                        | EditorAction::EndOfInput
                        | EditorAction::Clear
                        | EditorAction::Suspend,
                    )
                    | None => {}
                }
                Effect::Seen
            }
            Some(window) if !runs && key.code == KeyCode::Enter => {
                Effect::Session(Happening::Again(window))
            }
            Some(_) => {
                pane.send(&keys::encode(key, application));
                // A program that does not read shows nothing of it.
                if pane.refuses() {
                    Effect::Seen
                } else {
                    Effect::Passed
                }
            }
        }
    }

    /// Hands what was pasted to what is in the focused pane.
    pub(crate) fn paste(&mut self, text: &str) {
        let pane = &self.panes[self.focus];
        let mut inside = pane.lock();
        inside.emulation.scroll_to_end();
        let bracketed = inside.emulation.screen().bracketed_paste();
        drop(inside);
        if pane.window().is_some() {
            pane.send(&keys::encode_paste(text, bracketed));
        } else if let Err(refusal) = self.line.paste(text) {
            self.refuse(&refusal);
        }
    }

    /// Says why the line has not taken something.
    fn refuse(&self, refusal: &Refusal) {
        let note = format!("\x1b[33m! {refusal}\x1b[m\n");
        self.panes[SERVER].lock().show(note.as_bytes());
    }

    /// Takes the submitted line, and shows it in the log, as a terminal would.
    fn typed(&mut self) -> Happening {
        let line = self.line.take();
        let echo = format!("\x1b[2m{PROMPT}{line}\x1b[m\n");
        self.panes[SERVER].lock().show(echo.as_bytes());
        Happening::InputQueue(format!("{line}\n").into_bytes())
    }
}

/// The columns and rows in a pane, without its frame and what is typed in the server's.
fn content(tile: Tile) -> (u16, u16) {
    let mut inside = layout::inside(tile.area);
    if tile.pane == SERVER {
        inside = layout::log_and_line(inside).0;
    }
    (inside.width, inside.height)
}
