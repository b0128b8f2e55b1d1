//! Parses the bytes that a terminal sends into keys, pastes and focus changes. The parser itself
//! uses neither the terminal nor a clock.
//!
//! Ctrl+C is recognized anywhere in the input. Other input that isn't a key, such as a late answer
//! or part of a sequence, is dropped. Sources: ECMA-48 5.4, and xterm's control sequences.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};

use crate::tty::background::Background;

/// Limit on the length of a paste, in bytes. A longer paste is cut to one byte more than the limit,
/// so that the caller can tell that it was too long.
pub const MAX_PASTE: usize = 1024 * 1024;

/// Limit on the length of an answer from the terminal, in bytes. The sequence of a key is much
/// shorter.
const MAX_ANSWER: usize = 4096;

const ESCAPE: u8 = 0x1b;
const CTRL_C: u8 = 0x03;
const PASTE_END: &[u8] = b"\x1b[201~";

/// The start of an OSC sequence about the background color, which is dynamic color 11.
const BACKGROUND: &[u8] = b"11;";

/// An incremental parser of terminal input.
#[derive(Debug, Default)]
pub struct Parser {
    bytes: Vec<u8>,
    /// The text of an unfinished paste.
    paste: Option<Vec<u8>>,
    /// Whether no more input has arrived within the timeout. The bytes received so far are then
    /// treated as a whole sequence.
    has_timed_out: bool,
    /// The last answer to the query for the background color, `OSC 11 ; ?`.
    background: Option<Background>,
    /// Whether the answer to the query for the terminal's attributes, `CSI c` (DA1), has arrived.
    has_attributes: bool,
}

/// The meaning of the first bytes of the input, with the number of bytes to consume.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// The bytes are incomplete, so more are needed.
    Wait,
    /// The bytes are not a key and are dropped.
    Skip(usize),
    Event(Event, usize),
    /// The start of a paste.
    Paste(usize),
    /// The answer to the query for the background color, `OSC 11 ; ?`.
    Background(Background, usize),
    /// The answer to the query for the terminal's attributes, `CSI c`.
    Attributes(usize),
}

impl Parser {
    /// Appends bytes that the terminal sent.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.has_timed_out = false;
    }

    /// Whether the input ends in an incomplete sequence. If no more bytes arrive for a while, the
    /// caller must call [`Parser::time_out`].
    pub fn has_partial_input(&self) -> bool {
        !self.bytes.is_empty() && self.paste.is_none()
    }

    /// Treats an incomplete sequence as complete: a lone Escape byte is the Escape key.
    pub fn time_out(&mut self) {
        self.has_timed_out = true;
    }

    /// The background color, once [`Parser::next`] has parsed the terminal's answer to `OSC 11 ;
    /// ?`.
    pub(crate) fn background(&self) -> Option<Background> {
        self.background
    }

    /// Whether the terminal has answered `CSI c`. If so, it has also answered all earlier queries.
    pub(crate) fn has_attributes(&self) -> bool {
        self.has_attributes
    }

    fn take(&mut self, count: usize) {
        self.bytes.drain(..count);
    }

    /// Reads the bytes of a paste. Returns the paste once its end has arrived. Ctrl+C, which
    /// terminals don't paste, aborts a paste whose end never arrives.
    fn pasted(&mut self) -> Option<Event> {
        let paste = self.paste.as_mut()?;
        let end = memchr::memmem::find(&self.bytes, PASTE_END);
        // Keep the last bytes, which may be the first part of `PASTE_END`.
        let rest = self.bytes.len().saturating_sub(PASTE_END.len() - 1);
        let until = end.unwrap_or(rest);
        if let Some(stop) = memchr::memchr(CTRL_C, &self.bytes[..end.unwrap_or(self.bytes.len())]) {
            self.paste = None;
            self.take(stop);
            return None;
        }
        let room = (MAX_PASTE + 1).saturating_sub(paste.len());
        paste.extend_from_slice(&self.bytes[..until.min(room)]);
        let whole = end.and_then(|_| self.paste.take());
        self.take(until + end.map_or(0, |_| PASTE_END.len()));
        whole.map(|paste| Event::Paste(String::from_utf8_lossy(&paste).into_owned()))
    }
}

impl Iterator for Parser {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        loop {
            if self.paste.is_some() {
                let pasted = self.pasted();
                if pasted.is_some() || self.paste.is_some() {
                    return pasted;
                }
            }
            match step(&self.bytes, self.has_timed_out) {
                Step::Wait => return None,
                Step::Skip(count) => self.take(count),
                Step::Event(event, count) => {
                    self.take(count);
                    return Some(event);
                }
                Step::Paste(count) => {
                    self.take(count);
                    self.paste = Some(Vec::new());
                }
                Step::Background(background, count) => {
                    self.take(count);
                    self.background = Some(background);
                }
                Step::Attributes(count) => {
                    self.take(count);
                    self.has_attributes = true;
                }
            }
        }
    }
}

