//! An emulated terminal that obeys every sequence and records the requests beyond showing text.

use std::collections::BTreeSet;

use vt100::{Callbacks, Screen};

/// Number of scrollback lines to keep.
const SCROLLBACK: usize = 10_000;

/// An emulated terminal. Unlike plain vt100, it obeys C1 controls encoded in UTF-8, as VTE, kitty
/// and WezTerm do.
pub struct Emulation {
    parser: vt100::Parser<Requests>,
    /// First byte of a character whose second byte has not arrived yet.
    half: Option<u8>,
}

/// Output that is neither text nor a change to the screen: titles, bells, reports, the clipboard,
/// and sequences unknown to vt100.
#[derive(Default)]
struct Requests(BTreeSet<String>);

impl Emulation {
    pub fn new(columns: u16, rows: u16) -> Self {
        Self {
            parser: vt100::Parser::new_with_callbacks(
                rows,
                columns,
                SCROLLBACK,
                Requests::default(),
            ),
            half: None,
        }
    }

    /// Writes bytes to the terminal. They may be cut anywhere, also within a character or sequence.
    pub fn write(&mut self, bytes: &[u8]) {
        let mut obeyed = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            match (self.half.take(), byte) {
                // A C1 control is ESC and the character 64 places before its second byte (ECMA-48,
                // 5.3).
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

    /// Resizes the screen. As in xterm, rows are truncated at the new width, and excess rows above
    /// the cursor move into the scrollback. Unlike in xterm, none come back from there.
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

    /// All rows in the scrollback and on the screen that are not blank, at their original width.
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

    /// Text on the screen, one line per row, without trailing spaces.
    pub fn text(&self) -> String {
        let screen = self.screen();
        let rows: Vec<String> = screen
            .rows(0, screen.size().1)
            .map(|row| row.trim_end().to_owned())
            .collect();
        rows.join("\n")
    }

    /// The distinct requests so far.
    pub fn requests(&self) -> &BTreeSet<String> {
        &self.parser.callbacks().0
    }

    /// Fails unless the screen shows exactly these lines from its top, the cursor is below them,
    /// and there were no other requests.
    #[track_caller]
    pub fn expect_only<'a>(&self, lines: impl IntoIterator<Item = &'a str>) {
        let (rows, columns) = self.screen().size();
        let mut harmless = Self::new(columns, rows);
        for line in lines {
            assert_eq!(
                control_sequences(line.as_bytes()),
                BTreeSet::new(),
                "in {line:?}"
            );
            harmless.write(line.as_bytes());
            harmless.write(b"\r\n");
        }
        assert_eq!(self.text(), harmless.text());
        assert_eq!(*self.requests(), BTreeSet::new(), "{}", self.text());
        let [is, should_be] =
            [self, &harmless].map(|emulation| emulation.screen().state_formatted());
        assert!(is == should_be, "{:?}", String::from_utf8_lossy(&is));
    }
}

impl Requests {
    fn add(&mut self, what: String) {
        self.0.insert(what);
    }
}

impl Callbacks for Requests {
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

/// Control sequences that the client and the server's console write to a terminal, apart from
/// titles.
const CLIENT_SEQUENCES: &[&str] = &[
    "\r",
    "\n",
    // Bell, for mentions and private messages.
    "\x07",
    // Colors, cursor up, home, erase to the end of the row, right, erase below.
    "\x1b[m",
    "\x1b[A",
    "\x1b[H",
    "\x1b[K",
    "\x1b[C",
    "\x1b[J",
    // Hide and show the cursor, and begin and end a synchronized update.
    "\x1b[?25l",
    "\x1b[?25h",
    "\x1b[?2026h",
    "\x1b[?2026l",
    // Queries at startup: background color and device attributes.
    "\x1b]11;?\x07",
    "\x1b[c",
    // Saving, setting and restoring the mode that makes Alt+B send Escape and `b`.
    "\x1b[?1036;1039s",
    "\x1b[?1036;1039h",
    "\x1b[?1036;1039r",
    // Bracketed paste, focus reports, and saving the title, each set and reset.
    "\x1b[?2004h",
    "\x1b[?2004l",
    "\x1b[?1004h",
    "\x1b[?1004l",
    "\x1b[22;2t",
    "\x1b[23;2t",
];

/// Fails if `bytes` contain a control sequence that neither the client nor the server's console may
/// write to a terminal.
#[track_caller]
pub fn assert_client_output(bytes: &[u8]) {
    for found in control_sequences(bytes) {
        let is_known = CLIENT_SEQUENCES
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

/// The distinct C0 and C1 controls and escape sequences in `bytes`. The numbers of the sequences
/// that color text or move the cursor up are left out.
///
/// # Panics
/// Panics if `bytes` are not UTF-8.
#[track_caller]
pub fn control_sequences(bytes: &[u8]) -> BTreeSet<String> {
    let text = std::str::from_utf8(bytes).expect("the output is UTF-8");
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
