//! The screen of a program with a line editor: lines go to the terminal's scrollback, and the line
//! being typed is drawn below them.
//!
//! The terminal is asked nothing. Everything is drawn relative to the row in which the cursor was
//! left. New lines are put above the typed line by drawing that again below them, in one write for
//! all lines since the last drawing, at most one per [`FRAME`].
//!
//! When the size changes, some terminals wrap rows at the new margin and others cut them; some
//! bring rows back from the scrollback and others don't. So once the size stays, the visible lines
//! are drawn again, and nothing is erased but what is drawn again. No line is lost, though the
//! scrollback may contain a line twice if the terminal itself moved it there.
//!
//! Hand-written because ratatui's inline viewport (ratatui/ratatui#2666) duplicates itself into the
//! scrollback on a resize.

use std::io;
use std::time::{Duration, Instant};

use termcolor::Buffer;

use crate::tty;
use crate::tty::editor::Rows;
use crate::tty::line::Line;
use crate::tty::scrollback::{self, Scrollback};
use crate::tty::wrap;

/// Shortest time between two drawings: 60 per second.
const FRAME: Duration = Duration::from_millis(16);

/// How long a size must stay before the lines are drawn for it: while a window's corner is dragged,
/// a terminal that wraps rows scrolls some of the last drawing out at each step.
const STAYS: Duration = Duration::from_millis(100);

/// Time limit for that, while the size keeps changing.
const CHANGES: Duration = Duration::from_secs(1);

/// Begin and end of a synchronized update (DEC private mode 2026). The cursor is hidden during it,
/// for terminals that don't support the mode.
const BEGIN: &str = "\x1b[?2026h\x1b[?25l";
const END: &str = "\x1b[?25h\x1b[?2026l";

/// Erases the row with the cursor, which is in column 0, and all rows below. If a single sequence
/// erased the whole screen from its first cell, tmux would copy the screen to its scrollback.
const ERASE: &str = "\x1b[K\x1b[C\x1b[J\r";

/// The screen below the terminal's scrollback.
pub(crate) struct Screen {
    columns: usize,
    rows: usize,
    is_coloured: bool,
    paint: Buffer,
    /// Lines not drawn yet. They're wrapped when they're drawn, for the size at that time.
    pending: Vec<Line>,
    pending_bytes: usize,
    /// The last line, if it may still change: it's drawn with the typed line.
    open: Option<Line>,
    recent: Scrollback,
    drawn: Drawn,
    /// How the size changed since then.
    resized: Option<Resized>,
    /// The screen is to be cleared.
    is_cleared: bool,
    /// The terminal was empty before, and none of our lines has scrolled out.
    is_fresh: bool,
    is_stale: bool,
    drawn_at: Option<Instant>,
    /// The window's title, if it isn't set yet.
    new_title: Option<String>,
    title: String,
    rings: bool,
}

/// The last drawing of the area below the lines; default if it was removed.
#[derive(Default)]
struct Drawn {
    columns: usize,
    rows: usize,
    area: usize,
    /// Columns of the widest row of the area.
    width: usize,
    /// Rows of the area up to and including the one with the cursor.
    to_cursor: usize,
}

/// A burst of changes of the size.
struct Resized {
    first: Instant,
    last: Instant,
    narrowest: usize,
    lowest: usize,
}

/// How the visible lines are drawn again.
struct Redrawing {
    /// Erases exactly the rows that are written again: other programs' output may be above.
    erasing: String,
    /// The screen is full, so rows from the scrollback may be written again to fill it.
    fills: bool,
    /// Rows that the terminal may have brought back from the scrollback.
    back: usize,
}

impl Redrawing {
    /// Erases the whole screen.
    fn whole() -> Self {
        Self {
            erasing: format!("\x1b[H{ERASE}"),
            fills: false,
            back: 0,
        }
    }
}

