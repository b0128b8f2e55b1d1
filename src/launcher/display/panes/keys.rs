//! The keys that control the panes, and the bytes that a terminal sends to a client for all other
//! keys.
//!
//! The crate `terminput` encodes keys too, but not in the mode for application cursor keys
//! (DECCKM).

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// The effect of a key on the panes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    EndSession,
    /// Moves the focus to the pane with this index.
    Focus(usize),
    Next,
    Previous,
    /// Makes the focused pane as large as the screen, or restores its size.
    Zoom,
    /// Scrolls the focused pane back by a screenful.
    ScrollBack,
    ScrollForward,
    /// Scrolls the focused pane to its end, if it is scrolled back.
    ScrollToEnd,
    /// Asks for the number of the pane to focus.
    AskPane,
    /// Switches the server's pane between the log and the live view.
    ToggleLive,
    /// Freezes the focused pane's client, or thaws it.
    ToggleFreeze,
    Help,
    /// Passes the key to the focused pane's client or input line, because it does not control the
    /// panes.
    Pass,
}

/// The list of keys that is shown to the user.
pub(crate) const HELP: [(&str, &str); 10] = [
    ("Alt+1 … Alt+9", "chat 1 … chat 9"),
    ("F5 NUMBER", "chat 10 and up"),
    ("Alt+0", "the server"),
    ("F6, Shift+F6", "next, previous pane"),
    ("F2", "zoom in or out"),
    ("F3", "log or live view"),
    ("F8", "freeze, thaw client"),
    ("PageUp, PageDown", "scroll; End: newest"),
    ("Enter", "restart the client"),
    ("Ctrl+C", "end the session"),
];

pub(crate) fn action(key: KeyEvent) -> Action {
    const ALT: KeyModifiers = KeyModifiers::ALT;
    const CONTROL: KeyModifiers = KeyModifiers::CONTROL;
    match (key.code, key.modifiers) {
        (KeyCode::Char('c'), CONTROL) => Action::EndSession,
        (KeyCode::Char(digit @ '0'..='9'), ALT) => Action::Focus(digit as usize - '0' as usize),
        (KeyCode::F(5), KeyModifiers::NONE) => Action::AskPane,
        (KeyCode::F(6), KeyModifiers::NONE) => Action::Next,
        // Some terminals send F18 for Shift+F6, because they count shifted function keys from F13
        // on.
        (KeyCode::F(6), KeyModifiers::SHIFT) | (KeyCode::F(18), KeyModifiers::NONE) => {
            Action::Previous
        }
        (KeyCode::F(2), KeyModifiers::NONE) => Action::Zoom,
        (KeyCode::F(3), KeyModifiers::NONE) => Action::ToggleLive,
        (KeyCode::F(8), KeyModifiers::NONE) => Action::ToggleFreeze,
        (KeyCode::PageUp, _) => Action::ScrollBack,
        (KeyCode::PageDown, _) => Action::ScrollForward,
        (KeyCode::End, KeyModifiers::NONE) => Action::ScrollToEnd,
        (KeyCode::F(1), KeyModifiers::NONE) => Action::Help,
        _ => Action::Pass,
    }
}

