//! Where things go on the terminal: the conversation into its scrollback, and below it the line that is being typed.
//!
//! The terminal is asked nothing, and nothing needs to be known of where the cursor is: all is drawn relative to the row that it
//! was left in. What comes in is put above the line by drawing the line anew below it, in one write for all that came since the last
//! one, [`FRAME`] ago at least.
//!
//! Where the terminal has another size, some have broken rows at the new margin and others have cut them; some have brought rows back out of
//! the scrollback, and others have not. What is to be seen is drawn anew for it, once the size stays, and nothing is erased but what is drawn again. So no line is
//! lost, though the scrollback may have one twice, where the terminal has brought it there itself.

use std::io;
use std::time::{Duration, Instant};

use termcolor::Buffer;

use crate::tty;
use crate::tty::editor::Rows;
use crate::tty::line::Line;
use crate::tty::scrollback::{self, Scrollback};
use crate::tty::wrap;

/// Time between two drawings, at least: 60 a second.
const FRAME: Duration = Duration::from_millis(16);

/// Time that a size must stay before all is drawn for it: with each step of a window's corner that is dragged, a terminal that breaks rows
/// scrolls out some of what was drawn for the step before.
const STAYS: Duration = Duration::from_millis(100);

/// Time after which it is drawn while the size goes on changing.
const CHANGES: Duration = Duration::from_secs(1);

/// Begin and end of what a terminal is to show at once (DEC private mode 2026); with the cursor hidden meanwhile for those that
/// do not know it.
const BEGIN: &str = "\x1b[?2026h\x1b[?25l";
const END: &str = "\x1b[?25h\x1b[?2026l";

/// Erases the row with the cursor, which is at its beginning, and all rows below. Done in one, it would make tmux keep a screen that is erased
/// from its first character on in the scrollback.
const ERASE: &str = "\x1b[K\x1b[C\x1b[J\r";

/// The screen below the terminal's scrollback.
pub(crate) struct Screen {
    columns: usize,
    rows: usize,
    is_coloured: bool,
    paint: Buffer,
    /// Lines that are to be put above the line; they become rows when they are drawn, for the size that the terminal has then.
    pending: Vec<Line>,
    pending_bytes: usize,
    /// The last line, where it may still change: it is drawn with the line that is being typed.
    open: Option<Line>,
    recent: Scrollback,
    drawn: Drawn,
    /// What has become of the size since then.
    resized: Option<Resized>,
    /// All that the screen shows is to go.
    is_cleared: bool,
    /// The terminal had nothing on it before, and nothing of ours has scrolled out of it.
    is_fresh: bool,
    is_stale: bool,
    drawn_at: Option<Instant>,
    /// The window's title, where it is another one than was told.
    new_title: Option<String>,
    title: String,
    rings: bool,
}

/// What was drawn last below the conversation, on a screen of this size; nothing where that was taken away.
#[derive(Default)]
struct Drawn {
    columns: usize,
    rows: usize,
    area: usize,
    /// Columns of the widest row of the area.
    width: usize,
    /// The rows of the area down to the one with the cursor.
    to_cursor: usize,
}

/// A burst of changes of the size.
struct Resized {
    first: Instant,
    last: Instant,
    narrowest: usize,
    lowest: usize,
}

/// How the conversation is drawn anew.
struct Anew {
    /// What erases all of it that is written again, and nothing else: there may be other things above. Everywhere the cursor stays at its text.
    erasing: String,
    /// The screen has room for no more than is known to be there.
    fills: bool,
    /// Rows that the terminal may have brought back above it.
    back: usize,
}

impl Anew {
    /// On a screen that is erased as a whole.
    fn whole() -> Self {
        Self {
            erasing: format!("\x1b[H{ERASE}"),
            fills: false,
            back: 0,
        }
    }
}

impl Screen {
    /// A screen that `is_fresh` where nothing was on the terminal before.
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

