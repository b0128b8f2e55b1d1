//! The parser for the bytes that a terminal sends. It finds keys, pastes and focus changes, and
//! uses neither the terminal nor a clock itself.
//!
//! Ctrl+C is recognized anywhere in the input. A sequence that isn't a known key, such as a late
//! answer or a mouse report, is dropped as a whole, so that none of its bytes count as typed text.
//! Sources: ECMA-48 5.4 and 8.3, xterm's control sequences, kitty's keyboard protocol, urxvt(7),
//! and console_codes(4).

use std::ops::Range;

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};

use crate::tty::background::Background;

/// Limit on the length of a paste, in bytes. A longer paste is cut to one byte more than the limit,
/// so that the caller can tell that it was too long.
pub const MAX_PASTE: usize = 1024 * 1024;

/// Limit on the bytes that are kept of an unfinished sequence, so that an endless sequence needs
/// little memory. The sequence of a key is much shorter.
const MAX_SEQUENCE: usize = 4096;

const ESCAPE: u8 = 0x1b;
const CTRL_C: u8 = 0x03;

/// The sequences that end a paste, one for each form of the control CSI: Escape and `[`, the C1
/// control as one byte, and the C1 control in UTF-8.
const PASTE_ENDS: [&[u8]; 3] = [b"\x1b[201~", b"\x9b201~", b"\xc2\x9b201~"];

/// The start of an OSC sequence about the background color, which is dynamic color 11.
const BACKGROUND: &[u8] = b"11;";

/// An incremental parser of terminal input.
#[derive(Debug, Default)]
pub struct Parser {
    bytes: Vec<u8>,
    /// The text of an unfinished paste.
    paste: Option<Vec<u8>>,
    /// The sequence that ends this paste. It has the same form of CSI as the start of the paste,
    /// because the other forms may occur in the pasted text.
    paste_end: &'static [u8],
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
    /// The bytes are an incomplete sequence that is too long to keep. Replace the bytes in this
    /// range with a single byte, and wait for more.
    Shorten(Range<usize>),
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

    /// Whether the incomplete sequence may be a whole key, such as Escape or Alt+O, if nothing
    /// follows.
    pub(crate) fn may_be_a_key(&self) -> bool {
        matches!(self.bytes[..], [ESCAPE] | [ESCAPE, _] | [ESCAPE, ESCAPE, _])
    }

    /// Treats an incomplete sequence as complete: a lone Escape byte is the Escape key.
    pub fn time_out(&mut self) {
        self.has_timed_out = true;
    }

    /// The background color, once [`Parser::next`] has parsed the terminal's answer to the query
    /// `OSC 11 ; ?`.
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

