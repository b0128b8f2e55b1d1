//! Texts that would control a terminal if they reached it unchanged, and harmless texts like them.

/// Texts as sent and as received: each control becomes visible, and characters that hide or reorder
/// text are removed.
pub const HOSTILE: &[(&str, &str)] = &[
    // Sequences that erase, move the cursor, change text attributes, or set a scroll region.
    ("\x1b[2J\x1b[H", "␛[2J␛[H"),
    ("\x1b[1;1H\x1b[K", "␛[1;1H␛[K"),
    ("\x1b[3A\x1b[2K", "␛[3A␛[2K"),
    ("\x1b[8m\x1b[30;40m", "␛[8m␛[30;40m"),
    ("\x1b[2;3r", "␛[2;3r"),
    ("\x1b[5S\x1b[5L", "␛[5S␛[5L"),
    ("\x1bc", "␛c"),
    ("\x1b#8", "␛#8"),
    ("\x1b(0qqq\x0e", "␛(0qqq␎"),
    // Sequences that change modes: alternate screen, hidden cursor, mouse, bracketed paste.
    ("\x1b[?1049h", "␛[?1049h"),
    ("\x1b[?25l\x1b[?1000h\x1b[?2004h", "␛[?25l␛[?1000h␛[?2004h"),
    // Sequences that make the terminal reply, as if its user had typed.
    ("\x1b[6n\x1b[c\x1b[>c\x1b[?1$p", "␛[6n␛[c␛[>c␛[?1$p"),
    ("\x1b[21t\x1b[18t\x05", "␛[21t␛[18t␅"),
    ("\x1bP$qm\x1b\\", "␛P$qm␛\\"),
    // Titles, clipboard, links, window sizes, bells.
    ("\x1b]0;owned\x07", "␛]0;owned␇"),
    ("\x1b]2;owned\x1b\\", "␛]2;owned␛\\"),
    ("\x1b]52;c;b3duZWQ=\x07", "␛]52;c;b3duZWQ=␇"),
    ("\x1b]8;;file:///\x07x\x1b]8;;\x07", "␛]8;;file:///␇x␛]8;;␇"),
    ("\x1b[8;2;2t\x07\x07", "␛[8;2;2t␇␇"),
    // Unterminated sequences.
    ("\x1b", "␛"),
    ("\x1b[", "␛["),
    ("\x1b[31;", "␛[31;"),
    ("\x1b]0;never", "␛]0;never"),
    ("\x1bPnever", "␛Pnever"),
    ("\x1b_never", "␛_never"),
    ("\x1b^never", "␛^never"),
    ("\x1bXnever", "␛Xnever"),
    // C1 controls, each equivalent to ESC and another character.
    ("\u{9b}2J\u{9b}H", "\u{fffd}2J\u{fffd}H"),
    ("\u{9d}0;owned\u{9c}", "\u{fffd}0;owned\u{fffd}"),
    ("\u{9d}0;never", "\u{fffd}0;never"),
    (
        "\u{90}\u{98}\u{9e}\u{9f}",
        "\u{fffd}\u{fffd}\u{fffd}\u{fffd}",
    ),
    (
        "\u{84}\u{85}\u{8d}\u{88}",
        "\u{fffd}\u{fffd}\u{fffd}\u{fffd}",
    ),
    // Single controls.
    ("\r* ola left", "␍* ola left"),
    ("\x08\x08\x08\x08\x08\x7f", "␈␈␈␈␈␡"),
    ("\x0b\x0c\x0e\x0f", "␋␌␎␏"),
    ("\0\x01\x1a\x18", "␀␁␚␘"),
    ("\t", " "),
    // Bidirectional embeddings, overrides, isolates and marks, which reorder text.
    ("\u{202e}tfel\u{202c}", "tfel"),
    ("\u{202a}\u{202b}\u{202d}x", "x"),
    ("\u{2066}a\u{2067}b\u{2068}c\u{2069}", "abc"),
    ("\u{200e}\u{200f}\u{61c}x", "x"),
    // Invisible characters.
    ("\u{200b}\u{feff}\u{ad}\u{2060}x", "x"),
    ("\u{115f}\u{3164}\u{ffa0}\u{180e}x", "x"),
    ("\u{fff9}a\u{fffa}b\u{fffb}", "ab"),
    ("\u{e0001}\u{e0041}\u{e007f}x", "x"),
    ("\u{fdd0}\u{fffe}\u{10ffff}x", "x"),
    (" \u{200d}\u{200c}\u{fe0f}x", " x"),
    ("x\u{200d}\u{200d}\u{200d}\u{200d}y", "x\u{200d}\u{200d}y"),
    // More combining marks than fit above a line.
    (
        "z\u{301}\u{302}\u{303}\u{304}\u{305}\u{306}\u{307}\u{308}\u{309}\u{30a}",
        "z\u{301}\u{302}\u{303}\u{304}",
    ),
    (
        "z\u{489}\u{20dd}\u{489}\u{20dd}\u{489}\u{20dd}",
        "z\u{489}\u{20dd}\u{489}\u{20dd}",
    ),
    // Other line separators.
    ("\u{2028}* ola left\u{2029}! x", " * ola left ! x"),
    // A region's flag is a black flag followed by invisible letters.
    (
        "🏴\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}",
        "🏴",
    ),
];