fn key(code: KeyCode, modifiers: KeyModifiers) -> Event {
    Event::Key(KeyEvent::new(code, modifiers))
}

fn step(bytes: &[u8], has_timed_out: bool) -> Step {
    match *bytes {
        [] => Step::Wait,
        [ESCAPE] if !has_timed_out => Step::Wait,
        [ESCAPE] | [ESCAPE, ESCAPE | CTRL_C, ..] => {
            Step::Event(key(KeyCode::Esc, KeyModifiers::NONE), 1)
        }
        [ESCAPE, b'[', ref rest @ ..] => sequence(rest, has_timed_out),
        [ESCAPE, b'O', ref rest @ ..] => match rest.first() {
            None if has_timed_out => with_alt(&bytes[1..], has_timed_out),
            None => Step::Wait,
            Some(letter) => match letter_key(*letter) {
                Some(code) => Step::Event(key(code, KeyModifiers::NONE), 3),
                None => with_alt(&bytes[1..], has_timed_out),
            },
        },
        // This is DCS, SOS, OSC, PM or APC, the start of an answer from the terminal; or a key
        // pressed with Alt.
        [
            ESCAPE,
            kind @ (b'P' | b'X' | b']' | b'^' | b'_'),
            ref rest @ ..,
        ] => {
            let end = rest.iter().position(u8::is_ascii_control);
            let content = &rest[..end.unwrap_or(rest.len())];
            let background = content.strip_prefix(BACKGROUND).filter(|_| kind == b']');
            let answer = |count| match background {
                Some(color) => Step::Background(Background::from_answer(color), count),
                None => Step::Skip(count),
            };
            match end.map(|end| (end, &rest[end..])) {
                Some((end, [0x07, ..])) => answer(2 + end + 1),
                Some((end, [ESCAPE, b'\\', ..])) => answer(2 + end + 2),
                None | Some((_, [ESCAPE])) if !has_timed_out && rest.len() < MAX_ANSWER => {
                    Step::Wait
                }
                // Drop the start of an answer that was cut off: no key's sequence starts like this.
                None | Some(_) if background.is_some() => Step::Skip(2 + content.len()),
                None | Some(_) => with_alt(&bytes[1..], has_timed_out),
            }
        }
        [ESCAPE, ..] => with_alt(&bytes[1..], has_timed_out),
        _ => plain(bytes, has_timed_out),
    }
}

/// Parses `bytes`, which follow an Escape, as a key pressed with Alt.
fn with_alt(bytes: &[u8], has_timed_out: bool) -> Step {
    match plain(bytes, has_timed_out) {
        Step::Event(Event::Key(mut key), count) => {
            key.modifiers |= KeyModifiers::ALT;
            Step::Event(Event::Key(key), count + 1)
        }
        Step::Skip(count) => Step::Skip(count + 1),
        step @ (Step::Wait
        | Step::Event(..)
        | Step::Paste(_)
        | Step::Background(..)
        | Step::Attributes(_)) => step,
    }
}