impl Screen {
    /// An empty screen. `is_fresh` says that nothing was on the terminal before.
    pub(crate) fn new(is_coloured: bool, is_fresh: bool) -> Self {
        let (columns, rows) = tty::size();
        Self {
            columns,
            rows,
            is_coloured,
            paint: Buffer::ansi(),
            pending: Vec::new(),
            pending_bytes: 0,
            open: None,
            recent: Scrollback::default(),
            drawn: Drawn::default(),
            resized: None,
            is_cleared: false,
            is_fresh,
            is_stale: true,
            drawn_at: None,
            new_title: None,
            title: String::new(),
            rings: false,
        }
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// Adds a line below the others.
    pub(crate) fn print(&mut self, mut line: Line) {
        if !self.is_coloured {
            line.remove_colors();
        }
        self.is_stale = true;
        if let Some(open) = self.open.take()
            && !line.replaces
        {
            self.close(open);
        }
        if line.is_open {
            self.open = Some(line);
        } else {
            self.close(line);
        }
    }

    fn close(&mut self, line: Line) {
        self.pending_bytes += line.byte_len();
        self.pending.push(line);
    }

    /// The typed line or the status changed.
    pub(crate) fn touch(&mut self) {
        self.is_stale = true;
    }

    /// Rings the bell, once per drawing.
    pub(crate) fn ring(&mut self) {
        self.rings = true;
        self.is_stale = true;
    }

    /// Sets the window's title, which is ASCII.
    pub(crate) fn title(&mut self, title: String) {
        if title != self.title {
            self.new_title = Some(title);
            self.is_stale = true;
        }
    }

    /// The terminal's size changed, perhaps only for a moment. A burst of changes is drawn once.
    pub(crate) fn resize(&mut self) {
        (self.columns, self.rows) = tty::size();
        self.is_stale = true;
        let now = Instant::now();
        let resized = self.resized.get_or_insert(Resized {
            first: now,
            last: now,
            narrowest: usize::MAX,
            lowest: usize::MAX,
        });
        resized.last = now;
        resized.narrowest = resized.narrowest.min(self.columns);
        resized.lowest = resized.lowest.min(self.rows);
    }

    /// Reads the terminal's size again. Returns false if it changed and drawing should wait, as
    /// SIGWINCH, and perhaps more changes, are still to come.
    pub(crate) fn refresh_size(&mut self) -> bool {
        if tty::size() != (self.columns, self.rows) {
            self.resize();
        }
        self.wait().is_none_or(|wait| wait.is_zero())
    }

    /// Clears the screen, but not the scrollback.
    pub(crate) fn clear(&mut self) {
        self.open = None;
        self.pending.clear();
        self.pending_bytes = 0;
        self.recent = Scrollback::default();
        self.is_cleared = true;
        self.is_stale = true;
    }

    /// Draws next below what is there now: another program had the terminal.
    pub(crate) fn begin_below(&mut self) {
        self.recent.leave();
        self.drawn = Drawn::default();
        self.resized = None;
        self.is_fresh = false;
        // That program may have set another one.
        self.title.clear();
    }

    /// How long drawing can wait; `None` if there is nothing to draw.
    pub(crate) fn wait(&self) -> Option<Duration> {
        let due = match &self.resized {
            // Don't hold back more than is kept after drawing.
            _ if self.pending_bytes > scrollback::MAX_BYTES => None,
            Some(resized) => Some((resized.last + STAYS).min(resized.first + CHANGES)),
            None => self.drawn_at.map(|at| at + FRAME),
        };
        let wait = due.map_or(Duration::ZERO, |due| {
            due.saturating_duration_since(Instant::now())
        });
        self.is_stale.then_some(wait)
    }

    /// How many rows the typed line may take.
    pub(crate) fn most_rows(&self) -> usize {
        self.rows.saturating_sub(3).max(1)
    }

    /// Draws the new lines, then `status`, then the typed line in `rows`.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(crate) fn draw(&mut self, rows: &Rows, status: Option<&str>) -> io::Result<()> {
        let mut area = self.open_rows();
        let open = self.open.as_ref();
        let width = open.map_or(0, |open| open.widest(self.columns));
        let open_rows = area.len();
        area.extend(status.map(|status| self.cut(status)));
        let above = area.len() + rows.row;
        area.extend(rows.rows.iter().cloned());
        area.extend(rows.choice.as_deref().map(|choice| self.cut(choice)));

        let mut out = self.signals();
        out += BEGIN;
        let (new, counts) = self.new_rows();
        let more = counts.iter().sum();
        let room = self.rows.saturating_sub(area.len());
        let mut back = 0;
        match self.redrawing(more, room) {
            Some(redrawing) => {
                out += &redrawing.erasing;
                let most = if redrawing.fills {
                    room.saturating_sub(more)
                } else {
                    0
                };
                out += &self.recent.rewrite(self.columns, most, &mut self.paint);
                back = redrawing.back;
            }
            None => out += &erasing(self.drawn.to_cursor),
        }
        out += &new;
        self.keep(counts);
        self.is_fresh &= self.recent.on_screen() <= room;
        self.recent.scroll_back(back);
        self.recent.scroll(room);
        out += &area.join("\r\n");
        // Only the terminal knows the cursor's column after a text, so the text is written again.
        let below = area.len() - 1 - above;
        out += &up(below);
        if below > 0 || area[above] != rows.before {
            out += "\r";
            out += &rows.before;
        }
        out += END;

        let widths = area[open_rows..].iter().map(|row| wrap::width(row));
        self.drawn = Drawn {
            columns: self.columns,
            rows: self.rows,
            area: area.len(),
            width: widths.max().unwrap_or(0).max(width),
            to_cursor: above + 1,
        };
        self.is_stale = false;
        self.drawn_at = Some(Instant::now());
        tty::write_past_std(out.as_bytes())
    }

