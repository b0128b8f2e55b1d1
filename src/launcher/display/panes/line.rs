//! The line that is typed in the server's pane: edited as in a shell, with what was typed before.

use std::collections::VecDeque;
use std::fmt::{self, Display, Formatter};

use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use tui_input::Input;
use tui_input::backend::crossterm::EventHandler;

use crate::protocol::commands::{self, Argument, Command};
use crate::protocol::console::MAX_CONSOLE_LINE;

/// Lines that can be had back.
const MAX_KEPT: usize = 100;

/// Longest line, in bytes, without its ending.
const MAX_LINE: usize = MAX_CONSOLE_LINE - 1;

/// Why something was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A paste of so many lines: a text from elsewhere may have a command in any of them.
    Lines(usize),
    /// The line would be longer than [`MAX_LINE`].
    TooLong,
}

impl Display for Refusal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lines(lines) => write!(
                f,
                "a paste of {lines} lines was not taken; paste one line at a time here"
            ),
            Self::TooLong => write!(
                f,
                "what came last was not taken; a line here has at most {MAX_LINE} bytes"
            ),
        }
    }
}

/// The line.
#[derive(Default)]
pub(crate) struct Line {
    input: Input,
    /// What was typed before, oldest first.
    kept: VecDeque<String>,
    /// Which of them is shown, counted from the last; none is at 0.
    back: usize,
    /// What was being typed when the first of them was shown.
    draft: String,
    /// What Tab goes through, until another key; the next one comes first.
    completions: VecDeque<String>,
    /// Its end was not taken: Enter must not send a part of it.
    is_cut: bool,
}

impl Line {
    /// Takes a key; gives the line where that ends it.
    ///
    /// # Errors
    /// There is no room for it; that is told once, and the next Enter does nothing.
    pub(crate) fn key(&mut self, key: KeyEvent) -> Result<Option<String>, Refusal> {
        let was_cut = std::mem::take(&mut self.is_cut);
        self.completions.clear();
        match (key.code, key.modifiers) {
            (KeyCode::Enter, _) if was_cut => {}
            (KeyCode::Enter, _) => return Ok(Some(self.finish())),
            (KeyCode::Char(c), KeyModifiers::NONE | KeyModifiers::SHIFT)
                if self.input.value().len() + c.len_utf8() > MAX_LINE =>
            {
                self.is_cut = true;
                if !was_cut {
                    return Err(Refusal::TooLong);
                }
            }
            (KeyCode::Up, KeyModifiers::NONE) => self.recall(self.back + 1),
            (KeyCode::Down, KeyModifiers::NONE) => self.recall(self.back.saturating_sub(1)),
            _ => drop(self.input.handle_event(&Event::Key(key))),
        }
        Ok(None)
    }

    /// Completes a command, or one of `names` after `/kick`, at the end of the line; where there are several, each time with the next one.
    pub(crate) fn complete(&mut self, names: &[String]) {
        if self.completions.is_empty() {
            self.completions = completions(self.input.value(), names);
        }
        if let Some(line) = self.completions.pop_front() {
            self.input = Input::new(line.clone());
            self.completions.push_back(line);
        }
    }

    /// Takes what was pasted, to be looked at and ended by Enter.
    ///
    /// # Errors
    /// All of it was not taken.
    pub(crate) fn paste(&mut self, text: &str) -> Result<(), Refusal> {
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let text = text.trim_end_matches('\n');
        if text.contains('\n') {
            return Err(Refusal::Lines(text.lines().count()));
        }
        let text: String = text.chars().filter(|c| !c.is_control()).collect();
        let before = self.input.value();
        if before.len() + text.len() > MAX_LINE {
            return Err(Refusal::TooLong);
        }
        // The cursor counts characters.
        let cursor = self.input.cursor();
        let at = before.char_indices().nth(cursor);
        let at = at.map_or(before.len(), |(at, _)| at);
        let line = [&before[..at], &text, &before[at..]].concat();
        self.input = Input::new(line).with_cursor(cursor + text.chars().count());
        Ok(())
    }

    /// The part of it that fits in `width` columns with the cursor in it, and the cursor's column.
    pub(crate) fn show(&self, width: u16) -> (&str, u16) {
        // The cursor may stand behind the last character.
        let hidden = self
            .input
            .visual_scroll(usize::from(width).saturating_sub(1));
        let mut columns = 0;
        let start = self.input.value().char_indices().find(|(_, c)| {
            let is_shown = columns >= hidden;
            columns += ratatui::text::Span::raw(c.to_string()).width();
            is_shown
        });
        let start = start.map_or(self.input.value().len(), |(start, _)| start);
        let column = self.input.visual_cursor().saturating_sub(hidden);
        (
            &self.input.value()[start..],
            u16::try_from(column).unwrap_or(width),
        )
    }

    fn finish(&mut self) -> String {
        let line = self.input.value_and_reset();
        self.back = 0;
        if !line.trim().is_empty() && self.kept.back() != Some(&line) {
            self.kept.push_back(line.clone());
            if self.kept.len() > MAX_KEPT {
                self.kept.pop_front();
            }
        }
        line
    }

    fn recall(&mut self, back: usize) {
        if back > self.kept.len() {
            return;
        }
        if self.back == 0 {
            self.draft = self.input.value().to_owned();
        }
        self.back = back;
        let line = match back {
            0 => self.draft.clone(),
            back => self.kept[self.kept.len() - back].clone(),
        };
        self.input = Input::new(line);
    }
}

