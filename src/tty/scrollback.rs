//! Keeps the last lines drawn. Tracks how many of their rows are on the screen, and how many of the
//! rows on the screen are also in the terminal's scrollback.

use std::collections::VecDeque;

use termcolor::Buffer;

use crate::tty::line::Line;

/// Maximum number of lines that are kept to be drawn again. No screen has more rows.
const MAX_LINES: usize = 500;

/// Limit on the size of the lines that are kept, in bytes: a hostile server can make each line as
/// long as the protocol allows.
pub(crate) const MAX_BYTES: usize = 1024 * 1024;

/// The last lines drawn.
#[derive(Default)]
pub(crate) struct Scrollback {
    lines: VecDeque<Written>,
    bytes: usize,
    /// Number of rows that are on the screen and not in the scrollback. They are the last rows.
    on_screen_only: usize,
    /// Number of rows that are both on the screen and in the scrollback. They are above the rows
    /// that are only on the screen.
    also_in_scrollback: usize,
}

/// A drawn line.
struct Written {
    line: Line,
    /// Number of rows that the line took up when it was last written. Writing a line from the
    /// scrollback again to fill the screen doesn't count, because its rows in the scrollback stay
    /// as they are.
    rows: usize,
}

impl Scrollback {
    /// Adds a line that was written in `rows` rows.
    pub(crate) fn push(&mut self, line: Line, rows: usize) {
        self.on_screen_only += rows;
        self.bytes += line.byte_len();
        self.lines.push_back(Written { line, rows });
        while self.lines.len() > MAX_LINES || self.bytes > MAX_BYTES {
            let oldest = self.lines.pop_front();
            self.bytes -= oldest.map_or(0, |oldest| oldest.line.byte_len());
        }
    }

    /// The number of rows on the screen.
    pub(crate) fn on_screen(&self) -> usize {
        self.also_in_scrollback + self.on_screen_only
    }

    /// Whether some rows on the screen are also in the scrollback.
    pub(crate) fn repeats(&self) -> bool {
        self.also_in_scrollback > 0
    }

    /// Whether `added` more rows would scroll rows into the scrollback a second time. `space` is
    /// the number of rows for lines on the screen.
    pub(crate) fn would_repeat(&self, added: usize, space: usize) -> bool {
        self.repeats() && self.on_screen() + added > space
    }

    /// Whether each line takes a single row. Considers the lines on the screen, and the lines in
    /// the `before` rows above the screen.
    pub(crate) fn is_unwrapped(&self, before: usize) -> bool {
        self.last(self.on_screen() + before)
            .all(|written| written.rows == 1)
    }

    /// The width of the widest row if the lines are wrapped at `columns`. Considers only the lines
    /// on the screen that are not in the scrollback, and the lines in the `before` rows above them.
    pub(crate) fn widest(&self, before: usize, columns: usize) -> usize {
        let last = self.last(self.on_screen_only + before);
        last.map(|written| written.line.widest(columns))
            .max()
            .unwrap_or(0)
    }

    /// The lines in the last `rows` rows, the newest first.
    fn last(&self, mut rows: usize) -> impl Iterator<Item = &Written> {
        self.lines.iter().rev().take_while(move |written| {
            let is_included = rows > 0;
            rows = rows.saturating_sub(written.rows);
            is_included
        })
    }

    /// Records that only the last `most` rows are still on the screen, because the rows above them
    /// have moved to the scrollback.
    pub(crate) fn scroll(&mut self, most: usize) {
        self.on_screen_only = self.on_screen_only.min(most);
        let rest = most - self.on_screen_only;
        self.also_in_scrollback = self.also_in_scrollback.min(rest);
    }

    /// Records that the terminal may have brought this many rows back from the scrollback.
    pub(crate) fn scroll_back(&mut self, rows: usize) {
        let all = self.lines.iter().map(|written| written.rows).sum();
        self.on_screen_only = (self.on_screen_only + rows).min(all);
    }

    /// Records that no row is left on the screen.
    pub(crate) fn leave(&mut self) {
        (self.on_screen_only, self.also_in_scrollback) = (0, 0);
    }

