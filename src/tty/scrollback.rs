//! The last lines of the conversation: which of their rows are on the screen, and which of those the terminal's scrollback has as well.
//!
//! Rows are counted as they were written. A terminal that breaks one at its margin, as it does with a long link, shows more of them; so what
//! is counted here is never too little of the conversation, and may be a line too much.

use std::collections::VecDeque;

use termcolor::Buffer;

use crate::tty::line::Line;

/// Lines that are kept to be drawn again, which no screen has more of.
const MAX_LINES: usize = 500;

/// Bytes in them, at most, which no screen has more of either. A hostile server makes each line as long as it may be.
pub(crate) const MAX_BYTES: usize = 1024 * 1024;

/// See the top.
#[derive(Default)]
pub(crate) struct Scrollback {
    lines: VecDeque<Written>,
    bytes: usize,
    /// Rows at the end that are on the screen, and nowhere else.
    own: usize,
    /// Rows before them that are on the screen, and in the scrollback as well.
    again: usize,
}

/// A line that was written.
struct Written {
    line: Line,
    /// Rows in which it was written last, but for the purpose of [`Scrollback::again`].
    rows: usize,
}

impl Scrollback {
    /// Keeps a line that was written in so many rows below the others.
    pub(crate) fn push(&mut self, line: Line, rows: usize) {
        self.own += rows;
        self.bytes += line.byte_len();
        self.lines.push_back(Written { line, rows });
        while self.lines.len() > MAX_LINES || self.bytes > MAX_BYTES {
            let oldest = self.lines.pop_front();
            self.bytes -= oldest.map_or(0, |oldest| oldest.line.byte_len());
        }
    }

    /// How many rows are on the screen.
    pub(crate) fn on_screen(&self) -> usize {
        self.again + self.own
    }

    /// Whether some of them are in the scrollback, too.
    pub(crate) fn repeats(&self) -> bool {
        self.again > 0
    }

    /// Whether it would bring rows into the scrollback a second time to write so many more where the screen has room for `room`.
    pub(crate) fn would_repeat(&self, more: usize, room: usize) -> bool {
        self.repeats() && self.on_screen() + more > room
    }

    /// Whether all rows on the screen, and so many before them, are lines of their own.
    pub(crate) fn is_unwrapped(&self, before: usize) -> bool {
        self.last(self.on_screen() + before)
            .all(|written| written.rows == 1)
    }

    /// Columns of the widest row that is on the screen, of so many columns, and nowhere else, or one of so many rows before.
    pub(crate) fn widest(&self, before: usize, columns: usize) -> usize {
        let last = self.last(self.own + before);
        last.map(|written| written.line.widest(columns))
            .max()
            .unwrap_or(0)
    }

    /// The lines that the last rows are of, from the last one on.
    fn last(&self, mut rows: usize) -> impl Iterator<Item = &Written> {
        self.lines.iter().rev().take_while(move |written| {
            let is_one = rows > 0;
            rows = rows.saturating_sub(written.rows);
            is_one
        })
    }

    /// All but the last `most` rows have left the screen, for the scrollback.
    pub(crate) fn scroll(&mut self, most: usize) {
        self.own = self.own.min(most);
        self.again = self.again.min(most - self.own);
    }

    /// The terminal may have brought so many rows back out of the scrollback.
    pub(crate) fn scroll_back(&mut self, rows: usize) {
        let all = self.lines.iter().map(|written| written.rows).sum();
        self.own = (self.own + rows).min(all);
    }

    /// None of them is on the screen as far as is known.
    pub(crate) fn leave(&mut self) {
        (self.own, self.again) = (0, 0);
    }

    /// What shows them on an empty screen: all that the scrollback does not have, be it more than `most` rows, and of the others as many rows as
    /// there is room for.
    pub(crate) fn rewrite(&mut self, columns: usize, most: usize, paint: &mut Buffer) -> String {
        let mut rows = VecDeque::new();
        let (mut own, mut taken) = (0, 0);
        for written in self.lines.iter_mut().rev() {
            if self.own == 0 && taken >= most {
                break;
            }
            let painted = written.line.painted(columns, paint);
            taken += written.line.height(columns);
            if self.own > 0 {
                // Of the first of them, some rows may be in the scrollback: a line is shown whole.
                self.own = self.own.saturating_sub(written.rows);
                written.rows = painted.len();
                own += painted.len();
            }
            for row in painted.into_iter().rev() {
                rows.push_front(row);
            }
        }
        self.own = own;
        self.again = (rows.len() - own).saturating_sub(taken.saturating_sub(most));
        rows.drain(..rows.len() - self.on_screen());
        as_written(rows.make_contiguous())
    }
}

/// Rows as they are written, each with its end.
pub(crate) fn as_written(rows: &[String]) -> String {
    rows.iter().map(|row| format!("{row}\r\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines on a screen, as a terminal has them that is written to.
    struct Shown {
        recent: Scrollback,
        columns: usize,
    }

    impl Shown {
        /// So many lines of 20 columns, on a screen of 40 columns that has room for `room` rows.
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

        /// The numbers of the lines that are written on a screen of so many columns, with room for so many rows.
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
    fn in_a_narrower_window_all_is_written_again_that_was_nowhere_but_on_the_screen() {
        let mut shown = Shown::new(50, 10);
        // Each takes two rows now, so that the scrollback gets the first five of them.
        assert_eq!(shown.rewrite(16, 10), Vec::from_iter(40..50));
        assert_eq!(shown.rewrite(16, 10), Vec::from_iter(45..50));
        shown.say(50, 10);
        assert_eq!(shown.rewrite(8, 10), Vec::from_iter(46..51));
    }

    #[test]
    fn in_a_wider_window_there_are_lines_again_that_are_not_brought_into_the_scrollback_twice() {
        let mut shown = Shown::new(50, 10);
        shown.rewrite(16, 10);
        assert_eq!(shown.rewrite(40, 10), Vec::from_iter(40..50));
        assert!(!shown.recent.would_repeat(0, 10));
        assert!(shown.recent.would_repeat(1, 10));
        assert_eq!(shown.rewrite(40, 9), Vec::from_iter(41..50));
        // Where there are more than it has room for, none of them is one that the scrollback has.
        assert_eq!(shown.rewrite(40, 3), Vec::from_iter(45..50));
        assert!(!shown.recent.would_repeat(1, 3));
    }

    #[test]
    fn in_a_higher_window_lines_may_have_come_back_that_are_nowhere_else_then() {
        let mut shown = Shown::new(50, 10);
        shown.recent.scroll_back(5);
        assert_eq!(shown.rewrite(16, 15), Vec::from_iter(35..50));
        shown.recent.scroll_back(1000);
        assert_eq!(shown.rewrite(16, 15), Vec::from_iter(0..50));
    }

    #[test]
    fn a_link_of_several_rows_takes_the_room_of_them() {
        let mut shown = Shown::new(50, 10);
        shown.rewrite(16, 10);
        let link = Line::plain("https://example.org/a/link/of/60/columns/so/that/is/is/long.");
        shown.recent.push(link, 1);
        shown.recent.scroll(10);
        // Of ten rows it takes two.
        assert_eq!(shown.rewrite(40, 10), Vec::from_iter(42..50));
    }
}
