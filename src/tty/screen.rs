//! The screen of a program with a line editor: lines go to the terminal's scrollback, and the line
//! being typed is drawn below them.
//!
//! The screen never queries the terminal: it draws everything relative to the row in which it left
//! the cursor. To show new lines, it erases the typed line, writes the new lines, and draws the
//! typed line again below them. It does so in a single write, at most once per [`FRAME`].
//!
//! When the window is resized, some terminals wrap rows at the new margin and others truncate them;
//! some bring rows back from the scrollback and others don't. For that reason, once the size has
//! settled, this module draws the visible lines again, and erases only the rows that it rewrites.
//! No line is lost, but a line that the terminal moved to the scrollback may appear there twice.
//!
//! The module is hand-written because ratatui's inline viewport leaves copies of itself in the
//! scrollback when the window is resized (ratatui/ratatui#2666).

use std::io;
use std::time::{Duration, Instant};

use termcolor::Buffer;

use crate::tty;
use crate::tty::editor::Rows;
use crate::tty::line::Line;
use crate::tty::scrollback::{self, Scrollback};
use crate::tty::wrap;

/// Minimum time between two drawings: about 60 drawings per second.
const FRAME: Duration = Duration::from_millis(16);

/// How long the size must be unchanged before the visible lines are drawn again. While the user
/// drags a window's corner, a terminal that rewraps its rows pushes part of the drawing into the
/// scrollback at each step. Drawing at each step would leave a partial copy there each time.
const SETTLE_TIME: Duration = Duration::from_millis(100);

/// Maximum time to wait for the size to settle, counted from its first change. After this time, the
/// lines are drawn even if the size is still changing.
const MAX_SETTLE_TIME: Duration = Duration::from_secs(1);

/// Maximum number of rows for the status text, which is shown above the typed line and wrapped in a
/// narrow window. Text that does not fit in these rows is left out.
const MAX_STATUS_ROWS: usize = 4;

/// Start of a synchronized update (DEC private mode 2026). Also hides the cursor, for terminals
/// that don't support this mode. `END` does the opposite.
const BEGIN: &str = "\x1b[?2026h\x1b[?25l";
const END: &str = "\x1b[?25h\x1b[?2026l";

/// Erases the cursor's row and all rows below. The cursor must be in column 0. There are two
/// erasing sequences, because tmux copies the screen to its scrollback if a single sequence erases
/// the whole screen.
const ERASE: &str = "\x1b[K\x1b[C\x1b[J\r";

/// State of the screen: the last lines of the output, and the typed line below them.
pub(crate) struct Screen {
    columns: usize,
    rows: usize,
    is_colored: bool,
    paint: Buffer,
    /// Lines that were not drawn yet. They're wrapped to the terminal's width when they're drawn.
    pending: Vec<Line>,
    pending_bytes: usize,
    /// The last line, if it is open. A later version may replace this line, so each drawing draws
    /// it again, together with the typed line.
    open: Option<Line>,
    recent: Scrollback,
    drawn: Drawn,
    /// Size changes since the last drawing.
    resized: Option<Resized>,
    /// Whether the next drawing clears the screen.
    is_cleared: bool,
    /// Whether all lines of this program are still on the screen, and nothing else is: the terminal
    /// was empty at the start, and no line has moved to the scrollback since.
    is_fresh: bool,
    /// Whether something has changed since the last drawing.
    is_stale: bool,
    drawn_at: Option<Instant>,
    /// A new window title that has not been written to the terminal yet.
    new_title: Option<String>,
    title: String,
    /// Whether the next drawing rings the bell.
    rings: bool,
}

/// Measures of the last drawing of the area below the lines, which consists of the open line, the
/// status, the typed line and the completions. All zero if the area was removed.
#[derive(Default)]
struct Drawn {
    /// The terminal's width in columns when the area below the lines was drawn.
    columns: usize,
    rows: usize,
    /// Number of rows of the area below the lines.
    area: usize,
    /// Width of the widest row of the area below the lines, in columns.
    width: usize,
    /// The cursor's row within the area below the lines, counted from 1 at the top of that area.
    to_cursor: usize,
}