/// What a line may become.
fn completions(line: &str, names: &[String]) -> VecDeque<String> {
    let typed = line.to_lowercase();
    let words = commands::offered(commands::of_console());
    let words = words.iter().map(|command| format!("{command} "));
    let takes_name = |row: &&Command| row.argument == Argument::Member;
    let with_names = commands::of_console().filter(takes_name).flat_map(|row| {
        let command = row.names[0];
        names.iter().map(move |name| format!("{command} {name} "))
    });
    words
        .chain(with_names)
        .filter(|whole| {
            let blanks = |text: &str| text.matches(' ').count();
            // One word at a time, which ends with the blank that is added.
            let is_next = blanks(whole) == blanks(&typed) + 1;
            !typed.is_empty() && is_next && whole.to_lowercase().starts_with(&typed)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(line: &mut Line, keys: &[KeyCode]) -> Vec<String> {
        let events = keys.iter().map(|code| KeyEvent::from(*code));
        events
            .filter_map(|key| line.key(key).unwrap_or_default())
            .collect()
    }

    fn letters(text: &str) -> Vec<KeyCode> {
        text.chars().map(KeyCode::Char).collect()
    }

    #[test]
    fn a_line_is_edited_and_ends_with_enter() {
        let mut line = Line::default();
        typed(&mut line, &letters("/sy hi"));
        typed(&mut line, &[KeyCode::Home, KeyCode::Right, KeyCode::Right]);
        typed(&mut line, &letters("a"));
        assert_eq!(line.show(20), ("/say hi", 3));
        assert_eq!(typed(&mut line, &[KeyCode::Enter]), ["/say hi"]);
        assert_eq!(line.show(20), ("", 0));
    }

    #[test]
    fn what_was_typed_before_comes_back_and_the_draft_too() {
        let mut line = Line::default();
        typed(&mut line, &letters("one"));
        typed(&mut line, &[KeyCode::Enter]);
        typed(&mut line, &letters("two"));
        typed(&mut line, &[KeyCode::Enter]);
        typed(&mut line, &letters("thr"));
        for (key, shown) in [
            (KeyCode::Up, "two"),
            (KeyCode::Up, "one"),
            (KeyCode::Up, "one"),
            (KeyCode::Down, "two"),
            (KeyCode::Down, "thr"),
            (KeyCode::Down, "thr"),
        ] {
            typed(&mut line, &[key]);
            assert_eq!(line.show(20).0, shown);
        }
    }

    #[test]
    fn tab_completes_commands_and_names_to_kick() {
        let names = ["ola", "Olek", "jan"].map(String::from);
        for (before, completed) in [
            ("/k", &["/kick ", "/kick "][..]),
            ("/O", &["/online ", "/open ", "/online "]),
            ("/kick ol", &["/kick ola ", "/kick Olek ", "/kick ola "]),
            ("/KICK ", &["/kick ola ", "/kick Olek ", "/kick jan "]),
            ("", &[""]),
            ("/kick ola ", &["/kick ola "]),
            ("/say o", &["/say o"]),
            ("/x", &["/x"]),
        ] {
            let mut line = Line::default();
            typed(&mut line, &letters(before));
            for completed in completed {
                line.complete(&names);
                assert_eq!(line.show(40).0, *completed, "{before:?}");
            }
        }
    }

    #[test]
    fn a_pasted_line_waits_for_enter_and_several_are_not_taken() {
        let mut line = Line::default();
        assert_eq!(line.paste("/say o\tne\r\n"), Ok(()));
        assert_eq!(line.show(20).0, "/say one");
        for text in ["x\n/quit", "x\r/quit\r", "x\r\n/quit"] {
            assert_eq!(line.paste(text), Err(Refusal::Lines(2)), "{text:?}");
        }
        assert_eq!(line.show(20).0, "/say one");
    }

    #[test]
    fn a_paste_goes_where_the_cursor_is_and_one_that_is_too_long_is_not_taken() {
        let mut line = Line::default();
        assert_eq!(line.paste("żć"), Ok(()));
        typed(&mut line, &[KeyCode::Left]);
        assert_eq!(line.paste("日本"), Ok(()));
        assert_eq!(line.show(20), ("ż日本ć", 5));
        assert_eq!(line.paste(&"x".repeat(MAX_LINE)), Err(Refusal::TooLong));
        assert_eq!(line.show(20).0, "ż日本ć");
    }

    #[test]
    fn a_line_that_was_typed_too_long_is_told_once_and_not_ended_by_its_enter() {
        let mut line = Line::default();
        assert_eq!(line.paste(&"x".repeat(MAX_LINE)), Ok(()));
        let mut key = |code| line.key(KeyEvent::from(code));
        assert_eq!(key(KeyCode::Char('y')), Err(Refusal::TooLong));
        assert_eq!(key(KeyCode::Char('y')), Ok(None));
        assert_eq!(key(KeyCode::Enter), Ok(None));
        assert_eq!(key(KeyCode::Backspace), Ok(None));
        assert_eq!(key(KeyCode::Char('y')), Ok(None));
        let line = key(KeyCode::Enter).unwrap().unwrap();
        assert_eq!(line, format!("{}y", "x".repeat(MAX_LINE - 1)));
    }

    #[test]
    fn a_line_that_is_too_long_is_shown_around_the_cursor() {
        let mut line = Line::default();
        line.paste("0123456789日本語").unwrap();
        assert_eq!(line.show(8), ("9日本語", 7));
        typed(&mut line, &[KeyCode::Home]);
        assert_eq!(line.show(8), ("0123456789日本語", 0));
    }
}