    /// Returns the rows to write on an empty screen: all rows that aren't in the scrollback, even
    /// if these are more than `most`. If they are fewer, adds rows above them that are in the
    /// scrollback, up to `most` rows in total.
    pub(crate) fn rewrite(&mut self, columns: usize, most: usize, paint: &mut Buffer) -> String {
        let mut rows = VecDeque::new();
        let mut on_screen_only = 0;
        for written in self.lines.iter_mut().rev() {
            if self.on_screen_only == 0 && rows.len() >= most {
                break;
            }
            let painted = written.line.painted(columns, paint);
            if self.on_screen_only > 0 {
                // Write the whole line, even if its first rows are in the scrollback: at a new
                // width, its rows are split differently.
                self.on_screen_only = self.on_screen_only.saturating_sub(written.rows);
                written.rows = painted.len();
                on_screen_only += painted.len();
            }
            for row in painted.into_iter().rev() {
                rows.push_front(row);
            }
        }
        self.on_screen_only = on_screen_only;
        self.also_in_scrollback = rows.len().min(most).saturating_sub(on_screen_only);
        rows.drain(..rows.len() - self.on_screen());
        as_written(rows.make_contiguous())
    }
}

/// Joins rows for writing, and adds a line ending to each.
pub(crate) fn as_written(rows: &[String]) -> String {
    rows.iter().map(|row| format!("{row}\r\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A model of a terminal: its scrollback, and its width.
    struct Shown {
        recent: Scrollback,
        columns: usize,
    }

    impl Shown {
        /// Shows `lines` lines, each 22 columns wide, on a screen with 40 columns and with space
        /// for `space` rows.
        fn new(lines: usize, space: usize) -> Self {
            let (recent, columns) = (Scrollback::default(), 40);
            let mut shown = Self { recent, columns };
            for number in 0..lines {
                shown.say(number, space);
            }
            shown
        }

        fn say(&mut self, number: usize, space: usize) {
            let line = Line::plain(&format!("line {number:03} of 22 columns"));
            let rows = line.rows(self.columns).len();
            self.recent.push(line, rows);
            self.recent.scroll(space);
        }

        /// Rewrites the lines for this size. Returns the numbers of the lines that were written.
        fn rewrite(&mut self, columns: usize, space: usize) -> Vec<usize> {
            self.columns = columns;
            let paint = &mut Buffer::no_color();
            let written = self.recent.rewrite(columns, space, paint);
            self.recent.scroll(space);
            let begin = |row: &str| row.strip_prefix("line ")?.get(..3)?.parse().ok();
            written.lines().filter_map(begin).collect()
        }
    }

    #[test]
    fn a_narrower_window_shows_every_line_that_is_not_in_the_scrollback() {
        let mut shown = Shown::new(50, 10);
        // Only the last ten lines are not in the scrollback. Each takes two rows now, so a screen
        // of ten rows keeps five of them, and the first five move to the scrollback.
        assert_eq!(shown.rewrite(16, 10), Vec::from_iter(40..50));
        assert_eq!(shown.rewrite(16, 10), Vec::from_iter(45..50));
        shown.say(50, 10);
        assert_eq!(shown.rewrite(8, 10), Vec::from_iter(46..51));
    }

    #[test]
    fn lines_that_fill_a_wider_window_do_not_scroll_out_twice() {
        let mut shown = Shown::new(50, 10);
        shown.rewrite(16, 10);
        assert_eq!(shown.rewrite(40, 10), Vec::from_iter(40..50));
        assert!(!shown.recent.would_repeat(0, 10));
        assert!(shown.recent.would_repeat(1, 10));
        assert_eq!(shown.rewrite(40, 9), Vec::from_iter(41..50));
        // The window has only three rows for these five lines. The rows that do not fit are in the
        // scrollback only.
        assert_eq!(shown.rewrite(40, 3), Vec::from_iter(45..50));
        assert!(!shown.recent.would_repeat(1, 3));
    }

    #[test]
    fn a_taller_window_shows_lines_that_came_back_from_the_scrollback() {
        let mut shown = Shown::new(50, 10);
        shown.recent.scroll_back(5);
        assert_eq!(shown.rewrite(16, 15), Vec::from_iter(35..50));
        shown.recent.scroll_back(1000);
        assert_eq!(shown.rewrite(16, 15), Vec::from_iter(0..50));
    }
}