/// A burst of size changes: the times of the first and the last change, and the smallest size so
/// far.
struct Resized {
    first: Instant,
    last: Instant,
    narrowest: usize,
    shortest: usize,
}

/// Decision on how to draw the visible lines again, after a resize for example.
struct Redrawing {
    /// The sequence that erases the rows to be rewritten. Rows above them stay, because they may be
    /// another program's output.
    erasing: String,
    /// Whether to fill the space above the rewritten rows with rows that are already in the
    /// scrollback. True only if this program's lines filled the screen before. Otherwise, that
    /// space may contain another program's output.
    fills: bool,
    /// Number of rows that the terminal may have moved from its scrollback back to the screen.
    back: usize,
}

impl Redrawing {
    /// Instructions that erase the whole screen.
    fn whole() -> Self {
        Self {
            erasing: format!("\x1b[H{ERASE}"),
            fills: false,
            back: 0,
        }
    }
}

impl Screen {
    /// Creates a screen without lines. `is_fresh` is true if the terminal was empty.
    pub(crate) fn new(is_colored: bool, is_fresh: bool) -> Self {
        let (columns, rows) = tty::size();
        Self {
            columns,
            rows,
            is_colored,
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

    /// Adds a line below the other lines.
    pub(crate) fn print(&mut self, mut line: Line) {
        if !self.is_colored {
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

    /// Ends the open line: no later line replaces it.
    pub(crate) fn close_open(&mut self) {
        if let Some(open) = self.open.take() {
            self.close(open);
        }
    }

    fn close(&mut self, line: Line) {
        self.pending_bytes += line.byte_len();
        self.pending.push(line);
    }

    /// Records that the typed line or the status has changed.
    pub(crate) fn touch(&mut self) {
        self.is_stale = true;
    }

    /// Makes the next drawing ring the bell. Several calls ring it only once.
    pub(crate) fn ring(&mut self) {
        self.rings = true;
        self.is_stale = true;
    }

    /// Sets the window's title, which must be ASCII.
    pub(crate) fn title(&mut self, title: String) {
        if title != self.title {
            self.new_title = Some(title);
            self.is_stale = true;
        }
    }

    /// Records that the terminal's size has changed. A burst of changes leads to a single drawing.
    pub(crate) fn resize(&mut self) {
        (self.columns, self.rows) = tty::size();
        self.is_stale = true;
        let now = Instant::now();
        let resized = self.resized.get_or_insert(Resized {
            first: now,
            last: now,
            narrowest: usize::MAX,
            shortest: usize::MAX,
        });
        resized.last = now;
        resized.narrowest = resized.narrowest.min(self.columns);
        resized.shortest = resized.shortest.min(self.rows);
    }

    /// Reads the terminal's size again. Returns false if the size has changed, so that drawing
    /// should wait: SIGWINCH will follow, and perhaps more changes.
    pub(crate) fn refresh_size(&mut self) -> bool {
        if tty::size() != (self.columns, self.rows) {
            self.resize();
        }
        self.wait().is_none_or(|wait| wait.is_zero())
    }

    /// Makes the next drawing clear the screen, but not the scrollback.
    pub(crate) fn clear(&mut self) {
        self.open = None;
        self.pending.clear();
        self.pending_bytes = 0;
        self.recent = Scrollback::default();
        self.is_cleared = true;
        self.is_stale = true;
    }

    /// Makes the next drawing start at the cursor, below the output of another program that used
    /// the terminal meanwhile.
    pub(crate) fn begin_below(&mut self) {
        self.recent.leave();
        self.drawn = Drawn::default();
        self.resized = None;
        self.is_fresh = false;
        // Forget the title, because the other program may have set another one.
        self.title.clear();
    }

    /// How long the next drawing should wait. `None` if there is nothing to draw.
    pub(crate) fn wait(&self) -> Option<Duration> {
        let due = match &self.resized {
            // Draw at once, because the new lines have more bytes than can be kept. A line that is
            // not kept cannot be drawn again after a resize.
            _ if self.pending_bytes > scrollback::MAX_BYTES => None,
            Some(resized) => {
                Some((resized.last + SETTLE_TIME).min(resized.first + MAX_SETTLE_TIME))
            }
            None => self.drawn_at.map(|at| at + FRAME),
        };
        let wait = due.map_or(Duration::ZERO, |due| {
            due.saturating_duration_since(Instant::now())
        });
        self.is_stale.then_some(wait)
    }

    /// Maximum number of rows for the typed line.
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
        if let Some(status) = status {
            let used = open_rows + rows.rows.len() + usize::from(rows.choice.is_some());
            let most = self.rows.saturating_sub(used + 1);
            area.extend(self.status_rows(status, most.clamp(1, MAX_STATUS_ROWS)));
        }
        let above = area.len() + rows.row;
        area.extend(rows.rows.iter().cloned());
        area.extend(rows.choice.as_deref().map(|choice| self.cut(choice)));

        let mut out = self.title_and_bell();
        out += BEGIN;
        let (new, counts) = self.new_rows();
        let added = counts.iter().sum();
        let space = self.rows.saturating_sub(area.len());
        let mut back = 0;
        match self.redrawing(added, space) {
            Some(redrawing) => {
                out += &redrawing.erasing;
                let most = if redrawing.fills {
                    space.saturating_sub(added)
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
        self.is_fresh &= self.recent.on_screen() <= space;
        self.recent.scroll_back(back);
        self.recent.scroll(space);
        out += &area.join("\r\n");
        // Place the cursor by writing the text before the cursor again: only the terminal knows how
        // wide it has drawn this text.
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

    /// Draws the new lines and removes the typed line. Leaves the cursor below the lines.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(crate) fn leave(&mut self) -> io::Result<()> {
        self.close_open();
        let (new, counts) = self.new_rows();
        let out = self.title_and_bell() + &erasing(self.drawn.to_cursor) + &new;
        self.keep(counts);
        self.begin_below();
        self.is_stale = true;
        tty::write_past_std(out.as_bytes())
    }

    /// Removes and returns the lines that weren't drawn yet, wrapped into rows. The next drawing
    /// starts at the cursor.
    pub(crate) fn take_pending(&mut self) -> String {
        let (rows, _) = self.new_rows();
        self.pending.clear();
        self.pending_bytes = 0;
        self.begin_below();
        rows
    }

    /// The sequences that set a new title and ring the bell. Empty if neither was requested.
    fn title_and_bell(&mut self) -> String {
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

    /// Decides how to draw the visible lines again. Returns `None` if they can stay, so that only
    /// the new lines and the area below them have to be drawn. `added` is the number of new rows,
    /// and `space` the number of rows that the screen has for lines.
    fn redrawing(&mut self, added: usize, space: usize) -> Option<Redrawing> {
        let resized = self.resized.take();
        if std::mem::take(&mut self.is_cleared) {
            return Some(Redrawing::whole());
        }
        let (drawn, recent) = (&self.drawn, &mut self.recent);
        let Some(resized) = resized else {
            // Without a resize, redraw the visible lines only if the new rows would scroll out rows
            // that the scrollback already contains. Leave those rows out and rewrite the rest, so
            // that no row is in the scrollback twice.
            let is_wanted = recent.would_repeat(added, space);
            return is_wanted.then(|| Redrawing {
                erasing: erasing(drawn.to_cursor + recent.on_screen()),
                fills: true,
                back: 0,
            });
        };
        let is_full = drawn.area > 0 && recent.on_screen() + drawn.area >= drawn.rows;
        let extra_rows = self.rows.saturating_sub(drawn.rows);
        let back = if is_full { extra_rows } else { 0 };
        let narrowest = resized.narrowest.min(drawn.columns);
        let fits_narrowest = recent.widest(0, drawn.columns) <= narrowest;
        let has_same_width = narrowest == drawn.columns && self.columns == drawn.columns;
        let has_same_rows = has_same_width
            || drawn.width <= narrowest
                && recent.is_unwrapped(extra_rows)
                && recent.widest(extra_rows, usize::MAX) <= narrowest;
        if has_same_rows && resized.shortest >= drawn.rows && !recent.repeats() {
            // If rows came back from the scrollback, they are in the right place. Rewrite only the
            // rows below them, which the terminal may have truncated during the resize.
            return Some(Redrawing {
                erasing: erasing(drawn.to_cursor + recent.on_screen()),
                fills: false,
                back,
            });
        }
        recent.scroll_back(back);
        if fits_narrowest {
            // All rows fit into the narrowest width, so the resize has truncated none, and only the
            // height matters: every terminal moves the top rows to the scrollback if the space
            // above the cursor is no longer enough for them. Record which rows have moved.
            recent.scroll(self.rows.saturating_sub(drawn.to_cursor));
        }
        // A terminal may have wrapped rows that are wider than the narrowest width. Their first
        // parts would stay above the erased rows, because the wrapped rows take up more rows than
        // are erased. If the screen was full, however, the whole screen is erased.
        let leaves_parts = !is_full && (!fits_narrowest || drawn.width > narrowest);
        if self.is_fresh && (leaves_parts || !fits_narrowest) {
            return Some(Redrawing::whole());
        }
        let mut erasing = erasing(drawn.to_cursor + recent.on_screen());
        if leaves_parts {
            // Move all rows above the erased ones to the scrollback, including the parts of wrapped
            // rows.
            let most = self.rows - 1;
            erasing += &format!("{}{}", "\n".repeat(most), up(most));
        }
        Some(Redrawing {
            erasing,
            fills: is_full,
            back: 0,
        })
    }

    /// Returns the rows of the new lines, joined, and the number of rows of each line.
    fn new_rows(&mut self) -> (String, Vec<usize>) {
        let (mut new, mut counts) = (String::new(), Vec::new());
        for line in &self.pending {
            let rows = line.painted(self.columns, &mut self.paint);
            counts.push(rows.len());
            new += &scrollback::as_written(&rows);
        }
        (new, counts)
    }

    /// Keeps the new lines, which were just drawn, in case they have to be drawn again.
    fn keep(&mut self, counts: Vec<usize>) {
        self.pending_bytes = 0;
        for (line, rows) in self.pending.drain(..).zip(counts) {
            self.recent.push(line, rows);
        }
    }

    /// Maximum number of rows for the open line, which is the last line if a later version may
    /// replace it.
    pub(crate) fn most_open_rows(&self) -> usize {
        (self.rows / 3).max(1)
    }

    /// The rows of the last line if a later version may replace it. Rows beyond
    /// [`Screen::most_open_rows`] are left out.
    fn open_rows(&mut self) -> Vec<String> {
        let most = self.most_open_rows();
        let Some(open) = &self.open else {
            return Vec::new();
        };
        let mut rows = open.painted(self.columns, &mut self.paint);
        rows.truncate(most);
        rows
    }

    /// Wraps `status` into at most `most` rows. What does not fit is left out.
    fn status_rows(&self, status: &str, most: usize) -> impl Iterator<Item = String> {
        let rows = wrap::at_words(status, self.columns.saturating_sub(1).max(1), 0).into_iter();
        rows.take(most).map(|row| status[row].trim_end().to_owned())
    }

    /// Cuts `text` to one row.
    fn cut(&self, text: &str) -> String {
        let rows = wrap::at_characters(text, self.columns.saturating_sub(1).max(1));
        rows.first()
            .map_or_else(String::new, |row| text[row.clone()].to_owned())
    }
}

/// Returns a sequence that moves the cursor from the last of `rows` rows to the first, and erases
/// these rows and everything below.
fn erasing(rows: usize) -> String {
    format!("\r{}{ERASE}", up(rows.saturating_sub(1)))
}

/// Returns a sequence that moves the cursor up by `rows` rows.
fn up(rows: usize) -> String {
    match rows {
        0 => String::new(),
        rows => format!("\x1b[{rows}A"),
    }
}