    /// Draws the new lines and removes the typed line. The cursor is left below the lines.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(crate) fn leave(&mut self) -> io::Result<()> {
        if let Some(open) = self.open.take() {
            self.close(open);
        }
        let (new, counts) = self.new_rows();
        let out = self.signals() + &erasing(self.drawn.to_cursor) + &new;
        self.keep(counts);
        self.begin_below();
        self.is_stale = true;
        tty::write_past_std(out.as_bytes())
    }

    /// Takes the lines that weren't drawn yet, as rows, and starts below whatever is there now.
    pub(crate) fn take_pending(&mut self) -> String {
        let (rows, _) = self.new_rows();
        self.pending.clear();
        self.pending_bytes = 0;
        self.begin_below();
        rows
    }

    /// The title and the bell.
    fn signals(&mut self) -> String {
        let mut out = String::new();
        if let Some(title) = self.new_title.take() {
            out += &format!("\x1b]2;{title}\x07");
            self.title = title;
        }
        if std::mem::take(&mut self.rings) {
            out.push('\x07');
        }
        out
    }

    /// How to draw the visible lines again, if that is needed. `more` new rows follow; the lines
    /// have `room` rows.
    fn redrawing(&mut self, more: usize, room: usize) -> Option<Redrawing> {
        let resized = self.resized.take();
        if std::mem::take(&mut self.is_cleared) {
            return Some(Redrawing::whole());
        }
        let (drawn, recent) = (&self.drawn, &mut self.recent);
        let Some(resized) = resized else {
            // Rather than scroll rows out that the scrollback has already, write the rest again.
            let is_wanted = recent.would_repeat(more, room);
            return is_wanted.then(|| Redrawing {
                erasing: erasing(drawn.to_cursor + recent.on_screen()),
                fills: true,
                back: 0,
            });
        };
        let is_full = drawn.area > 0 && recent.on_screen() + drawn.area >= drawn.rows;
        let higher = self.rows.saturating_sub(drawn.rows);
        let back = if is_full { higher } else { 0 };
        let narrowest = resized.narrowest.min(drawn.columns);
        let is_uncut = recent.widest(0, drawn.columns) <= narrowest;
        let is_as_wide = narrowest == drawn.columns && self.columns == drawn.columns;
        let has_same_rows = is_as_wide
            || drawn.width <= narrowest
                && recent.is_unwrapped(higher)
                && recent.widest(higher, usize::MAX) <= narrowest;
        if has_same_rows && resized.lowest >= drawn.rows && !recent.repeats() {
            // Rows from the scrollback are where they should be, if there are any. The ones below
            // may have been cut for a moment.
            return Some(Redrawing {
                erasing: erasing(drawn.to_cursor + recent.on_screen()),
                fills: false,
                back,
            });
        }
        recent.scroll_back(back);
        if is_uncut {
            // All terminals scroll out the rows that don't fit above the cursor; but one that got
            // narrower may have cut them before.
            recent.scroll(self.rows.saturating_sub(drawn.to_cursor));
        } else if self.is_fresh {
            return Some(Redrawing::whole());
        }
        let mut erasing = erasing(drawn.to_cursor + recent.on_screen());
        if !is_uncut && !is_full {
            // If rows were wrapped, their first parts are still there. Scroll them out, with
            // whatever is above.
            let most = self.rows - 1;
            erasing += &format!("{}{}", "\n".repeat(most), up(most));
        }
        Some(Redrawing {
            erasing,
            fills: is_full,
            back: 0,
        })
    }

    /// The rows of the new lines, and how many each line has.
    fn new_rows(&mut self) -> (String, Vec<usize>) {
        let (mut new, mut counts) = (String::new(), Vec::new());
        for line in &self.pending {
            let rows = line.painted(self.columns, &mut self.paint);
            counts.push(rows.len());
            new += &scrollback::as_written(&rows);
        }
        (new, counts)
    }

    /// Moves the drawn lines to those that may have to be drawn again.
    fn keep(&mut self, counts: Vec<usize>) {
        self.pending_bytes = 0;
        for (line, rows) in self.pending.drain(..).zip(counts) {
            self.recent.push(line, rows);
        }
    }

    /// The rows of the open line; if there are too many, the last ones, after a `…`.
    fn open_rows(&mut self) -> Vec<String> {
        let Some(open) = &self.open else {
            return Vec::new();
        };
        let mut rows = open.painted(self.columns, &mut self.paint);
        let above = rows.len().saturating_sub((self.rows / 3).max(1));
        rows.drain(..above);
        if let (1.., Some(first)) = (above, rows.first_mut()) {
            // It replaces the first space of the indent, if there is one.
            *first = format!("…{}", first.strip_prefix(' ').unwrap_or(first));
        }
        rows
    }

    /// Cuts a text to one row.
    fn cut(&self, text: &str) -> String {
        let rows = wrap::at_characters(text, self.columns.saturating_sub(1).max(1));
        rows.first()
            .map_or_else(String::new, |row| text[row.clone()].to_owned())
    }
}

/// Moves the cursor from the last of `rows` rows to the first one, and erases from there on.
fn erasing(rows: usize) -> String {
    format!("\r{}{ERASE}", up(rows.saturating_sub(1)))
}

/// Moves the cursor up.
fn up(rows: usize) -> String {
    match rows {
        0 => String::new(),
        rows => format!("\x1b[{rows}A"),
    }
}
