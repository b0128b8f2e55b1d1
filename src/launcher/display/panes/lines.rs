//! The lines of the server's log. They are kept unwrapped, so that they can be wrapped between
//! words at any width.

use std::collections::VecDeque;

use crate::launcher::display::panes::emulation::SCROLLBACK;
use crate::tty::log_wrap;

/// Ending of a row. It includes a carriage return, because no terminal driver adds one to this
/// output.
const ROW_END: &str = "\r\n";

/// The last [`SCROLLBACK`] lines of the log.
#[derive(Default)]
pub(crate) struct LogLines {
    kept: VecDeque<String>,
}

impl LogLines {
    /// Adds whole lines. Returns output that shows these lines on a screen of `columns` columns,
    /// which must be at least 1.
    pub(crate) fn add(&mut self, lines: &[u8], columns: usize) -> Vec<u8> {
        let mut shown = String::with_capacity(lines.len() + 64);
        for line in String::from_utf8_lossy(lines).lines() {
            log_wrap::push(line, columns, ROW_END, &mut shown);
            self.kept.push_back(line.to_owned());
        }
        let too_many = self.kept.len().saturating_sub(SCROLLBACK);
        self.kept.drain(..too_many);
        shown.into_bytes()
    }

    /// Returns output that shows all lines on a screen of `columns` columns, which must be at least
    /// 1.
    pub(crate) fn all(&self, columns: usize) -> Vec<u8> {
        let mut shown = String::new();
        for line in &self.kept {
            log_wrap::push(line, columns, ROW_END, &mut shown);
        }
        shown.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_within_the_scrollback_limit_are_kept() {
        let mut lines = LogLines::default();
        for number in 0..SCROLLBACK + 10 {
            lines.add(format!("{number}\n").as_bytes(), 80);
        }
        assert!(lines.all(80).starts_with(b"10\r\n11\r\n"));
    }
}
