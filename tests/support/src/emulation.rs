//! A terminal that obeys whatever it is sent, and tells what it was asked for besides to show text.

use std::collections::BTreeSet;

use vt100::{Callbacks, Screen};

/// Lines that have gone out of the top of the screen, and are kept.
const SCROLLBACK: usize = 10_000;

/// An emulated terminal. It obeys C1 controls inside UTF-8, as VTE, kitty and WezTerm do, which vt100 by itself does not.
pub struct Emulation {
    parser: vt100::Parser<Asked>,
    /// The first byte of a character, of which the second has not come.
    half: Option<u8>,
}

/// What is neither text nor a change to the screen: titles, bells, reports, the clipboard, and what vt100 does not know.
#[derive(Default)]
struct Asked(BTreeSet<String>);

impl Emulation {
    pub fn new(columns: u16, rows: u16) -> Self {
        Self {
            parser: vt100::Parser::new_with_callbacks(rows, columns, SCROLLBACK, Asked::default()),
            half: None,
        }
    }

    /// Takes what is written to the terminal, which may be cut anywhere.
    pub fn write(&mut self, bytes: &[u8]) {
        let mut obeyed = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            match (self.half.take(), byte) {
                // A C1 control is ESC and the character 64 places before its second byte (ECMA-48, 5.3).
                (Some(_), 0x80..=0x9f) => obeyed.extend([0x1b, byte - 0x40]),
                (first, 0xc2) => {
                    obeyed.extend(first);
                    self.half = Some(byte);
                }
                (first, byte) => {
                    obeyed.extend(first);
                    obeyed.push(byte);
                }
            }
        }
        self.parser.process(&obeyed);
    }

    /// Makes the screen this large. As in xterm, what is too wide is cut, and what is too much above the cursor goes into the scrollback; but nothing comes
    /// back from there.
    pub fn resize(&mut self, columns: u16, rows: u16) {
        let (last, _) = self.screen().size();
        self.parser.screen_mut().set_size(last, columns);
        let (row, column) = self.screen().cursor_position();
        if row >= rows && !self.screen().alternate_screen() {
            let out = "\n".repeat((row + 1 - rows).into());
            let moves = format!("\x1b[{last};1H{out}\x1b[{rows};{}H", column + 1);
            self.parser.process(moves.as_bytes());
        }
        self.parser.screen_mut().set_size(rows, columns);
    }

    /// All rows that went into the scrollback and those on the screen, as wide as they were written, without those that show nothing.
    pub fn all_rows(&self) -> Vec<String> {
        let mut screen = self.screen().clone();
        let (rows, _) = screen.size();
        screen.set_scrollback(usize::MAX);
        let mut all = Vec::new();
        for back in (1..=screen.scrollback()).rev() {
            screen.set_scrollback(back);
            all.extend(screen.rows(0, u16::MAX).next());
        }
        screen.set_scrollback(0);
        all.extend(screen.rows(0, u16::MAX).take(rows.into()));
        all.retain(|row| !row.trim().is_empty());
        all
    }

    pub fn screen(&self) -> &Screen {
        self.parser.screen()
    }

    /// What stands on it, a line for each row, without blanks at their ends.
    pub fn text(&self) -> String {
        let screen = self.screen();
        let rows: Vec<String> = screen
            .rows(0, screen.size().1)
            .map(|row| row.trim_end().to_owned())
            .collect();
        rows.join("\n")
    }

    /// What it was asked for, each thing once.
    pub fn asked(&self) -> &BTreeSet<String> {
        &self.parser.callbacks().0
    }

    /// Fails unless the screen shows these lines from its top, the cursor stands below them, and nothing else was done to the terminal.
    #[track_caller]
    pub fn expect_only<'a>(&self, lines: impl IntoIterator<Item = &'a str>) {
        let (rows, columns) = self.screen().size();
        let mut harmless = Self::new(columns, rows);
        for line in lines {
            assert_eq!(controls(line.as_bytes()), BTreeSet::new(), "in {line:?}");
            harmless.write(line.as_bytes());
            harmless.write(b"\r\n");
        }
        assert_eq!(self.text(), harmless.text());
        assert_eq!(*self.asked(), BTreeSet::new(), "{}", self.text());
        let [is, should_be] =
            [self, &harmless].map(|emulation| emulation.screen().state_formatted());
        assert!(is == should_be, "{:?}", String::from_utf8_lossy(&is));
    }
}

impl Asked {
    fn add(&mut self, what: String) {
        self.0.insert(what);
    }
}

impl Callbacks for Asked {
    fn audible_bell(&mut self, _: &mut Screen) {
        self.add("bell".into());
    }

    fn visual_bell(&mut self, _: &mut Screen) {
        self.add("flash".into());
    }

