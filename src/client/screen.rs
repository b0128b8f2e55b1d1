//! Where things go on the terminal: the conversation into its scrollback, and below it the line that is being typed.
//!
//! The terminal is asked nothing, and nothing needs to be known of where the cursor is: all is drawn relative to the row that it
//! was left in. What comes in is put above the line by drawing the line anew below it, in one write for all that came since the last
//! one, [`FRAME`] ago at least. Where the terminal has, or had, another size, it may have broken rows, cut them, or moved them: all that is
//! to be seen is then drawn anew.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use termcolor::Buffer;

use super::editor::Rows;
use super::line::Line;
use super::terminal;
use crate::os;
use crate::wrap;

/// Time between two drawings, at least: 60 a second.
const FRAME: Duration = Duration::from_millis(16);

/// Lines that are kept to be drawn again after a change of size, which no screen has more of.
const MAX_RECENT: usize = 500;

/// Bytes in them, at most, which no screen has more of either. A hostile server makes each line as long as it may be.
const MAX_RECENT_BYTES: usize = 1024 * 1024;

/// Begin and end of what a terminal is to show at once (DEC private mode 2026); with the cursor hidden meanwhile for those that
/// do not know it.
const BEGIN: &str = "\x1b[?2026h\x1b[?25l";
const END: &str = "\x1b[?25h\x1b[?2026l";

/// Erases the row with the cursor, which is at its beginning, and all rows below. Done in one, it would make tmux keep a screen that is erased
/// from its first character on in the scrollback.
const ERASE: &str = "\x1b[K\x1b[C\x1b[J\r";

/// The screen below the terminal's scrollback.
pub(super) struct Screen {
    columns: usize,
    rows: usize,
    paint: Buffer,
    /// Lines that are to be put above the line; they become rows when they are drawn, for the size that the terminal has then.
    pending: Vec<Line>,
    pending_bytes: usize,
    /// The last line, where it may still change: it is drawn with the line that is being typed.
    open: Option<Line>,
    recent: VecDeque<Line>,
    recent_bytes: usize,
    /// Rows that were drawn last, down to the one with the cursor; none where nothing is drawn.
    drawn: usize,
    /// All that the screen shows has to be drawn anew.
    is_lost: bool,
    is_stale: bool,
    drawn_at: Option<Instant>,
    /// The window's title, where it is another one than was told.
    new_title: Option<String>,
    title: String,
    rings: bool,
}

impl Screen {
    pub(super) fn new(is_coloured: bool) -> Self {
        let (columns, rows) = terminal::size();
        Self {
            columns,
            rows,
            paint: match is_coloured {
                true => Buffer::ansi(),
                false => Buffer::no_color(),
            },
            pending: Vec::new(),
            pending_bytes: 0,
            open: None,
            recent: VecDeque::new(),
            recent_bytes: 0,
            drawn: 0,
            is_lost: false,
            is_stale: true,
            drawn_at: None,
            new_title: None,
            title: String::new(),
            rings: false,
        }
    }

    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// Shows a line below those before it.
    pub(super) fn print(&mut self, line: Line) {
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
        self.pending_bytes += line.len();
        self.pending.push(line);
    }

    /// Something that shows in the line's rows has changed.
    pub(super) fn touch(&mut self) {
        self.is_stale = true;
    }

    /// Rings the bell, once with each drawing.
    pub(super) fn ring(&mut self) {
        self.rings = true;
        self.is_stale = true;
    }

    /// Gives the window this title, which is ASCII.
    pub(super) fn title(&mut self, title: String) {
        if title != self.title {
            self.new_title = Some(title);
            self.is_stale = true;
        }
    }

    /// The terminal has another size, or had for a moment. A burst of changes is drawn once.
    pub(super) fn resize(&mut self) {
        if !self.is_lost {
            self.drawn_at = Some(Instant::now());
        }
        self.redraw();
    }

    /// Learns which size the terminal has, to be called before it is drawn for it; `false` where that has just changed, so that what tells of it
    /// is still on its way, and another change perhaps, too.
    pub(super) fn is_as_large_as_it_was(&mut self) -> bool {
        let size = terminal::size();
        if size == (self.columns, self.rows) {
            return true;
        }
        (self.columns, self.rows) = size;
        let was_lost = self.is_lost;
        self.resize();
        was_lost
    }

    /// Empties the screen; what has scrolled out of it stays.
    pub(super) fn clear(&mut self) {
        self.open = None;
        self.pending.clear();
        self.pending_bytes = 0;
        self.recent.clear();
        self.recent_bytes = 0;
        self.redraw();
    }

    /// Draws all anew, as after another program had the terminal.
    pub(super) fn redraw(&mut self) {
        self.is_lost = true;
        self.is_stale = true;
    }