/// Parses a character or a control character. `bytes` must not be empty.
fn plain(bytes: &[u8], has_timed_out: bool) -> Step {
    const CONTROL: KeyModifiers = KeyModifiers::CONTROL;

    let head = &bytes[..bytes.len().min(4)];
    let valid = match str::from_utf8(head) {
        Ok(valid) => valid,
        Err(error) if error.valid_up_to() > 0 => {
            // Parsing cannot fail, because `valid_up_to` says that these bytes are valid.
            str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(error) => match error.error_len() {
            Some(count) => return Step::Skip(count),
            None if has_timed_out => return Step::Skip(head.len()),
            None => return Step::Wait,
        },
    };
    let Some(c) = valid.chars().next() else {
        return Step::Wait;
    };
    Step::Event(
        match c {
            '\r' => key(KeyCode::Enter, KeyModifiers::NONE),
            '\t' => key(KeyCode::Tab, KeyModifiers::NONE),
            '\x7f' => key(KeyCode::Backspace, KeyModifiers::NONE),
            '\0' => key(KeyCode::Char(' '), CONTROL),
            '\x01'..='\x1a' => key(KeyCode::Char(shifted(c, b'a' - 1)), CONTROL),
            '\x1c'..='\x1f' => key(KeyCode::Char(shifted(c, b'4' - 0x1c)), CONTROL),
            c => character(c, KeyModifiers::NONE),
        },
        c.len_utf8(),
    )
}

fn shifted(control: char, by: u8) -> char {
    char::from(control as u8 + by)
}

fn character(c: char, mut modifiers: KeyModifiers) -> Event {
    modifiers.set(
        KeyModifiers::SHIFT,
        c.is_uppercase() || modifiers.contains(KeyModifiers::SHIFT),
    );
    key(KeyCode::Char(c), modifiers)
}

/// Parses `rest`, which follows `ESC [` (CSI).
fn sequence(rest: &[u8], has_timed_out: bool) -> Step {
    const BEGIN: usize = 2;

    let body = rest
        .iter()
        .take_while(|byte| matches!(byte, 0x20..=0x3f))
        .count();
    let whole = BEGIN + body + 1;
    match rest.get(body) {
        None if has_timed_out && body == 0 => {
            Step::Event(key(KeyCode::Char('['), KeyModifiers::ALT), BEGIN)
        }
        None if has_timed_out || body > MAX_ANSWER => Step::Skip(BEGIN + body),
        None => Step::Wait,
        // The Linux console sends this for F1 to F5.
        Some(b'[') if body == 0 => match rest.get(1) {
            Some(letter @ b'A'..=b'E') => Step::Event(
                key(KeyCode::F(letter - b'@'), KeyModifiers::NONE),
                whole + 1,
            ),
            None if !has_timed_out => Step::Wait,
            None | Some(_) => Step::Skip(whole),
        },
        Some(end @ 0x40..=0x7e) => {
            let end = *end;
            let numbers: Option<Vec<u32>> = str::from_utf8(&rest[..body])
                .ok()
                .and_then(|body| body.split(';').map(number).collect());
            match numbers.as_deref() {
                None if end == b'c' && rest[0] == b'?' => Step::Attributes(whole),
                // Drop a sequence with other parameters: those of a key are all numbers.
                None => Step::Skip(whole),
                Some([200, ..]) if end == b'~' => Step::Paste(whole),
                Some(numbers) => match csi_event(numbers, body == 0, end) {
                    Some(event) => Step::Event(event, whole),
                    None => Step::Skip(whole),
                },
            }
        }
        // The sequence was cut off, and other input follows it. Drop only the sequence.
        Some(_) => Step::Skip(BEGIN + body),
    }
}

/// Parses a numeric parameter. An empty parameter means 1. Ignores subparameters, which follow a
/// colon.
fn number(text: &str) -> Option<u32> {
    match text.split(':').next()? {
        "" => Some(1),
        text => text.parse().ok(),
    }
}

/// Returns the event for a CSI sequence with these parameters and this final byte. `is_bare` is
/// true if the sequence has no parameters.
fn csi_event(numbers: &[u32], is_bare: bool, end: u8) -> Option<Event> {
    let first = *numbers.first()?;
    let mut modifiers = KeyModifiers::NONE;
    let held = numbers.get(1).map_or(0, |number| number.saturating_sub(1));
    for (bit, modifier) in [
        (1, KeyModifiers::SHIFT),
        (2, KeyModifiers::ALT),
        (4, KeyModifiers::CONTROL),
    ] {
        modifiers.set(modifier, held & bit != 0);
    }
    let code = match end {
        b'I' if is_bare => return Some(Event::FocusGained),
        b'O' if is_bare => return Some(Event::FocusLost),
        b'Z' => {
            modifiers |= KeyModifiers::SHIFT;
            KeyCode::BackTab
        }
        b'~' => match u8::try_from(first).ok()? {
            1 | 7 => KeyCode::Home,
            2 => KeyCode::Insert,
            3 => KeyCode::Delete,
            4 | 8 => KeyCode::End,
            5 => KeyCode::PageUp,
            6 => KeyCode::PageDown,
            number @ 11..=15 => KeyCode::F(number - 10),
            number @ 17..=21 => KeyCode::F(number - 11),
            number @ 23..=26 => KeyCode::F(number - 12),
            number @ 28..=29 => KeyCode::F(number - 13),
            number @ 31..=34 => KeyCode::F(number - 14),
            _ => return None,
        },
        b'u' => match char::from_u32(first)? {
            '\r' => KeyCode::Enter,
            '\t' => KeyCode::Tab,
            '\x1b' => KeyCode::Esc,
            '\x7f' => KeyCode::Backspace,
            c => return Some(character(c, modifiers)),
        },
        // `R` after numbers is a report of the cursor's position, and not F3.
        b'R' => return None,
        letter if first == 1 => letter_key(letter)?,
        _ => return None,
    };
    Some(key(code, modifiers))
}

/// The key for a letter after `ESC [` or `ESC O`.
fn letter_key(letter: u8) -> Option<KeyCode> {
    Some(match letter {
        b'A' => KeyCode::Up,
        b'B' => KeyCode::Down,
        b'C' => KeyCode::Right,
        b'D' => KeyCode::Left,
        b'F' => KeyCode::End,
        b'H' => KeyCode::Home,
        b'P' => KeyCode::F(1),
        b'Q' => KeyCode::F(2),
        b'R' => KeyCode::F(3),
        b'S' => KeyCode::F(4),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: KeyModifiers = KeyModifiers::NONE;
    const ALT: KeyModifiers = KeyModifiers::ALT;
    const CONTROL: KeyModifiers = KeyModifiers::CONTROL;

    fn typed(text: &str) -> Vec<Event> {
        text.chars().map(|c| key(KeyCode::Char(c), NONE)).collect()
    }

    /// Returns the events that `bytes` cause at once, and the further events that they cause after
    /// the timeout.
    fn events(bytes: &[u8]) -> (Vec<Event>, Vec<Event>) {
        let mut parser = Parser::default();
        parser.push(bytes);
        let at_once = parser.by_ref().collect();
        if parser.has_partial_input() {
            parser.time_out();
        }
        (at_once, parser.collect())
    }

    #[test]
    fn keys_are_parsed_as_terminals_send_them() {
        for (bytes, code, modifiers) in [
            ("a", KeyCode::Char('a'), NONE),
            ("A", KeyCode::Char('A'), KeyModifiers::SHIFT),
            ("ż", KeyCode::Char('ż'), NONE),
            ("日", KeyCode::Char('日'), NONE),
            ("\r", KeyCode::Enter, NONE),
            ("\n", KeyCode::Char('j'), CONTROL),
            ("\t", KeyCode::Tab, NONE),
            ("\x7f", KeyCode::Backspace, NONE),
            ("\x08", KeyCode::Char('h'), CONTROL),
            ("\0", KeyCode::Char(' '), CONTROL),
            ("\x03", KeyCode::Char('c'), CONTROL),
            ("\x1c", KeyCode::Char('4'), CONTROL),
            ("\x1bb", KeyCode::Char('b'), ALT),
            ("\x1bż", KeyCode::Char('ż'), ALT),
            ("\x1b\x7f", KeyCode::Backspace, ALT),
            ("\x1b\x02", KeyCode::Char('b'), CONTROL | ALT),
            ("\x1b[A", KeyCode::Up, NONE),
            ("\x1bOA", KeyCode::Up, NONE),
            ("\x1b[1;5D", KeyCode::Left, CONTROL),
            ("\x1b[H", KeyCode::Home, NONE),
            ("\x1b[4~", KeyCode::End, NONE),
            ("\x1b[3;3~", KeyCode::Delete, ALT),
            ("\x1b[Z", KeyCode::BackTab, KeyModifiers::SHIFT),
            ("\x1bOP", KeyCode::F(1), NONE),
            ("\x1b[[B", KeyCode::F(2), NONE),
            ("\x1b[17;2~", KeyCode::F(6), KeyModifiers::SHIFT),
            ("\x1b[24~", KeyCode::F(12), NONE),
            ("\x1b[32~", KeyCode::F(18), NONE),
            ("\x1b[99;5u", KeyCode::Char('c'), CONTROL),
        ] {
            let expected = (vec![key(code, modifiers)], Vec::new());
            assert_eq!(events(bytes.as_bytes()), expected, "{bytes:?}");
        }
    }

    #[test]
    fn input_that_arrives_byte_by_byte_gives_the_same_events() {
        let all = "żó日\x1b[1;5D\x1bOP\x1b[200~one\ntwo\x1b[201~\x1b[?2026;0$yx\x1b[I\x1b]11;rgb:0/0/0\x1b\\y";
        let (expected, _) = events(all.as_bytes());
        let mut parser = Parser::default();
        let mut found = Vec::new();
        for byte in all.as_bytes() {
            parser.push(&[*byte]);
            found.extend(parser.by_ref());
        }
        assert_eq!(found, expected);
        assert!(found.contains(&Event::Paste("one\ntwo".into())));
        assert!(found.contains(&Event::FocusGained));
        assert_eq!(found.len(), 9, "{found:?}");
    }

    #[test]
    fn unsolicited_answers_are_dropped() {
        for answer in [
            "\x1b[?2026;0$y",
            "\x1b[?1;1R",
            "\x1b[24;80R",
            "\x1b[?62;22c",
            "\x1b[?999u",
            "\x1b[99999999999999999999A",
            "\x1b]11;rgb:0000/0000/0000\x07",
            "\x1b]11;rgb:0000/0000/0000\x1b\\",
            "\x1bP1+r544e=78\x1b\\",
        ] {
            let all = format!("a{answer}b");
            assert_eq!(events(all.as_bytes()).0, typed("ab"), "{answer:?}");
        }
    }

    #[test]
    fn the_background_is_read_from_an_answer_between_keys() {
        for (answer, expected) in [
            ("\x1b]11;rgb:0000/0000/0000\x07", Background::Dark),
            ("\x1b]11;rgb:ffff/ffff/ffff\x1b\\", Background::Light),
            ("\x1b]11;\x07", Background::Unknown),
            ("\x1b]11;?\x07", Background::Unknown),
            ("\x1b]11;rgb:red/green/\u{1f7e6}\x1b\\", Background::Unknown),
        ] {
            let mut parser = Parser::default();
            parser.push(format!("a{answer}b\x1b[?62;22cc").as_bytes());
            assert_eq!(parser.by_ref().collect::<Vec<_>>(), typed("abc"));
            assert_eq!(parser.background(), Some(expected), "{answer:?}");
            assert!(parser.has_attributes());
        }
        let mut parser = Parser::default();
        parser.push(b"\x1b]10;rgb:0/0/0\x07\x1bP11;rgb:0/0/0\x1b\\\x1b[>1;0;0c\x1b[0c");
        assert_eq!(parser.next(), None);
        assert_eq!(parser.background(), None);
        assert!(!parser.has_attributes());
    }

    #[test]
    fn no_input_blocks_ctrl_c() {
        let ctrl_c = key(KeyCode::Char('c'), CONTROL);
        for before in [
            "\x1b",
            "\x1b[",
            "\x1b[?",
            "\x1b[?2026;0$",
            "\x1b[[",
            "\x1bO",
            "\x1b]",
            "\x1b]11;rgb",
            "\x1bP1+r",
            "\x1b[200~",
            "\x1b[200~abc\x1b[20",
        ] {
            let (at_once, later) = events(format!("{before}\x03").as_bytes());
            assert_eq!(at_once.last(), Some(&ctrl_c), "{before:?}");
            assert_eq!(later, []);
        }
        let (at_once, _) = events(b"\xc5\x03");
        assert_eq!(at_once, [ctrl_c]);
    }

    #[test]
    fn an_incomplete_sequence_is_a_key_or_dropped() {
        for (bytes, expected) in [
            ("\x1b", vec![key(KeyCode::Esc, NONE)]),
            ("\x1b[", vec![key(KeyCode::Char('['), ALT)]),
            ("\x1b]", vec![key(KeyCode::Char(']'), ALT)]),
            ("\x1b[?2026;0", vec![]),
            ("\x1b]11;rgb:00", vec![]),
            ("\x1b]11;rgb:00\x1b", vec![key(KeyCode::Esc, NONE)]),
        ] {
            assert_eq!(events(bytes.as_bytes()), (vec![], expected), "{bytes:?}");
        }
        assert_eq!(events(b"\xe6\x97"), (vec![], vec![]));
        assert_eq!(events(b"\xff\xfea").0, typed("a"));
    }

    #[test]
    fn a_paste_over_the_limit_is_cut_to_one_byte_more_than_the_limit() {
        let mut parser = Parser::default();
        parser.push(b"\x1b[200~");
        for _ in 0..3 {
            parser.push(&vec![b'x'; MAX_PASTE / 2]);
            assert_eq!(parser.next(), None);
        }
        parser.push(b"\x1b[201~y");
        match parser.next() {
            Some(Event::Paste(text)) => assert_eq!(text.len(), MAX_PASTE + 1),
            event => panic!("{event:?}"),
        }
        assert_eq!(parser.collect::<Vec<_>>(), typed("y"));
    }

    proptest::proptest! {
        #[test]
        fn a_repeated_ctrl_c_is_recognized_after_any_input(
            bytes in proptest::collection::vec(
                proptest::sample::select(&b"\x1b\x1b[]OP?;20~u\x07\\\r\xe6\x97"[..]),
                0..20,
            ),
        ) {
            let mut parser = Parser::default();
            parser.push(&bytes);
            parser.push(&[CTRL_C; 3]);
            assert_eq!(parser.last(), Some(key(KeyCode::Char('c'), CONTROL)));
        }
    }
}