    /// Shows a line below those before it.
    pub(crate) fn print(&mut self, mut line: Line) {
        if !self.is_coloured {
            line.lose_colours();
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

    /// Something that shows in the line's rows has changed.
    pub(crate) fn touch(&mut self) {
        self.is_stale = true;
    }

    /// Rings the bell, once with each drawing.
    pub(crate) fn ring(&mut self) {
        self.rings = true;
        self.is_stale = true;
    }

    /// Gives the window this title, which is ASCII.
    pub(crate) fn title(&mut self, title: String) {
        if title != self.title {
            self.new_title = Some(title);
            self.is_stale = true;
        }
    }

    /// The terminal has another size, or had for a moment. A burst of changes is drawn once.
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

    /// Learns which size the terminal has, to be called before it is drawn for it; `false` where that has just changed, so that what tells of it
    /// is still on its way, and another change perhaps, too.
    pub(crate) fn refresh_size(&mut self) -> bool {
        if tty::size() != (self.columns, self.rows) {
            self.resize();
        }
        self.wait().is_none_or(|wait| wait.is_zero())
    }

    /// Empties the screen; what has scrolled out of it stays.
    pub(crate) fn clear(&mut self) {
        self.open = None;
        self.pending.clear();
        self.pending_bytes = 0;
        self.recent = Scrollback::default();
        self.is_cleared = true;
        self.is_stale = true;
    }

    /// What is drawn next stands below what is there, as another program has had the terminal.
    pub(crate) fn begin_below(&mut self) {
        self.recent.leave();
        self.drawn = Drawn::default();
        self.resized = None;
        self.is_fresh = false;
        // That program may have given it another one.
        self.title.clear();
    }

    /// How long it may still wait with drawing; `None` where there is nothing to draw.
    pub(crate) fn wait(&self) -> Option<Duration> {
        let due = match &self.resized {
            // No more is put off than is kept afterwards.
            _ if self.pending_bytes > scrollback::MAX_BYTES => None,
            Some(resized) => Some((resized.last + STAYS).min(resized.first + CHANGES)),
            None => self.drawn_at.map(|at| at + FRAME),
        };
        let wait = due.map_or(Duration::ZERO, |due| {
            due.saturating_duration_since(Instant::now())
        });
        self.is_stale.then_some(wait)
    }

    /// How many rows the line that is being typed may take.
    pub(crate) fn most_rows(&self) -> usize {
        self.rows.saturating_sub(3).max(1)
    }

    /// Draws what has come, and below it the line in `rows`; `status` stands above it.
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
        match self.anew(more, room) {
            Some(anew) => {
                out += &anew.erasing;
                let most = if anew.fills {
                    room.saturating_sub(more)
                } else {
                    0
                };
                out += &self.recent.rewrite(self.columns, most, &mut self.paint);
                back = anew.back;
            }
            None => out += &erasing(self.drawn.to_cursor),
        }
        out += &new;
        self.keep(counts);
        self.is_fresh &= self.recent.on_screen() <= room;
        self.recent.scroll_back(back);
        self.recent.scroll(room);
        out += &area.join("\r\n");
        // Where the cursor stands after a text is for the terminal to say, so that is drawn once more.
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

    /// Draws what has come and takes the line away, so that the cursor stands below the conversation.
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

    /// How the screen is drawn anew, where that is to be; `more` rows will be written in `room` for them.
    fn anew(&mut self, more: usize, room: usize) -> Option<Anew> {
        let resized = self.resized.take();
        if std::mem::take(&mut self.is_cleared) {
            return Some(Anew::whole());
        }
        let (drawn, recent) = (&self.drawn, &mut self.recent);
        let Some(resized) = resized else {
            // Rather than to bring what the scrollback has there once more, to write the rest without it.
            let is_wanted = recent.would_repeat(more, room);
            return is_wanted.then(|| Anew {
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
            // Whether rows have come out of the scrollback or not, they stand as they should. Those below may have been cut for a moment.
            return Some(Anew {
                erasing: erasing(drawn.to_cursor + recent.on_screen()),
                fills: false,
                back,
            });
        }
        recent.scroll_back(back);
        if is_uncut {
            // What is too much above the cursor, every terminal scrolls out; but one that got narrower may have cut it before.
            recent.scroll(self.rows.saturating_sub(drawn.to_cursor));
        } else if self.is_fresh {
            return Some(Anew::whole());
        }
        let mut erasing = erasing(drawn.to_cursor + recent.on_screen());
        if !is_uncut && !is_full {
            // Where rows were broken, the first of them are still there. They are scrolled out, with what may be above.
            let most = self.rows - 1;
            erasing += &format!("{}{}", "\n".repeat(most), up(most));
        }
        Some(Anew {
            erasing,
            fills: is_full,
            back: 0,
        })
    }

    /// The rows of the lines that have come since the last drawing, and how many each line has.
    fn new_rows(&mut self) -> (String, Vec<usize>) {
        let (mut new, mut counts) = (String::new(), Vec::new());
        for line in &self.pending {
            let rows = line.painted(self.columns, &mut self.paint);
            counts.push(rows.len());
            new += &scrollback::as_written(&rows);
        }
        (new, counts)
    }

    /// Keeps what has been drawn, as far as it may have to be drawn again.
    fn keep(&mut self, counts: Vec<usize>) {
        self.pending_bytes = 0;
        for (line, rows) in self.pending.drain(..).zip(counts) {
            self.recent.push(line, rows);
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

    /// As much of a text as one row has room for.
    fn cut(&self, text: &str) -> String {
        let rows = wrap::at_characters(text, self.columns.saturating_sub(1).max(1));
        rows.first()
            .map_or_else(String::new, |row| text[row.clone()].to_owned())
    }
}

/// What takes the cursor to the first of so many rows, of which it is in the last one, and erases from there on.
fn erasing(rows: usize) -> String {
    format!("\r{}{ERASE}", up(rows.saturating_sub(1)))
}

/// What takes the cursor up by so many rows.
fn up(rows: usize) -> String {
    match rows {
        0 => String::new(),
        rows => format!("\x1b[{rows}A"),
    }
}