    /// How long it may still wait with drawing; `None` where there is nothing to draw.
    pub(super) fn wait(&self) -> Option<Duration> {
        // No more is put off than is kept afterwards.
        let since = match self.drawn_at {
            Some(at) if self.pending_bytes <= MAX_RECENT_BYTES => at.elapsed(),
            Some(_) | None => FRAME,
        };
        self.is_stale.then(|| FRAME.saturating_sub(since))
    }

    /// How many rows the line that is being typed may take.
    pub(super) fn most_rows(&self) -> usize {
        self.rows.saturating_sub(3).max(1)
    }

    /// Draws what has come, and below it the line in `rows`; `status` stands above it.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn draw(&mut self, rows: &Rows, status: Option<&str>) -> io::Result<()> {
        let mut area = self.open_rows();
        area.extend(status.map(|status| self.cut(status)));
        let above = area.len() + rows.row;
        area.extend(rows.rows.iter().cloned());
        area.extend(rows.choice.as_deref().map(|choice| self.cut(choice)));

        let mut out = self.signals();
        out += BEGIN;
        let new = self.new_rows();
        if std::mem::take(&mut self.is_lost) {
            out += "\x1b[H";
            out += ERASE;
            let taken = area.len() + new.matches('\n').count();
            out += &self.last_rows(self.rows.saturating_sub(taken));
        } else {
            out += &self.erasing();
        }
        out += &new;
        self.keep_recent();
        out += &area.join("\r\n");
        // Where the cursor stands after a text is for the terminal to say, so that is drawn once more.
        let below = area.len() - 1 - above;
        if below > 0 {
            out += &format!("\x1b[{below}A");
        }
        if below > 0 || area[above] != rows.before {
            out += "\r";
            out += &rows.before;
        }
        out += END;

        self.drawn = above + 1;
        self.is_stale = false;
        self.drawn_at = Some(Instant::now());
        os::write_past_std(out.as_bytes())
    }

    /// Draws what has come and takes the line away, so that the cursor stands below the conversation.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn leave(&mut self) -> io::Result<()> {
        if let Some(open) = self.open.take() {
            self.close(open);
        }
        let out = self.signals() + &self.erasing() + &self.new_rows();
        self.keep_recent();
        self.drawn = 0;
        self.is_stale = true;
        // Whoever has the terminal meanwhile may give it another one.
        self.title.clear();
        os::write_past_std(out.as_bytes())
    }

    /// What the terminal is sent that shows nothing.
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

    /// What takes the cursor to the first row that was drawn, and erases from there on.
    fn erasing(&self) -> String {
        match self.drawn {
            0 | 1 => format!("\r{ERASE}"),
            rows => format!("\r\x1b[{}A{ERASE}", rows - 1),
        }
    }

    /// The rows of the lines that have come since the last drawing.
    fn new_rows(&mut self) -> String {
        let paint = &mut self.paint;
        let painted = |line: &Line| lines(&line.painted(self.columns, paint));
        self.pending.iter().map(painted).collect()
    }

    /// Keeps what has been drawn, as far as it may have to be drawn again.
    fn keep_recent(&mut self) {
        self.pending_bytes = 0;
        for line in self.pending.drain(..) {
            self.recent_bytes += line.len();
            self.recent.push_back(line);
            while self.recent.len() > MAX_RECENT || self.recent_bytes > MAX_RECENT_BYTES {
                let oldest = self.recent.pop_front();
                self.recent_bytes -= oldest.map_or(0, |line| line.len());
            }
        }
    }

    /// The rows of the line that may still change; where they would fill the screen, its last ones, after a `…`.
    fn open_rows(&mut self) -> Vec<String> {
        let Some(open) = &self.open else {
            return Vec::new();
        };
        let mut rows = open.painted(self.columns, &mut self.paint);
        let above = rows.len().saturating_sub((self.rows / 3).max(1));
        rows.drain(..above);
        if let (1.., Some(first)) = (above, rows.first_mut()) {
            // In place of its indent's first blank, if it has one.
            *first = format!("…{}", first.strip_prefix(' ').unwrap_or(first));
        }
        rows
    }

    /// The last rows of what was drawn of the conversation before, at most so many.
    fn last_rows(&mut self, most: usize) -> String {
        let mut rows: VecDeque<String> = VecDeque::new();
        for line in self.recent.iter().rev() {
            for row in line
                .painted(self.columns, &mut self.paint)
                .into_iter()
                .rev()
            {
                rows.push_front(row);
            }
            if rows.len() >= most {
                break;
            }
        }
        rows.drain(..rows.len().saturating_sub(most));
        lines(rows.make_contiguous())
    }

    /// As much of a text as one row has room for.
    fn cut(&self, text: &str) -> String {
        let rows = wrap::at_characters(text, self.columns.saturating_sub(1).max(1));
        rows.first()
            .map_or_else(String::new, |row| text[row.clone()].to_owned())
    }
}

/// Rows as they are written, each with its end.
fn lines(rows: &[String]) -> String {
    rows.iter().map(|row| format!("{row}\r\n")).collect()
}
