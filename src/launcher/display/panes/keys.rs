//! What a key does: something to the panes, or bytes for the program in one of them, as a terminal would send it.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Ends the session.
    End,
    /// Puts the focus on the pane of this number.
    Focus(usize),
    Next,
    Previous,
    /// Makes the focused pane as large as the screen, or as small as it was.
    Zoom,
    /// Scrolls the focused pane by a screenful, back or forth.
    Back,
    Forth,
    /// Goes to the end of the focused pane, if that is scrolled.
    Bottom,
    Help,
    /// Is for the program.
    Pass,
}

/// All keys, with what they do, for the user.
pub(crate) const HELP: [(&str, &str); 9] = [
    ("Alt+1 … Alt+9", "chat 1 … chat 9"),
    ("Alt+0", "the server"),
    ("F6, Shift+F6", "next, previous pane"),
    ("F2", "enlarge the pane, and back"),
    ("PageUp, PageDown", "scroll the pane"),
    ("End", "back to its last line"),
    ("Enter", "start again a client that has left"),
    ("F1", "this list"),
    ("Ctrl+C", "end the session"),
];

/// What `key` is for.
pub(crate) fn action(key: KeyEvent) -> Action {
    const ALT: KeyModifiers = KeyModifiers::ALT;
    const CONTROL: KeyModifiers = KeyModifiers::CONTROL;
    match (key.code, key.modifiers) {
        (KeyCode::Char('c'), CONTROL) => Action::End,
        (KeyCode::Char(digit @ '0'..='9'), ALT) => Action::Focus(digit as usize - '0' as usize),
        (KeyCode::F(6), KeyModifiers::NONE) => Action::Next,
        // F18 is what terminals that count on from F12 send for Shift+F6.
        (KeyCode::F(6), KeyModifiers::SHIFT) | (KeyCode::F(18), KeyModifiers::NONE) => {
            Action::Previous
        }
        (KeyCode::F(2), KeyModifiers::NONE) => Action::Zoom,
        (KeyCode::PageUp, _) => Action::Back,
        (KeyCode::PageDown, _) => Action::Forth,
        (KeyCode::End, KeyModifiers::NONE) => Action::Bottom,
        (KeyCode::F(1), KeyModifiers::NONE) => Action::Help,
        _ => Action::Pass,
    }
}

/// What a terminal sends for `key` (xterm's control sequences, "PC-style function keys"); empty where it has nothing for it. `application` is how the
/// program has set its cursor keys (DECCKM).
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

/// What a terminal sends for a paste: in brackets for a program that has asked for them, else as if it were typed.
pub(crate) fn encode_paste(text: &str, bracketed: bool) -> Vec<u8> {
    // The end of the brackets cannot be pasted.
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

/// `1` and a bit for each key that is held: what xterm adds to a sequence; `None` where none is.
fn held(modifiers: KeyModifiers) -> Option<u8> {
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
    match held(modifiers) {
        Some(held) => format!("\x1b[1;{held}{letter}"),
        None if application => format!("\x1bO{letter}"),
        None => format!("\x1b[{letter}"),
    }
    .into_bytes()
}

fn numbered(number: u8, modifiers: KeyModifiers) -> Vec<u8> {
    match held(modifiers) {
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
    fn the_keys_of_the_panes_are_theirs_alone() {
        for (code, modifiers, wanted) in [
            (KeyCode::Char('c'), KeyModifiers::CONTROL, Action::End),
            (KeyCode::Char('3'), KeyModifiers::ALT, Action::Focus(3)),
            (KeyCode::F(6), KeyModifiers::NONE, Action::Next),
            (KeyCode::F(6), KeyModifiers::SHIFT, Action::Previous),
            (KeyCode::F(2), KeyModifiers::NONE, Action::Zoom),
            (KeyCode::PageUp, KeyModifiers::NONE, Action::Back),
            (KeyCode::PageDown, KeyModifiers::NONE, Action::Forth),
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
    fn a_key_becomes_what_a_terminal_sends() {
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
    fn cursor_keys_are_as_the_program_has_set_them() {
        let up = key(KeyCode::Up, KeyModifiers::NONE);
        assert_eq!(encode(up, true), b"\x1bOA");
        let with_control = key(KeyCode::Up, KeyModifiers::CONTROL);
        assert_eq!(encode(with_control, true), b"\x1b[1;5A");
    }

    #[test]
    fn a_paste_is_in_brackets_where_the_program_wants_them_and_cannot_end_them() {
        assert_eq!(encode_paste("a\nb\r\nc", false), b"a\rb\rc");
        assert_eq!(encode_paste("a\nb", true), b"\x1b[200~a\rb\x1b[201~");
        assert_eq!(
            encode_paste("x\x1b[201~/quit", true),
            b"\x1b[200~x[201~/quit\x1b[201~"
        );
    }
}