    /// Collects the text of a paste, and returns it once the end of the paste has arrived. Ctrl+C,
    /// which terminals don't paste, aborts the paste, in case its end never arrives.
    fn pasted(&mut self) -> Option<Event> {
        let paste = self.paste.as_mut()?;
        let end = memchr::memmem::find(&self.bytes, self.paste_end);
        // Keep the last bytes, which may be the beginning of the sequence that ends the paste.
        let rest = self.bytes.len().saturating_sub(self.paste_end.len() - 1);
        let until = end.unwrap_or(rest);
        if let Some(stop) = memchr::memchr(CTRL_C, &self.bytes[..end.unwrap_or(self.bytes.len())]) {
            self.paste = None;
            self.take(stop);
            return None;
        }
        let room = (MAX_PASTE + 1).saturating_sub(paste.len());
        paste.extend_from_slice(&self.bytes[..until.min(room)]);
        let whole = end.and_then(|_| self.paste.take());
        self.take(until + end.map_or(0, |_| self.paste_end.len()));
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
                Step::Shorten(range) => {
                    // Replace the bytes with a `<`, which no key's sequence contains, so that the
                    // sequence isn't taken for a key: it is dropped as a whole once its end
                    // arrives.
                    self.bytes.splice(range, *b"<");
                }
                Step::Skip(count) => self.take(count),
                Step::Event(event, count) => {
                    self.take(count);
                    return Some(event);
                }
                Step::Paste(count) => {
                    self.paste_end = match self.bytes[0] {
                        0x9b => PASTE_ENDS[1],
                        0xc2 => PASTE_ENDS[2],
                        _ => PASTE_ENDS[0],
                    };
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
        [ESCAPE] | [ESCAPE, ESCAPE] | [ESCAPE, ESCAPE, b'[' | b'O'] if !has_timed_out => Step::Wait,
        [ESCAPE, ESCAPE, b'[' | b'O', _, ..] => escaped_sequence(bytes, has_timed_out),
        [ESCAPE] | [ESCAPE, ESCAPE | CTRL_C, ..] => {
            Step::Event(key(KeyCode::Esc, KeyModifiers::NONE), 1)
        }
        [
            ESCAPE,
            kind @ (b'[' | b'O' | b'P' | b'X' | b']' | b'^' | b'_'),
            ..,
        ] => {
            match sequence(kind, &bytes[2..], has_timed_out) {
                // No sequence follows, so these bytes are a key pressed with Alt.
                Step::Skip(0) => with_alt(&bytes[1..], has_timed_out),
                step => step.after(2),
            }
        }
        [ESCAPE, ..] => with_alt(&bytes[1..], has_timed_out),
        // C1 controls, as one byte or encoded in UTF-8, mean the same as Escape and a letter.
        [c1 @ 0x80..=0x9f, ref rest @ ..] => sequence(c1 - 0x40, rest, has_timed_out).after(1),
        [0xc2, c1 @ 0x80..=0x9f, ref rest @ ..] => {
            sequence(c1 - 0x40, rest, has_timed_out).after(2)
        }
        _ => plain(bytes, has_timed_out),
    }
}

impl Step {
    /// Adapts this parser step, which was determined for the input without its first `count` bytes,
    /// to the whole input.
    fn after(self, count: usize) -> Self {
        match self {
            Self::Wait => Self::Wait,
            Self::Shorten(range) => Self::Shorten(range.start + count..range.end + count),
            Self::Skip(rest) => Self::Skip(rest + count),
            Self::Event(event, rest) => Self::Event(event, rest + count),
            Self::Paste(rest) => Self::Paste(rest + count),
            Self::Background(background, rest) => Self::Background(background, rest + count),
            Self::Attributes(rest) => Self::Attributes(rest + count),
        }
    }
}

/// Parses an Escape followed by the whole sequence of a key. rxvt, PuTTY and iTerm2 send this for
/// the key with Alt.
fn escaped_sequence(bytes: &[u8], has_timed_out: bool) -> Step {
    match step(&bytes[1..], has_timed_out) {
        Step::Event(Event::Key(mut key), count) => {
            key.modifiers |= KeyModifiers::ALT;
            Step::Event(Event::Key(key), count + 1)
        }
        step @ (Step::Wait | Step::Shorten(_) | Step::Skip(_)) => step.after(1),
        // What follows is not a key, so the Escape is a key of its own.
        Step::Event(..) | Step::Paste(_) | Step::Background(..) | Step::Attributes(_) => {
            Step::Event(key(KeyCode::Esc, KeyModifiers::NONE), 1)
        }
    }
}

/// Parses `bytes`, which follow an Escape, as a key pressed with Alt.
fn with_alt(bytes: &[u8], has_timed_out: bool) -> Step {
    match plain(bytes, has_timed_out).after(1) {
        Step::Event(Event::Key(mut key), count) => {
            key.modifiers |= KeyModifiers::ALT;
            Step::Event(Event::Key(key), count)
        }
        step => step,
    }
}

/// Parses `rest`, which follows an Escape and the byte `kind`, or the C1 control with the same
/// meaning. Returns `Skip(0)` if no sequence follows.
fn sequence(kind: u8, rest: &[u8], has_timed_out: bool) -> Step {
    match kind {
        b'[' => csi(rest, has_timed_out),
        b'O' => ss3(rest, has_timed_out),
        b'P' | b'X' | b']' | b'^' | b'_' => string(kind, rest, has_timed_out),
        _ => Step::Skip(0),
    }
}

/// Parses `rest`, which follows DCS, SOS, OSC, PM or APC, as an answer from the terminal. An answer
/// ends with ST (`ESC \` or a C1 control), or with BEL as in xterm.
fn string(kind: u8, rest: &[u8], has_timed_out: bool) -> Step {
    let ends = |at: usize| match rest[at] {
        // ST as a C1 control: one byte or, in UTF-8, the byte after 0xc2. After another byte that
        // isn't ASCII, 0x9c is part of a character.
        0x9c => at == 0 || rest[at - 1].is_ascii() || rest[at - 1] == 0xc2,
        byte => byte.is_ascii_control(),
    };
    let end = (0..rest.len()).find(|at| ends(*at));
    let content = &rest[..end.unwrap_or(rest.len())];
    let count = content.len();
    match end.map(|end| &rest[end..]) {
        Some([0x07 | 0x9c, ..]) => answer(kind, content, count + 1),
        Some([ESCAPE, b'\\', ..]) => answer(kind, content, count + 2),
        None if !has_timed_out && count > MAX_SEQUENCE => Step::Shorten(0..count),
        None | Some([ESCAPE]) if !has_timed_out => Step::Wait,
        // Drop an answer that was cut off.
        None | Some(_) => Step::Skip(count),
    }
}

/// Returns the parser's step for a terminal's complete answer to a query. The answer takes up
/// `count` bytes of the input.
fn answer(kind: u8, content: &[u8], count: usize) -> Step {
    match content.strip_prefix(BACKGROUND) {
        Some(color) if kind == b']' => Step::Background(Background::from_answer(color), count),
        Some(_) | None => Step::Skip(count),
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
    // Drop AppKit's codes for function keys, which some terminals on macOS pass on.
    if matches!(c, '\u{f700}'..='\u{f747}') {
        return Step::Skip(c.len_utf8());
    }
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

/// Parses `rest`, which follows SS3: a letter, or parameters for modifiers and a letter.
fn ss3(rest: &[u8], has_timed_out: bool) -> Step {
    let is_parameter = |byte: &&u8| matches!(byte, b'0'..=b'?');
    let body = rest.iter().take_while(is_parameter).count();
    match rest.get(body) {
        None if has_timed_out => Step::Skip(body),
        None if body > MAX_SEQUENCE => Step::Shorten(0..body),
        None => Step::Wait,
        Some(letter @ 0x20..=0x7e) => {
            let held = parameters(&rest[..body]).map(|held| held.last().map_or(0, |held| held[0]));
            match held.and_then(|held| ss3_key(*letter, modifiers(held))) {
                Some((code, modifiers)) => Step::Event(key(code, modifiers), body + 1),
                None => Step::Skip(body + 1),
            }
        }
        // The sequence was cut off, and other input follows it. Drop only the sequence.
        Some(_) => Step::Skip(body),
    }
}

/// The key for a letter after SS3.
fn ss3_key(letter: u8, modifiers: KeyModifiers) -> Option<(KeyCode, KeyModifiers)> {
    Some(match letter {
        // rxvt's cursor keys with Ctrl.
        b'a'..=b'd' => (
            letter_key(letter - 0x20)?,
            modifiers | KeyModifiers::CONTROL,
        ),
        // The numeric keypad in application mode (DECKPAM).
        b'M' => (KeyCode::Enter, modifiers),
        b'I' => (KeyCode::Tab, modifiers),
        b' ' => (KeyCode::Char(' '), KeyModifiers::NONE),
        b'X' => (KeyCode::Char('='), KeyModifiers::NONE),
        b'j'..=b'y' => (KeyCode::Char(char::from(letter - 0x40)), KeyModifiers::NONE),
        letter => (letter_key(letter)?, modifiers),
    })
}

/// Parses `rest`, which follows CSI.
fn csi(rest: &[u8], has_timed_out: bool) -> Step {
    let body = rest
        .iter()
        .take_while(|byte| matches!(byte, 0x20..=0x3f))
        .count();
    // In rxvt, the sequence of a key that is pressed with Shift ends with `$`. In all other
    // sequences, another byte follows a `$`.
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if matches!(digits, 1 | 2) && rest.get(digits) == Some(&b'$') {
        return csi_sequence(&rest[..digits], b'$').after(digits + 1);
    }
    match rest.get(body) {
        None if has_timed_out => Step::Skip(body),
        None if body > MAX_SEQUENCE => Step::Shorten(0..body),
        None => Step::Wait,
        // The Linux console sends `CSI [` and a letter for F1 to F5.
        Some(b'[') if body == 0 => match rest.get(1) {
            Some(letter @ b'A'..=b'E') => {
                Step::Event(key(KeyCode::F(letter - b'@'), KeyModifiers::NONE), 2)
            }
            Some(0x20..=0x7e) => Step::Skip(2),
            None if !has_timed_out => Step::Wait,
            None | Some(_) => Step::Skip(1),
        },
        // Mouse reports: X10, and highlight tracking.
        Some(b'M') if body == 0 => characters(&rest[1..], 3, has_timed_out).after(1),
        Some(b't') if body == 0 => characters(&rest[1..], 2, has_timed_out).after(1),
        Some(b'T') if body == 0 => characters(&rest[1..], 6, has_timed_out).after(1),
        Some(end @ 0x40..=0x7e) => csi_sequence(&rest[..body], *end).after(body + 1),
        // The sequence was cut off, and other input follows it. Drop only the sequence.
        Some(_) => Step::Skip(body),
    }
}

/// Skips `count` characters of a mouse report. Each is one byte or, with extended coordinates (DEC
/// private mode 1005), a character of one or two bytes.
fn characters(bytes: &[u8], count: usize, has_timed_out: bool) -> Step {
    let mut at = 0;
    for _ in 0..count {
        at += match bytes[at..] {
            [0xc2..=0xdf, 0x80..=0xbf, ..] => 2,
            [] | [0xc2..=0xdf] if !has_timed_out => return Step::Wait,
            // A control character or the end of the input: the report was cut off. NUL, however, is
            // part of a report, because xterm sends it for a large coordinate.
            [] | [0x01..=0x1f, ..] => break,
            [_, ..] => 1,
        };
    }
    Step::Skip(at)
}

/// Returns the meaning of a CSI sequence with this body and this final byte, as a [`Step`] that
/// consumes 0 bytes. The caller must add the length of the sequence.
fn csi_sequence(body: &[u8], end: u8) -> Step {
    if end == b'c' && body.starts_with(b"?") {
        return Step::Attributes(0);
    }
    // xterm can be configured to begin the parameters of keys with `>` (modifyCursorKeys).
    match parameters(body.strip_prefix(b">").unwrap_or(body)) {
        Some(numbers) if end == b'~' && numbers[0][0] == 200 => Step::Paste(0),
        Some(numbers) => match csi_event(&numbers, body.is_empty(), end) {
            Some(event) => Step::Event(event, 0),
            None => Step::Skip(0),
        },
        None => Step::Skip(0),
    }
}

/// Parses the parameters of a sequence, which are separated by semicolons. Each is a list of
/// numbers (subparameters), which are separated by colons. A missing number is 0, so no list is
/// ever empty. Returns `None` if `body` contains anything but numbers and separators.
fn parameters(body: &[u8]) -> Option<Vec<Vec<u32>>> {
    let number = |text: &str| match text {
        "" => Some(0),
        text => text.parse().ok(),
    };
    let body = str::from_utf8(body).ok()?;
    body.split(';')
        .map(|parameter| parameter.split(':').map(number).collect())
        .collect()
}

/// Returns the modifiers in a parameter, which is 1 plus a bit for each modifier. Meta, Super and
/// Hyper, whose bits differ between terminals, count as Alt.
fn modifiers(parameter: u32) -> KeyModifiers {
    let held = parameter.saturating_sub(1);
    let mut modifiers = KeyModifiers::NONE;
    modifiers.set(KeyModifiers::SHIFT, held & 0b1 != 0);
    modifiers.set(KeyModifiers::ALT, held & 0b11_1010 != 0);
    modifiers.set(KeyModifiers::CONTROL, held & 0b100 != 0);
    modifiers
}

/// Returns the event for a CSI sequence with these parameters and this final byte. `is_bare` is
/// true if the sequence has no parameters.
fn csi_event(numbers: &[Vec<u32>], is_bare: bool, end: u8) -> Option<Event> {
    /// The event type of a key that is released, in kitty's protocol.
    const RELEASE: u32 = 3;

    let number = |index: usize, sub: usize| -> u32 {
        let parameter = numbers.get(index).and_then(|parameter| parameter.get(sub));
        parameter.copied().unwrap_or(0)
    };
    let first = number(0, 0);
    let mut held = modifiers(number(1, 0));
    let code = match end {
        b'I' if is_bare => return Some(Event::FocusGained),
        b'O' if is_bare => return Some(Event::FocusLost),
        _ if number(1, 1) == RELEASE => return None,
        // xterm (modifyOtherKeys).
        b'~' if first == 27 => return coded_key(number(2, 0), 0, 0, number(1, 0)),
        // xterm (formatOtherKeys), and kitty's protocol.
        b'u' => {
            let (shifted, base) = match number(2, 0) {
                0 => (number(0, 1), number(0, 2)),
                text => (text, number(0, 2)),
            };
            return coded_key(first, shifted, base, number(1, 0));
        }
        b'Z' => {
            held |= KeyModifiers::SHIFT;
            KeyCode::BackTab
        }
        b'~' => numbered_key(first)?,
        // rxvt's sequences for keys with Shift, with Ctrl, and with both.
        b'$' => {
            held = KeyModifiers::SHIFT;
            numbered_key(first)?
        }
        b'^' => {
            held = KeyModifiers::CONTROL;
            numbered_key(first)?
        }
        b'@' => {
            held = KeyModifiers::CONTROL | KeyModifiers::SHIFT;
            numbered_key(first)?
        }
        b'a'..=b'd' if is_bare => {
            held = KeyModifiers::SHIFT;
            letter_key(end - 0x20)?
        }
        // xterm's keys in Sun mode.
        b'z' => match first {
            214 => KeyCode::Home,
            216 => KeyCode::PageUp,
            220 => KeyCode::End,
            222 => KeyCode::PageDown,
            _ => return None,
        },
        // st sends `CSI P` for Delete. It can't be F1, because other terminals send F1 as `SS3 P`
        // or with parameters before the `P`.
        b'P' if is_bare => KeyCode::Delete,
        // `R` after numbers is a report of the cursor's position, and not F3.
        b'R' => return None,
        // A single parameter contains the modifiers (modifyCursorKeys).
        letter if numbers.len() == 1 => {
            held = modifiers(first);
            letter_key(letter)?
        }
        letter if first <= 1 => letter_key(letter)?,
        _ => return None,
    };
    Some(key(code, held))
}

/// The key with this number in a CSI sequence.
fn numbered_key(number: u32) -> Option<KeyCode> {
    Some(match u8::try_from(number).ok()? {
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
    })
}

/// Returns the event for a key that the terminal describes by numbers. `code` is the character of
/// the key without modifiers, `typed` its character with Shift, and `base` the character of the key
/// in the same place on a US keyboard. `typed` and `base` are 0 if unknown. `held` is 1 plus a bit
/// for each modifier, as for [`modifiers`].
fn coded_key(code: u32, typed: u32, base: u32, held: u32) -> Option<Event> {
    /// The bit of Caps Lock in `held`.
    const CAPS_LOCK: u32 = 0b100_0000;
    /// The code of `0` on the keypad. The other digits and the keys of [`KEYPAD`] follow.
    const FIRST_OF_KEYPAD: u32 = 57399;
    const KEYPAD: [KeyCode; 18] = [
        KeyCode::Char('.'),
        KeyCode::Char('/'),
        KeyCode::Char('*'),
        KeyCode::Char('-'),
        KeyCode::Char('+'),
        KeyCode::Enter,
        KeyCode::Char('='),
        KeyCode::Char(','),
        KeyCode::Left,
        KeyCode::Right,
        KeyCode::Up,
        KeyCode::Down,
        KeyCode::PageUp,
        KeyCode::PageDown,
        KeyCode::Home,
        KeyCode::End,
        KeyCode::Insert,
        KeyCode::Delete,
    ];

    let mut modifiers = modifiers(held);
    let is_shifted = modifiers.contains(KeyModifiers::SHIFT);
    let is_command = modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT);
    let code = match char::from_u32(code)? {
        '\r' => KeyCode::Enter,
        '\t' if is_shifted => KeyCode::BackTab,
        '\t' => KeyCode::Tab,
        '\x1b' => KeyCode::Esc,
        '\x08' | '\x7f' => KeyCode::Backspace,
        // In kitty's protocol, keys without a character have codes in the private use area.
        '\u{e000}'..='\u{f8ff}' => match code.checked_sub(FIRST_OF_KEYPAD)? {
            digit @ 0..=9 => KeyCode::Char(char::from_digit(digit, 10)?),
            index => *KEYPAD.get(usize::try_from(index - 10).ok()?)?,
        },
        c if c.is_control() => return None,
        // With Ctrl or Alt, a key means its Latin letter, whatever the keyboard layout is.
        c if is_command => {
            let c = if c.is_ascii() {
                c
            } else {
                known(base).unwrap_or(c)
            };
            return Some(character(c.to_ascii_lowercase(), modifiers));
        }
        c => {
            let is_upper = is_shifted != ((held.saturating_sub(1) & CAPS_LOCK) != 0);
            let upper = || Some(c.to_uppercase().next()?).filter(|_| is_upper);
            modifiers.remove(KeyModifiers::SHIFT);
            let typed = known(typed).or_else(upper).unwrap_or(c);
            return Some(character(typed, modifiers));
        }
    };
    Some(key(code, modifiers))
}

/// Returns the character with this code, unless it's a control character.
fn known(code: u32) -> Option<char> {
    char::from_u32(code).filter(|c| !c.is_control())
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
    fn keys_are_recognized_in_the_encodings_of_all_terminals() {
        const SHIFT: KeyModifiers = KeyModifiers::SHIFT;
        for (bytes, code, modifiers) in [
            // rxvt's sequences.
            (&b"\x1bOd"[..], KeyCode::Left, CONTROL),
            (b"\x1bOc", KeyCode::Right, CONTROL),
            (b"\x1b[a", KeyCode::Up, SHIFT),
            (b"\x1b[7~", KeyCode::Home, NONE),
            (b"\x1b[8$", KeyCode::End, SHIFT),
            (b"\x1b[3^", KeyCode::Delete, CONTROL),
            (b"\x1b[7@", KeyCode::Home, CONTROL | SHIFT),
            (b"\x1b\x1b[D", KeyCode::Left, ALT),
            (b"\x1b\x1bOC", KeyCode::Right, ALT),
            (b"\x1b\x1b[3~", KeyCode::Delete, ALT),
            // The keypad in application mode.
            (b"\x1bOp", KeyCode::Char('0'), NONE),
            (b"\x1bOy", KeyCode::Char('9'), NONE),
            (b"\x1bOj", KeyCode::Char('*'), NONE),
            (b"\x1bOk", KeyCode::Char('+'), NONE),
            (b"\x1bOl", KeyCode::Char(','), NONE),
            (b"\x1bOm", KeyCode::Char('-'), NONE),
            (b"\x1bOn", KeyCode::Char('.'), NONE),
            (b"\x1bOo", KeyCode::Char('/'), NONE),
            (b"\x1bOX", KeyCode::Char('='), NONE),
            (b"\x1bOM", KeyCode::Enter, NONE),
            (b"\x1bO5M", KeyCode::Enter, CONTROL),
            // Modifiers after SS3, and as the only parameter of CSI.
            (b"\x1bO5D", KeyCode::Left, CONTROL),
            (b"\x1bO1;3C", KeyCode::Right, ALT),
            (b"\x1bO2P", KeyCode::F(1), SHIFT),
            (b"\x1b[5D", KeyCode::Left, CONTROL),
            (b"\x1b[>1;5D", KeyCode::Left, CONTROL),
            (b"\x1b[1;9D", KeyCode::Left, ALT),
            (b"\x1b[[A", KeyCode::F(1), NONE),
            (b"\x1b[214z", KeyCode::Home, NONE),
            (b"\x1b[P", KeyCode::Delete, NONE),
            // C1 controls, as one byte and in UTF-8.
            (b"\x9bA", KeyCode::Up, NONE),
            (b"\xc2\x9b1;5D", KeyCode::Left, CONTROL),
            (b"\x8fF", KeyCode::End, NONE),
            // xterm with modifyOtherKeys.
            (b"\x1b[27;5;99~", KeyCode::Char('c'), CONTROL),
            (b"\x1b[27;5;67~", KeyCode::Char('c'), CONTROL),
            (b"\x1b[27;3;98~", KeyCode::Char('b'), ALT),
            (b"\x1b[27;2;13~", KeyCode::Enter, SHIFT),
            (b"\x1b[27;5;9~", KeyCode::Tab, CONTROL),
            // kitty's protocol.
            (b"\x1b[97u", KeyCode::Char('a'), NONE),
            (b"\x1b[97;2u", KeyCode::Char('A'), SHIFT),
            (b"\x1b[97;65u", KeyCode::Char('A'), SHIFT),
            (b"\x1b[49:33;2u", KeyCode::Char('!'), NONE),
            (b"\x1b[97;;261u", KeyCode::Char('\u{105}'), NONE),
            (b"\x1b[1089::99;5u", KeyCode::Char('c'), CONTROL),
            (b"\x1b[127;5u", KeyCode::Backspace, CONTROL),
            (b"\x1b[9;2u", KeyCode::BackTab, SHIFT),
            (b"\x1b[57400u", KeyCode::Char('1'), NONE),
            (b"\x1b[57413u", KeyCode::Char('+'), NONE),
            (b"\x1b[57414u", KeyCode::Enter, NONE),
            (b"\x1b[57424u", KeyCode::End, NONE),
            (b"\x1b[57426;1:2u", KeyCode::Delete, NONE),
        ] {
            let expected = vec![key(code, modifiers)];
            let (at_once, later) = events(bytes);
            assert_eq!(at_once, expected, "{:?}", bytes.escape_ascii().to_string());
            assert_eq!(later, []);
            let mut parser = Parser::default();
            let mut split = Vec::new();
            for byte in bytes {
                parser.push(&[*byte]);
                split.extend(parser.by_ref());
            }
            assert_eq!(split, expected, "{:?}", bytes.escape_ascii().to_string());
        }
    }

    #[test]
    fn unknown_escape_sequences_are_dropped_whole() {
        for sequence in [
            // Mouse reports: X10, with extended coordinates, urxvt, SGR and highlight tracking.
            &b"\x1b[M !!"[..],
            b"\x1b[M\x60zq",
            b"\x1b[M \xc4\x81w",
            b"\x1b[M \xf0\x00",
            b"\x1b[32;10;20M",
            b"\x1b[<0;10;20M",
            b"\x1b[<0;10;20m",
            b"\x1b[t!!",
            // Keys that have no effect in this program.
            b"\x1bOz",
            b"\x1bOE",
            b"\x1bO5z",
            b"\x1b[E",
            b"\x1b[G",
            b"\x1b[[F",
            b"\x1b[99~",
            b"\x1b[57358u",
            b"\x1b[57440;2u",
            b"\x1b[97;1:3u",
            b"\x1b[1;5u",
            b"\x1b[27;5;1~",
            b"\x1b[27~",
            b"\x1b[65;30;65;1;0;1_",
            b"\x1b\x1b[99~",
            "\u{f700}".as_bytes(),
            "\u{f72c}".as_bytes(),
            // Answers to queries, and other control strings.
            b"\x1bP>|term(1)\x1b\\",
            b"\x1b_Gi=1;OK\x1b\\",
            b"\x1b^private\x1b\\",
            b"\x1bXstring\x1b\\",
            b"\x1b]52;c;YQ==\x07",
            b"\x1b]l\xc3\x9c\xc5\x9b title\x1b\\",
            b"\x9d4;1;rgb:0/0/0\x9c",
            b"\xc2\x9d4;1;rgb:0/0/0\xc2\x9c",
            b"\x90$q q\x9c",
            b"\x85",
            b"\xc2\x85",
        ] {
            let input = [b"a", sequence, b"b"].concat();
            let shown = sequence.escape_ascii().to_string();
            assert_eq!(events(&input).0, typed("ab"), "{shown}");
            let mut parser = Parser::default();
            let mut split = Vec::new();
            for byte in input {
                parser.push(&[byte]);
                split.extend(parser.by_ref());
            }
            assert_eq!(split, typed("ab"), "{shown}, byte by byte");
        }
    }

    #[test]
    fn an_escape_sequence_over_the_length_limit_is_dropped_up_to_its_end() {
        for (start, part, end) in [
            ("\x1b[", "1;", "5u"),
            ("\x1b[", "9", "7u"),
            ("\x1bO", "1", "q"),
            ("\x1bP", "1+r", "\x1b\\"),
            ("\x1b]52;c;", "YWxh", "\x07"),
            ("\x1b_", "G", "\u{9c}"),
        ] {
            let mut parser = Parser::default();
            parser.push(start.as_bytes());
            for _ in 0..4 {
                parser.push(part.repeat(MAX_SEQUENCE).as_bytes());
                assert_eq!(parser.next(), None);
                assert!(parser.bytes.len() <= 2 * MAX_SEQUENCE, "{start:?}");
            }
            parser.push(format!("{end}x").as_bytes());
            assert_eq!(parser.collect::<Vec<_>>(), typed("x"), "{start:?}");
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
    fn unsolicited_terminal_replies_do_not_become_typed_text() {
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
    fn a_terminals_reply_with_its_background_color_is_recognized_between_keys() {
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
    fn ctrl_c_is_recognized_at_once_after_any_incomplete_sequence() {
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
            "\x1b[M",
            "\x1b[M !",
            "\x1bO5",
            "\x1b\x1b[",
            "\x1b_G",
            "\u{9b}1",
            "\u{9d}0;",
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
    fn a_short_incomplete_escape_sequence_is_a_key_and_a_longer_one_is_dropped() {
        for (bytes, expected) in [
            ("\x1b", vec![key(KeyCode::Esc, NONE)]),
            ("\x1b[", vec![key(KeyCode::Char('['), ALT)]),
            ("\x1b]", vec![key(KeyCode::Char(']'), ALT)]),
            (
                "\x1bO",
                vec![key(KeyCode::Char('O'), ALT | KeyModifiers::SHIFT)],
            ),
            ("\x1b\x1b", vec![key(KeyCode::Esc, NONE); 2]),
            ("\x1b[1;5", vec![]),
            ("\x1b[M!", vec![]),
            ("\x1bO5", vec![]),
            ("\x1b[?2026;0", vec![]),
            ("\x1b]11;rgb:00", vec![]),
            ("\x1bP1+r5", vec![]),
            ("\x1b_Gi=1", vec![]),
            ("\x1b]11;rgb:00\x1b", vec![key(KeyCode::Esc, NONE)]),
        ] {
            assert_eq!(events(bytes.as_bytes()), (vec![], expected), "{bytes:?}");
        }
        for bytes in [&b"\xe6\x97"[..], b"\x9b", b"\xc2\x9b5", b"\x9d0;title"] {
            assert_eq!(events(bytes), (vec![], vec![]), "{bytes:x?}");
        }
        assert_eq!(events(b"\xff\xfea").0, typed("a"));
    }

    #[test]
    fn the_end_of_a_bracketed_paste_must_be_encoded_like_its_start() {
        for (start, end) in [
            (&b"\x1b[200~"[..], PASTE_ENDS[0]),
            (b"\x9b200~", PASTE_ENDS[1]),
            (b"\xc2\x9b200~", PASTE_ENDS[2]),
        ] {
            for inside in PASTE_ENDS
                .into_iter()
                .filter(|inside| !inside.ends_with(end))
            {
                let mut parser = Parser::default();
                parser.push(&[start, b"a", inside, b"b", end, b"c"].concat());
                let text = String::from_utf8_lossy(&[b"a", inside, b"b"].concat()).into_owned();
                let expected = [vec![Event::Paste(text)], typed("c")].concat();
                assert_eq!(
                    parser.collect::<Vec<_>>(),
                    expected,
                    "{start:x?} {inside:x?}"
                );
            }
        }
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
                proptest::sample::select(&b"\x1b\x1b[]OPMT<$?;20~u\x07\\\r\xc2\x9b\xe6\x97"[..]),
                0..20,
            ),
        ) {
            let mut parser = Parser::default();
            parser.push(&bytes);
            parser.push(&[CTRL_C; 3]);
            assert_eq!(parser.last(), Some(key(KeyCode::Char('c'), CONTROL)));
        }

        #[test]
        fn no_escape_sequence_leaves_letters_in_the_typed_line(
            start in proptest::sample::select(&["\x1b[", "\x1bO", "\u{9b}", "\u{8f}"][..]),
            body in "[0-9;:<=>?]{0,9}",
            end in "[A-LN-Za-su-z~^@]",
        ) {
            // Leave out two kinds of sequences: those that describe a character, and `CSI T`.
            // Coordinates of the mouse follow `CSI T`, so the `a` that this test appends would
            // count as a coordinate.
            proptest::prop_assume!(end != "u" && !body.contains("27"));
            proptest::prop_assume!(end != "T" || !body.is_empty());
            let input = format!("{start}{body}{end}a");
            let (at_once, _) = events(input.as_bytes());
            let (last, before) = at_once.split_last().unwrap();
            assert_eq!(last, &typed("a")[0], "{input:?}");
            assert!(before.len() <= 1, "{input:?}: {before:?}");
            let is_letter = |event: &Event| {
                matches!(event, Event::Key(KeyEvent { code: KeyCode::Char(c), .. }) if c.is_alphabetic())
            };
            assert!(!before.iter().any(is_letter), "{input:?}: {before:?}");
        }
    }
}
