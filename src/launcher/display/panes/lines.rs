//! The lines of the server's pane: kept as they came, and cut at words into rows of any width.

use std::collections::VecDeque;

use crate::launcher::display::panes::emulation::SCROLLBACK;
use crate::tty::log_wrap;

/// What ends a row for the emulation, which no driver of a terminal stands before.
const END: &str = "\r\n";

/// The last lines, as many as can be scrolled to.
#[derive(Default)]
pub(crate) struct Lines {
    kept: VecDeque<String>,
}

impl Lines {
    /// Takes whole lines; gives what shows them on a screen of so many columns, of which there must be one at least.
    pub(crate) fn add(&mut self, lines: &[u8], columns: usize) -> Vec<u8> {
        let mut shown = String::with_capacity(lines.len() + 64);
        for line in String::from_utf8_lossy(lines).lines() {
            log_wrap::push(line, columns, END, &mut shown);
            self.kept.push_back(line.to_owned());
        }
        let too_many = self.kept.len().saturating_sub(SCROLLBACK);
        self.kept.drain(..too_many);
        shown.into_bytes()
    }

    /// What shows all of them on a screen of so many columns.
    pub(crate) fn all(&self, columns: usize) -> Vec<u8> {
        let mut shown = String::new();
        for line in &self.kept {
            log_wrap::push(line, columns, END, &mut shown);
        }
        shown.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_lines_are_kept_as_can_be_scrolled_to() {
        let mut lines = Lines::default();
        for number in 0..SCROLLBACK + 10 {
            lines.add(format!("{number}\n").as_bytes(), 80);
        }
        assert!(lines.all(80).starts_with(b"10\r\n11\r\n"));
    }
}
