//! A question to the user, shown in the status line instead of the list of keys.

use std::time::{Duration, Instant};

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// How long Ctrl+C can be confirmed by a second Ctrl+C.
const CONFIRMATION_TIME: Duration = Duration::from_secs(5);

pub(crate) enum Prompt {
    /// Asks for the number of the pane to move to. Contains the digits typed so far.
    PaneNumber(String),
    /// Reports that there is no pane with this number.
    NoPane(usize),
    /// Asks for a second Ctrl+C, because the end of the session also affects members who joined
    /// from outside of it.
    EndSession {
        /// The number of members who joined from outside of the session.
        members: usize,
        /// The time at which the question disappears. A later Ctrl+C asks again.
        until: Instant,
    },
}

/// The effect of a key on [`Prompt::PaneNumber`].
pub(crate) enum Reply {
    /// Show this prompt from now on.
    Ask(Prompt),
    /// Move the focus to this pane.
    Focus(usize),
    /// Remove the prompt, and leave the focus where it is.
    Cancel,
    /// The key does not answer the prompt, and is handled as if there were none.
    Other,
}

impl Prompt {
    /// Creates [`Prompt::EndSession`], in which `members` is the number of members who joined from
    /// outside of the session. Also returns the time at which the question disappears.
    pub(crate) fn end_session(members: usize) -> (Self, Instant) {
        let until = Instant::now() + CONFIRMATION_TIME;
        (Self::EndSession { members, until }, until)
    }

    /// Whether the question's time is over, so that it is no longer shown.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self, Self::EndSession { until, .. } if *until <= Instant::now())
    }

    /// Whether a Ctrl+C pressed now answers [`Prompt::EndSession`] and so ends the session.
    pub(crate) fn confirms_end(&self) -> bool {
        matches!(self, Self::EndSession { .. }) && !self.is_over()
    }

    /// The text for the status line. Returns variants from the longest to the shortest, of which
    /// the first one that fits is to be shown.
    pub(crate) fn texts(&self) -> Vec<String> {
        match self {
            Self::PaneNumber(digits) => vec![
                format!("go to chat number (0 is the server): {digits}"),
                format!("go to chat: {digits}"),
            ],
            Self::NoPane(number) => vec![format!("there is no chat {number}")],
            Self::EndSession { members, .. } => {
                let plural = if *members == 1 { "" } else { "s" };
                vec![
                    format!("Ctrl+C again ends the session for {members} member{plural}"),
                    format!("Ctrl+C again ends it for {members} member{plural}"),
                    "Ctrl+C again to end".into(),
                    "Ctrl+C ends it".into(),
                ]
            }
        }
    }
}

/// Handles a key while [`Prompt::PaneNumber`] shows `digits`. The panes are numbered from 0 to
/// `count - 1`. A number is accepted without Enter if no further digit can make it another pane's
/// number.
pub(crate) fn type_number(mut digits: String, key: KeyEvent, count: usize) -> Reply {
    match (key.code, key.modifiers) {
        (KeyCode::Char(digit @ '0'..='9'), KeyModifiers::NONE) => digits.push(digit),
        (KeyCode::Backspace, KeyModifiers::NONE) => {
            digits.pop();
            return Reply::Ask(Prompt::PaneNumber(digits));
        }
        (KeyCode::Enter, _) => return digits.parse().map_or(Reply::Cancel, Reply::Focus),
        (KeyCode::Esc, _) => return Reply::Cancel,
        _ => return Reply::Other,
    }
    // Parsing does not fail, because the number fits into `usize`: it was less than `count` before
    // this digit, so it is less than ten times `count` now.
    match digits.parse() {
        Ok(number) if number >= count => Reply::Ask(Prompt::NoPane(number)),
        Ok(number) if number == 0 || number * 10 >= count => Reply::Focus(number),
        Ok(_) | Err(_) => Reply::Ask(Prompt::PaneNumber(digits)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The outcome of typing `keys` after F5, with this many panes: the pane that gets the focus,
    /// or else the text of the prompt.
    fn typed(keys: &[KeyCode], count: usize) -> Result<usize, String> {
        let mut digits = String::new();
        for code in keys {
            let key = KeyEvent::new(*code, KeyModifiers::NONE);
            match type_number(std::mem::take(&mut digits), key, count) {
                Reply::Ask(Prompt::PaneNumber(typed)) => digits = typed,
                Reply::Ask(prompt) => return Err(prompt.texts().remove(0)),
                Reply::Focus(pane) => return Ok(pane),
                Reply::Cancel => return Err("canceled".into()),
                Reply::Other => return Err("another key".into()),
            }
        }
        Err(format!("waits after {digits}"))
    }

    #[test]
    fn a_number_selects_a_pane_as_soon_as_it_is_unambiguous() {
        use KeyCode::{Backspace, Char, Enter, Esc, Tab};
        for (keys, expected) in [
            (&[Char('0')][..], Ok(0)),
            (&[Char('3')], Ok(3)),
            (&[Char('1')], Err("waits after 1")),
            (&[Char('1'), Enter], Ok(1)),
            (&[Char('1'), Char('2')], Ok(12)),
            (&[Char('1'), Char('3')], Err("there is no chat 13")),
            (&[Char('1'), Backspace, Char('7')], Ok(7)),
            (&[Enter], Err("canceled")),
            (&[Char('1'), Esc], Err("canceled")),
            (&[Tab], Err("another key")),
        ] {
            let expected = expected.map_err(str::to_owned);
            assert_eq!(typed(keys, 13), expected, "{keys:?}");
        }
    }

    #[test]
    fn the_question_before_ending_a_session_fits_in_a_terminal_of_18_columns() {
        let texts = Prompt::end_session(14).0.texts();
        // The status line adds a space at each end of the text, which leaves 16 of the 18 columns.
        assert!(texts.iter().any(|text| text.len() <= 16), "{texts:?}");
    }

    #[test]
    fn the_question_before_ending_a_session_uses_the_singular_for_one_member() {
        assert_eq!(
            Prompt::end_session(1).0.texts()[0],
            "Ctrl+C again ends the session for 1 member"
        );
        assert_eq!(
            Prompt::end_session(14).0.texts()[0],
            "Ctrl+C again ends the session for 14 members"
        );
    }
}
