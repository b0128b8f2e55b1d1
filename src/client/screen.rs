//! Where things go on the terminal: the conversation into its scrollback, and below it the line that is being typed.
//!
//! The terminal is asked nothing, and nothing needs to be known of where the cursor is: all is drawn relative to the row that it
//! was left in. What comes in is put above the line by drawing the line anew below it, in one write for all that came since the last
//! one, [`FRAME`] ago at least.

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

/// The screen below the terminal's scrollback.
pub(super) struct Screen {
    columns: usize,
    rows: usize,
    paint: Buffer,
    /// Rows that are to be put above the line.
    pending: String,
    /// The last line, where it may still change: it is drawn with the line that is being typed.
    open: Option<Line>,
    recent: VecDeque<Line>,
    recent_bytes: usize,
    /// Columns of each row that was drawn last, down to the one with the cursor; nothing where nothing is drawn.
    drawn: Vec<usize>,
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
            pending: String::new(),
            open: None,
            recent: VecDeque::new(),
            recent_bytes: 0,
            drawn: Vec::new(),
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
        for row in line.painted(self.columns, &mut self.paint) {
            self.pending += &row;
            self.pending += "\r\n";
        }
        self.recent_bytes += line.len();
        self.recent.push_back(line);
        while self.recent.len() > MAX_RECENT || self.recent_bytes > MAX_RECENT_BYTES {
            let oldest = self.recent.pop_front();
            self.recent_bytes -= oldest.map_or(0, |line| line.len());
        }
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

    /// The terminal has another size.
    pub(super) fn resize(&mut self, columns: usize, rows: usize) {
        // Some terminals break rows that have become too long, some cut them; and where it has become lower, some keep the upper rows.
        // In either case it is not known where the line stands.
        let is_broken = self.drawn.iter().any(|wide| *wide > columns);
        let is_lower = rows < self.rows && self.filled(columns) >= rows;
        self.is_lost |= is_broken || is_lower;
        (self.columns, self.rows) = (columns, rows);
        self.is_stale = true;
    }

    /// How many rows the conversation takes, as far as it matters.
    fn filled(&self, columns: usize) -> usize {
        let mut filled = self.drawn.len();
        for line in self.recent.iter().rev() {
            if filled >= self.rows {
                break;
            }
            filled += line.rows(columns).len();
        }
        filled
    }

    /// Empties the screen; what has scrolled out of it stays.
    pub(super) fn clear(&mut self) {
        self.open = None;
        self.recent.clear();
        self.recent_bytes = 0;
        self.redraw();
    }

    /// Draws all anew, as after another program had the terminal.
    pub(super) fn redraw(&mut self) {
        self.is_lost = true;
        self.is_stale = true;
    }

    /// Forgets what is drawn: the cursor stands in an empty row.
    pub(super) fn forget(&mut self) {
        self.drawn.clear();
        self.is_stale = true;
    }

    /// How long it may still wait with drawing; `None` where there is nothing to draw.
    pub(super) fn wait(&self) -> Option<Duration> {
        let since = self.drawn_at.map_or(FRAME, |at| at.elapsed());
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
        out += &self.erasing();
        out += &std::mem::take(&mut self.pending);
        if std::mem::take(&mut self.is_lost) {
            out += "\x1b[H\x1b[J";
            out += &self.last_rows(self.rows.saturating_sub(area.len()));
        }
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

        area.truncate(above);
        self.drawn = area.iter().map(|row| painted_width(row)).collect();
        self.drawn.push(wrap::width(&rows.before));
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
        let out = self.signals() + &self.erasing() + &std::mem::take(&mut self.pending);
        self.forget();
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
        match self.drawn.len() {
            0 | 1 => "\r\x1b[J".into(),
            rows => format!("\r\x1b[{}A\x1b[J", rows - 1),
        }
    }

    /// The rows of the line that may still change, its last ones where they would fill the screen.
    fn open_rows(&mut self) -> Vec<String> {
        let Some(open) = &self.open else {
            return Vec::new();
        };
        let mut rows = open.painted(self.columns, &mut self.paint);
        rows.drain(..rows.len().saturating_sub(self.rows / 3));
        rows
    }

    /// The last rows of the conversation, at most so many.
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
        let rows = rows.iter().skip(rows.len().saturating_sub(most));
        rows.map(|row| format!("{row}\r\n")).collect()
    }

    /// As much of a text as one row has room for.
    fn cut(&self, text: &str) -> String {
        let rows = wrap::at_characters(text, self.columns.saturating_sub(1).max(1));
        rows.first()
            .map_or_else(String::new, |row| text[row.clone()].to_owned())
    }
}

/// Columns of a row that may have colours in it.
fn painted_width(row: &str) -> usize {
    let mut parts = row.split('\x1b');
    let first = parts.next().map_or(0, wrap::width);
    let others = parts.filter_map(|part| part.split_once('m'));
    first + others.map(|(_, text)| wrap::width(text)).sum::<usize>()
}