/// Returns the bytes that a terminal sends for `key` (xterm's control sequences, "PC-style function
/// keys"). Empty if a terminal sends nothing for this key. `application` is true if the client has
/// set the mode for application cursor keys (DECCKM).
pub(crate) fn encode(key: KeyEvent, application: bool) -> Vec<u8> {
    let KeyEvent {
        code, modifiers, ..
    } = key;
    let mut bytes = match code {
        KeyCode::Char(c) => character(c, modifiers),
        KeyCode::Enter => vec![b'\r'],
        KeyCode::Tab => vec![b'\t'],
        KeyCode::BackTab => b"\x1b[Z".to_vec(),
        KeyCode::Backspace if modifiers.contains(KeyModifiers::CONTROL) => vec![0x08],
        KeyCode::Backspace => vec![0x7f],
        KeyCode::Esc => vec![0x1b],
        KeyCode::Up => return lettered('A', modifiers, application),
        KeyCode::Down => return lettered('B', modifiers, application),
        KeyCode::Right => return lettered('C', modifiers, application),
        KeyCode::Left => return lettered('D', modifiers, application),
        KeyCode::Home => return lettered('H', modifiers, application),
        KeyCode::End => return lettered('F', modifiers, application),
        KeyCode::Insert => return numbered(2, modifiers),
        KeyCode::Delete => return numbered(3, modifiers),
        KeyCode::PageUp => return numbered(5, modifiers),
        KeyCode::PageDown => return numbered(6, modifiers),
        KeyCode::F(number @ 1..=4) => {
            return lettered(char::from(b'O' + number), modifiers, true);
        }
        KeyCode::F(number) => {
            const NUMBERS: [u8; 16] = [
                15, 17, 18, 19, 20, 21, 23, 24, 25, 26, 28, 29, 31, 32, 33, 34,
            ];
            let index = usize::from(number).checked_sub(5);
            let known = index.and_then(|index| NUMBERS.get(index));
            return known.map_or_else(Vec::new, |number| numbered(*number, modifiers));
        }
        _ => Vec::new(),
    };
    if modifiers.contains(KeyModifiers::ALT) && !bytes.is_empty() {
        bytes.insert(0, 0x1b);
    }
    bytes
}

/// Returns the bytes that a terminal sends for pasted text. If the client has asked for bracketed
/// paste, they include the sequences that mark the start and the end of a paste. Otherwise, the
/// text is sent as if it was typed.
pub(crate) fn encode_paste(text: &str, bracketed: bool) -> Vec<u8> {
    // Remove Escape characters, so that the text cannot contain the sequence that marks the end.
    let text = text
        .replace('\x1b', "")
        .replace("\r\n", "\n")
        .replace('\n', "\r");
    if bracketed {
        format!("\x1b[200~{text}\x1b[201~").into_bytes()
    } else {
        text.into_bytes()
    }
}

fn character(c: char, modifiers: KeyModifiers) -> Vec<u8> {
    if modifiers.contains(KeyModifiers::CONTROL) {
        let control = match c.to_ascii_lowercase() {
            letter @ 'a'..='z' => letter as u8 & 0x1f,
            ' ' | '2' | '@' => 0,
            '3' | '[' => 0x1b,
            '4' | '\\' => 0x1c,
            '5' | ']' => 0x1d,
            '6' | '^' => 0x1e,
            '7' | '_' | '/' => 0x1f,
            '8' | '?' => 0x7f,
            _ => return Vec::new(),
        };
        return vec![control];
    }
    c.to_string().into_bytes()
}

/// Returns xterm's parameter for the modifier keys that are held: 1, plus one bit for each of them.
/// Returns `None` if no modifier key is held.
fn modifier_parameter(modifiers: KeyModifiers) -> Option<u8> {
    let mut bits = 0;
    for (modifier, bit) in [
        (KeyModifiers::SHIFT, 1),
        (KeyModifiers::ALT, 2),
        (KeyModifiers::CONTROL, 4),
    ] {
        if modifiers.contains(modifier) {
            bits |= bit;
        }
    }
    (bits > 0).then_some(bits + 1)
}

fn lettered(letter: char, modifiers: KeyModifiers, application: bool) -> Vec<u8> {
    match modifier_parameter(modifiers) {
        Some(held) => format!("\x1b[1;{held}{letter}"),
        None if application => format!("\x1bO{letter}"),
        None => format!("\x1b[{letter}"),
    }
    .into_bytes()
}

