//! The lines of the server's log. They are kept unwrapped, so that they can be wrapped between
//! words at any width.

use std::collections::VecDeque;

use crate::launcher::display::panes::emulation::SCROLLBACK;
use crate::tty::log_wrap;

/// Separator between two rows. The carriage return is needed, because no terminal driver adds one
/// here. There is no separator after the last row: otherwise, the last row of the screen would be
/// empty.
const ROW_BREAK: &str = "\r\n";

/// The last [`SCROLLBACK`] lines of the log.
#[derive(Default)]
pub(crate) struct LogLines {
    kept: VecDeque<String>,
}

impl LogLines {
    /// Adds whole lines. Returns output that shows them below the previous ones on a screen of
    /// `columns` columns, which must be at least one.
    pub(crate) fn add(&mut self, lines: &[u8], columns: usize) -> Vec<u8> {
        let mut shown = String::with_capacity(lines.len() + 64);
        if !self.kept.is_empty() {
            shown.push_str(ROW_BREAK);
        }
        for line in String::from_utf8_lossy(lines).lines() {
            log_wrap::push(line, columns, ROW_BREAK, &mut shown);
            self.kept.push_back(line.to_owned());
        }
        let too_many = self.kept.len().saturating_sub(SCROLLBACK);
        self.kept.drain(..too_many);
        without_last_break(shown)
    }

    /// Returns output that shows all lines on a screen of `columns` columns, which must be at least
    /// 1.
    pub(crate) fn all(&self, columns: usize) -> Vec<u8> {
        let mut shown = String::new();
        for line in &self.kept {
            log_wrap::push(line, columns, ROW_BREAK, &mut shown);
        }
        without_last_break(shown)
    }
}

fn without_last_break(mut shown: String) -> Vec<u8> {
    if shown.ends_with(ROW_BREAK) {
        shown.truncate(shown.len() - ROW_BREAK.len());
    }
    shown.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launcher::display::panes::emulation::Emulation;

    #[test]
    fn the_last_line_is_in_the_last_row_of_the_screen() {
        let (mut lines, mut emulation) = (LogLines::default(), Emulation::new(20, 4));
        let expected: Vec<&str> = ["one", "two", "three", "four"].into();
        for lines_at_once in ["zero\none\ntwo\n", "three\n", "four\n"] {
            emulation.process(&lines.add(lines_at_once.as_bytes(), 20));
        }
        let rows: Vec<String> = emulation.screen().rows(0, 20).collect();
        assert_eq!(rows, expected);
        emulation.resize_and_show(30, 4, &lines.all(30));
        let rows: Vec<String> = emulation.screen().rows(0, 30).collect();
        assert_eq!(rows, expected);
    }

    #[test]
    fn only_lines_within_the_scrollback_limit_are_kept() {
        let mut lines = LogLines::default();
        for number in 0..SCROLLBACK + 10 {
            lines.add(format!("{number}\n").as_bytes(), 80);
        }
        assert!(lines.all(80).starts_with(b"10\r\n11\r\n"));
    }
}