    fn resize(&mut self, _: &mut Screen, size: (u16, u16)) {
        self.add(format!("size {size:?}"));
    }

    fn set_window_icon_name(&mut self, _: &mut Screen, name: &[u8]) {
        self.add(format!("icon {}", String::from_utf8_lossy(name)));
    }

    fn set_window_title(&mut self, _: &mut Screen, title: &[u8]) {
        self.add(format!("title {}", String::from_utf8_lossy(title)));
    }

    fn copy_to_clipboard(&mut self, _: &mut Screen, _: &[u8], _: &[u8]) {
        self.add("clipboard, written".into());
    }

    fn paste_from_clipboard(&mut self, _: &mut Screen, _: &[u8]) {
        self.add("clipboard, read".into());
    }

    fn unhandled_control(&mut self, _: &mut Screen, control: u8) {
        self.add(format!("control {control:#04x}"));
    }

    fn unhandled_escape(&mut self, _: &mut Screen, one: Option<u8>, two: Option<u8>, end: u8) {
        let between = one.into_iter().chain(two).map(char::from);
        let sequence: String = between.chain([char::from(end)]).collect();
        self.add(format!("ESC {sequence}"));
    }

    fn unhandled_csi(
        &mut self,
        _: &mut Screen,
        one: Option<u8>,
        two: Option<u8>,
        params: &[&[u16]],
        end: char,
    ) {
        let first = one.map(char::from).map_or_else(String::new, String::from);
        let second = two.map(char::from).map_or_else(String::new, String::from);
        let params: Vec<String> = params
            .iter()
            .flat_map(|param| param.iter().map(u16::to_string))
            .collect();
        self.add(format!("CSI {first}{}{second}{end}", params.join(";")));
    }

    fn unhandled_osc(&mut self, _: &mut Screen, params: &[&[u8]]) {
        let params: Vec<_> = params
            .iter()
            .map(|param| String::from_utf8_lossy(param))
            .collect();
        self.add(format!("OSC {}", params.join(";")));
    }
}

/// What a client's window writes besides text and its title.
const WINDOW: &[&str] = &[
    "\r",
    "\n",
    // The bell, for who is called or told something in private.
    "\x07",
    // Colours, up, home, erasing the row and what is below.
    "\x1b[m",
    "\x1b[A",
    "\x1b[H",
    "\x1b[K",
    "\x1b[C",
    "\x1b[J",
    // The cursor hidden, and everything held, while it draws.
    "\x1b[?25l",
    "\x1b[?25h",
    "\x1b[?2026h",
    "\x1b[?2026l",
    // Questions at the start: the background's color, and the terminal's attributes.
    "\x1b]11;?\x07",
    "\x1b[c",
    // Pastes, focus, and the title put aside; at the end all that undone.
    "\x1b[?2004h",
    "\x1b[?2004l",
    "\x1b[?1004h",
    "\x1b[?1004l",
    "\x1b[22;2t",
    "\x1b[23;2t",
];

/// Fails unless a client's window may write this.
#[track_caller]
pub fn expect_window(bytes: &[u8]) {
    for found in controls(bytes) {
        let is_known = WINDOW
            .iter()
            .any(|known| known.escape_default().to_string() == found);
        let title = found
            .strip_prefix(r"\u{1b}]2;chat - ")
            .and_then(|rest| rest.strip_suffix(r"\u{7}"));
        // A name has at most 24 characters.
        let is_title =
            title.is_some_and(|title| title.len() <= 24 + " (100000)".len() && title.is_ascii());
        assert!(is_known || is_title, "{found}");
    }
}

/// All in `bytes` that is not text, each thing once: controls, C0 and C1, and the sequences that begin with them. Of those that colour text or move the cursor
/// up, no numbers.
///
/// # Panics
/// They are not UTF-8.
#[track_caller]
pub fn controls(bytes: &[u8]) -> BTreeSet<String> {
    let text = std::str::from_utf8(bytes).expect("what is written is UTF-8");
    let mut found = BTreeSet::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.find(|c| c.is_control()) {
        let mut sequence = String::from(c);
        let is_end: Option<fn(char) -> bool> = match (c, rest.peek()) {
            ('\x1b', Some('[')) => Some(|c| matches!(c, '@'..='~')),
            ('\x1b', Some(']')) => Some(char::is_control),
            _ => None,
        };
        if let Some(is_end) = is_end {
            sequence.extend(rest.next());
            for c in rest.by_ref() {
                sequence.push(c);
                if is_end(c) {
                    break;
                }
            }
        }
        if sequence.starts_with("\x1b[") && sequence.ends_with(['m', 'A']) {
            sequence.retain(|c| !matches!(c, '0'..='9' | ';'));
        }
        found.insert(sequence.escape_default().to_string());
    }
    found
}