fn numbered(number: u8, modifiers: KeyModifiers) -> Vec<u8> {
    match modifier_parameter(modifiers) {
        Some(held) => format!("\x1b[{number};{held}~"),
        None => format!("\x1b[{number}~"),
    }
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(code: KeyCode, modifiers: KeyModifiers) -> KeyEvent {
        KeyEvent::new(code, modifiers)
    }

    #[test]
    fn keys_that_control_the_panes_are_not_sent_to_the_client() {
        for (code, modifiers, wanted) in [
            (
                KeyCode::Char('c'),
                KeyModifiers::CONTROL,
                Action::EndSession,
            ),
            (KeyCode::Char('3'), KeyModifiers::ALT, Action::Focus(3)),
            (KeyCode::F(5), KeyModifiers::NONE, Action::AskPane),
            (KeyCode::F(6), KeyModifiers::NONE, Action::Next),
            (KeyCode::F(6), KeyModifiers::SHIFT, Action::Previous),
            (KeyCode::F(2), KeyModifiers::NONE, Action::Zoom),
            (KeyCode::PageUp, KeyModifiers::NONE, Action::ScrollBack),
            (KeyCode::PageDown, KeyModifiers::NONE, Action::ScrollForward),
            (KeyCode::F(1), KeyModifiers::NONE, Action::Help),
            (KeyCode::Char('c'), KeyModifiers::ALT, Action::Pass),
            (KeyCode::Char('3'), KeyModifiers::NONE, Action::Pass),
            (KeyCode::Char('z'), KeyModifiers::CONTROL, Action::Pass),
            (KeyCode::Tab, KeyModifiers::NONE, Action::Pass),
            (KeyCode::Up, KeyModifiers::NONE, Action::Pass),
        ] {
            assert_eq!(
                action(key(code, modifiers)),
                wanted,
                "{modifiers:?} {code:?}"
            );
        }
    }

    #[test]
    fn a_key_is_encoded_as_a_terminal_sends_it() {
        let (none, alt) = (KeyModifiers::NONE, KeyModifiers::ALT);
        let control = KeyModifiers::CONTROL;
        for (code, modifiers, sent) in [
            (KeyCode::Char('ż'), none, "ż"),
            (KeyCode::Char('A'), KeyModifiers::SHIFT, "A"),
            (KeyCode::Char('b'), alt, "\x1bb"),
            (KeyCode::Char('r'), control, "\x12"),
            (KeyCode::Char('b'), control | alt, "\x1b\x02"),
            (KeyCode::Char(' '), control, "\0"),
            (KeyCode::Enter, none, "\r"),
            (KeyCode::Tab, none, "\t"),
            (KeyCode::BackTab, KeyModifiers::SHIFT, "\x1b[Z"),
            (KeyCode::Backspace, none, "\x7f"),
            (KeyCode::Backspace, alt, "\x1b\x7f"),
            (KeyCode::Esc, none, "\x1b"),
            (KeyCode::Up, none, "\x1b[A"),
            (KeyCode::Left, control, "\x1b[1;5D"),
            (KeyCode::Home, none, "\x1b[H"),
            (KeyCode::End, none, "\x1b[F"),
            (KeyCode::Delete, none, "\x1b[3~"),
            (KeyCode::F(1), none, "\x1bOP"),
            (KeyCode::F(5), none, "\x1b[15~"),
            (KeyCode::F(12), none, "\x1b[24~"),
            (KeyCode::F(40), none, ""),
            (KeyCode::CapsLock, none, ""),
        ] {
            let bytes = encode(key(code, modifiers), false);
            assert_eq!(
                String::from_utf8(bytes).unwrap(),
                sent,
                "{modifiers:?} {code:?}"
            );
        }
    }

    #[test]
    fn cursor_keys_follow_the_mode_that_the_program_has_set() {
        let up = key(KeyCode::Up, KeyModifiers::NONE);
        assert_eq!(encode(up, true), b"\x1bOA");
        let with_control = key(KeyCode::Up, KeyModifiers::CONTROL);
        assert_eq!(encode(with_control, true), b"\x1b[1;5A");
    }

    #[test]
    fn a_paste_is_bracketed_on_request_and_its_text_cannot_end_the_bracketed_paste() {
        assert_eq!(encode_paste("a\nb\r\nc", false), b"a\rb\rc");
        assert_eq!(encode_paste("a\nb", true), b"\x1b[200~a\rb\x1b[201~");
        assert_eq!(
            encode_paste("x\x1b[201~/quit", true),
            b"\x1b[200~x[201~/quit\x1b[201~"
        );
    }
}
