//! The lines of the server's pane, kept whole and wrapped at words for any width.

use std::collections::VecDeque;

use crate::launcher::display::panes::emulation::SCROLLBACK;
use crate::tty::log_wrap;

/// Ends a row. The emulation has no terminal driver that would add the `\r`.
const END: &str = "\r\n";

/// The last lines, as many as the user can scroll to.
#[derive(Default)]
pub(crate) struct Lines {
    kept: VecDeque<String>,
}

impl Lines {
    /// Adds whole lines; returns their rows at this width, which must not be 0.
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

    /// The rows of all lines at this width.
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
    fn only_as_many_lines_are_kept_as_the_user_can_scroll_to() {
        let mut lines = Lines::default();
        for number in 0..SCROLLBACK + 10 {
            lines.add(format!("{number}\n").as_bytes(), 80);
        }
        assert!(lines.all(80).starts_with(b"10\r\n11\r\n"));
    }
}