/// Texts that arrive unchanged.
pub const HARMLESS: &[&str] = &[
    "zażółć gęślą jaźń",
    "❤\u{fe0f}\u{200d}🔥 👩🏽\u{200d}🚀 🏳\u{fe0f}\u{200d}🌈",
    "👨\u{200d}👩\u{200d}👧\u{200d}👦 1\u{fe0f}\u{20e3} 🇵🇱",
    "בְּרֵאשִׁית בָּרָא",
    "السَّلَامُ عَلَيْكُمْ می\u{200c}خواهم",
    "क्षत्रिय नमस्ते क्\u{200d}ष",
    "張偉 山田 さくら がぎぐ 한국어",
    "ที่นี่ น้ำ ผู้",
];

/// Names and groups that are accepted unchanged.
pub const NAMES: &[(&str, &str)] = &[
    ("Łucja", "3ID12"),
    ("שרה", "א"),
    ("محمد", "فصل"),
    ("नेहा", "कक्षा"),
    ("張偉", "三年"),
    ("김민수", "반"),
];

/// Messages in pairs, sent one after the other: a sequence begins in the first and ends in the
/// second.
const SPLIT: &[(&str, &str)] = &[
    ("the end is ESC \x1b", "the end is ESC ␛"),
    ("[2J[H is the beginning", "[2J[H is the beginning"),
    ("the end is OSC \x1b]0;", "the end is OSC ␛]0;"),
    ("owned\x07 is the beginning", "owned␇ is the beginning"),
    ("the end is C1 OSC \u{9d}0;", "the end is C1 OSC \u{fffd}0;"),
    (
        "owned\u{9c} is the beginning",
        "owned\u{fffd} is the beginning",
    ),
    ("the end is BS \x08", "the end is BS ␈"),
    ("the end is an override:\u{202e}", "the end is an override:"),
    (
        "the beginning has no more of it",
        "the beginning has no more of it",
    ),
    (
        "the end is a joiner x\u{200d}",
        "the end is a joiner x\u{200d}",
    ),
    ("y is the beginning", "y is the beginning"),
];

/// Messages as sent and as received: hostile and harmless texts within other text.
pub fn messages() -> Vec<(String, String)> {
    let same = HARMLESS.iter().map(|text| (*text, *text));
    let around = |text: &str| format!("before {text} after");
    let whole = HOSTILE.iter().copied().chain(same);
    let split = SPLIT
        .iter()
        .map(|(sent, arrives)| ((*sent).to_owned(), (*arrives).to_owned()));
    whole
        .map(|(sent, arrives)| (around(sent), around(arrives)))
        .chain(split)
        .collect()
}

/// The [`messages`] without Backspace and Delete, with which a plain client erases what it typed.
pub fn typed_messages() -> Vec<(String, String)> {
    let mut messages = messages();
    messages.retain(|(sent, _)| !sent.contains(['\x08', '\x7f']));
    messages
}

/// Fails if `text` contains a character that must not reach a screen.
#[track_caller]
pub fn assert_printable(text: &str) {
    let arrives = |c: char| {
        let mut arriving = HOSTILE.iter().map(|(_, arrives)| arrives).chain(HARMLESS);
        arriving.any(|text| text.contains(c))
    };
    let sent = |c: char| HOSTILE.iter().any(|(sent, _)| sent.contains(c));
    let found = text
        .chars()
        .find(|c| c.is_control() || (sent(*c) && !arrives(*c)));
    assert_eq!(found, None, "in {text:?}");
}
