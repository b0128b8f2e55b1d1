//! The last lines drawn: how many of their rows are on the screen, and how many of those are also
//! in the terminal's scrollback.
//!
//! Rows are counted as they were written. A terminal that wraps one at its margin, as it does with
//! a long link, shows more. So the count never misses a line, but may include one too many.

use std::collections::VecDeque;

use termcolor::Buffer;

use crate::tty::line::Line;

/// Lines kept to be drawn again; no screen has more.
const MAX_LINES: usize = 500;

/// Bytes in them, at most: a hostile server can make each line as long as the protocol allows.
pub(crate) const MAX_BYTES: usize = 1024 * 1024;

/// The last lines drawn.
#[derive(Default)]
pub(crate) struct Scrollback {
    lines: VecDeque<Written>,
    bytes: usize,
    /// Rows at the end that are only on the screen.
    on_screen_only: usize,
    /// Rows before them that are on the screen and also in the scrollback.
    also_in_scrollback: usize,
}

/// A drawn line.
struct Written {
    line: Line,
    /// Its rows when it was last written, unless that was only to fill the screen.
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

    /// How many rows are on the screen.
    pub(crate) fn on_screen(&self) -> usize {
        self.also_in_scrollback + self.on_screen_only
    }

    /// Whether some of them are also in the scrollback.
    pub(crate) fn repeats(&self) -> bool {
        self.also_in_scrollback > 0
    }

    /// Whether writing `more` rows would push rows into the scrollback a second time. The screen
    /// has room for `room`.
    pub(crate) fn would_repeat(&self, more: usize, room: usize) -> bool {
        self.repeats() && self.on_screen() + more > room
    }

    /// Whether all rows on the screen, and `before` rows above, are whole lines.
    pub(crate) fn is_unwrapped(&self, before: usize) -> bool {
        self.last(self.on_screen() + before)
            .all(|written| written.rows == 1)
    }

    /// The width of the widest row that is only on the screen, or one of the `before` rows above
    /// it, wrapped at `columns`.
    pub(crate) fn widest(&self, before: usize, columns: usize) -> usize {
        let last = self.last(self.on_screen_only + before);
        last.map(|written| written.line.widest(columns))
            .max()
            .unwrap_or(0)
    }

    /// The lines of the last `rows` rows, newest first.
    fn last(&self, mut rows: usize) -> impl Iterator<Item = &Written> {
        self.lines.iter().rev().take_while(move |written| {
            let is_one = rows > 0;
            rows = rows.saturating_sub(written.rows);
            is_one
        })
    }

    /// All but the last `most` rows have scrolled out.
    pub(crate) fn scroll(&mut self, most: usize) {
        self.on_screen_only = self.on_screen_only.min(most);
        let rest = most - self.on_screen_only;
        self.also_in_scrollback = self.also_in_scrollback.min(rest);
    }

    /// The terminal may have brought this many rows back from the scrollback.
    pub(crate) fn scroll_back(&mut self, rows: usize) {
        let all = self.lines.iter().map(|written| written.rows).sum();
        self.on_screen_only = (self.on_screen_only + rows).min(all);
    }

    /// Assumes that none of them is on the screen.
    pub(crate) fn leave(&mut self) {
        (self.on_screen_only, self.also_in_scrollback) = (0, 0);
    }

    /// Writes the lines on an empty screen: all that aren't in the scrollback, even if that is more
    /// than `most` rows, and as many of the others as fit.
    pub(crate) fn rewrite(&mut self, columns: usize, most: usize, paint: &mut Buffer) -> String {
        let mut rows = VecDeque::new();
        let (mut own, mut taken) = (0, 0);
        for written in self.lines.iter_mut().rev() {
            if self.on_screen_only == 0 && taken >= most {
                break;
            }
            let painted = written.line.painted(columns, paint);
            taken += written.line.height(columns);
            if self.on_screen_only > 0 {
                // Some rows of the first line may be in the scrollback: lines are shown whole.
                self.on_screen_only = self.on_screen_only.saturating_sub(written.rows);
                written.rows = painted.len();
                own += painted.len();
            }
            for row in painted.into_iter().rev() {
                rows.push_front(row);
            }
        }
        self.on_screen_only = own;
        self.also_in_scrollback = (rows.len() - own).saturating_sub(taken.saturating_sub(most));
        rows.drain(..rows.len() - self.on_screen());
        as_written(rows.make_contiguous())
    }
}

/// Rows as they're written, each with its line ending.
pub(crate) fn as_written(rows: &[String]) -> String {
    rows.iter().map(|row| format!("{row}\r\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines on the screen of a terminal.
    struct Shown {
        recent: Scrollback,
        columns: usize,
    }

    impl Shown {
        /// This many lines of 20 columns, on a screen of 40 columns with room for `room` rows.
        fn new(lines: usize, room: usize) -> Self {
            let (recent, columns) = (Scrollback::default(), 40);
            let mut shown = Self { recent, columns };
            for number in 0..lines {
                shown.say(number, room);
            }
            shown
        }

        fn say(&mut self, number: usize, room: usize) {
            let line = Line::plain(&format!("line {number:03} of 20 columns"));
            let rows = line.rows(self.columns).len();
            self.recent.push(line, rows);
            self.recent.scroll(room);
        }

        /// The numbers of the lines that are written again for this size.
        fn rewrite(&mut self, columns: usize, room: usize) -> Vec<usize> {
            self.columns = columns;
            let paint = &mut Buffer::no_color();
            let written = self.recent.rewrite(columns, room, paint);
            self.recent.scroll(room);
            let begin = |row: &str| row.strip_prefix("line ")?.get(..3)?.parse().ok();
            written.lines().filter_map(begin).collect()
        }
    }

    #[test]
    fn a_narrower_window_shows_all_lines_that_are_not_in_the_scrollback() {
        let mut shown = Shown::new(50, 10);
        // Each takes two rows now, so the scrollback gets the first five.
        assert_eq!(shown.rewrite(16, 10), Vec::from_iter(40..50));
        assert_eq!(shown.rewrite(16, 10), Vec::from_iter(45..50));
        shown.say(50, 10);
        assert_eq!(shown.rewrite(8, 10), Vec::from_iter(46..51));
    }

    #[test]
    fn a_wider_window_is_filled_with_lines_that_do_not_scroll_out_twice() {
        let mut shown = Shown::new(50, 10);
        shown.rewrite(16, 10);
        assert_eq!(shown.rewrite(40, 10), Vec::from_iter(40..50));
        assert!(!shown.recent.would_repeat(0, 10));
        assert!(shown.recent.would_repeat(1, 10));
        assert_eq!(shown.rewrite(40, 9), Vec::from_iter(41..50));
        // If there isn't room for all, none of them is also in the scrollback.
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

    #[test]
    fn a_link_counts_with_all_the_rows_that_the_terminal_wraps_it_in() {
        let mut shown = Shown::new(50, 10);
        shown.rewrite(16, 10);
        let link = Line::plain("https://example.org/a/link/of/60/columns/so/that/is/is/long.");
        shown.recent.push(link, 1);
        shown.recent.scroll(10);
        // It takes two of the ten rows.
        assert_eq!(shown.rewrite(40, 10), Vec::from_iter(42..50));
    }
}
