//! Text styles, shared by the server's log, the client's window and the launcher.

use std::io::{self, IsTerminal};
use std::time::Duration;

use termcolor::{Color, ColorSpec, WriteColor};

use crate::cli;
use crate::protocol::event::{Answer, Event};
use crate::protocol::text::Text;

/// Whether to write colors to stdout. `NO_COLOR` turns colors off, unless the variable is empty
/// (<https://no-color.org>).
pub fn is_colored(color: cli::Color) -> bool {
    is_colored_on(&io::stdout(), color)
}

/// Whether to write colors to `stream`. `NO_COLOR` turns colors off, unless the variable is empty.
pub fn is_colored_on(stream: &impl IsTerminal, color: cli::Color) -> bool {
    match color {
        cli::Color::Auto => {
            let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            let term = std::env::var("TERM").unwrap_or_default();
            stream.is_terminal() && !refused && has_colors(&term)
        }
        cli::Color::Always => true,
        cli::Color::Never => false,
    }
}

/// Whether a terminal with this `TERM` has colors. False for the names that terminfo gives to
/// terminals without colors.
fn has_colors(term: &str) -> bool {
    let is_plain = term == "dumb" || term.starts_with("vt1") || term.starts_with("vt2");
    !is_plain && !term.ends_with("-m") && !term.ends_with("-mono")
}

/// The color of errors, readable on both white and black: this dark orange has a contrast of 4.7 to
/// white and 4.5 to black (WCAG 2).
const ERROR_COLOR: Color = Color::Ansi256(130);

/// The color of the server's messages, readable on both white and black: this teal has a contrast
/// of 4.4 to white and 4.8 to black (WCAG 2).
const SERVER_COLOR: Color = Color::Ansi256(30);

/// The style of secondary text, readable on both white and black: this gray has a contrast of 4.5
/// to white and 4.6 to black (WCAG 2). The attribute dim (SGR 2) is not used, because some
/// terminals draw dimmed black on white as plain black.
pub fn quiet() -> ColorSpec {
    let mut gray = ColorSpec::new();
    gray.set_fg(Some(Color::Ansi256(243)));
    gray
}

/// Applies an escape sequence for colors and attributes (SGR, ECMA-48 8.3.117) to `style`. Supports
/// only what the logs use: reset, bold, dim, and foreground colors.
pub(crate) fn apply_sgr(sequence: &str, style: &mut ColorSpec) {
    const COLORS: [Color; 8] = [
        Color::Black,
        Color::Red,
        Color::Green,
        Color::Yellow,
        Color::Blue,
        Color::Magenta,
        Color::Cyan,
        Color::White,
    ];
    let parameters = sequence.strip_prefix("\x1b[");
    let Some(parameters) = parameters.and_then(|rest| rest.strip_suffix('m')) else {
        return;
    };
    // Treat an empty parameter as 0, as terminals do.
    let mut codes = parameters.split(';').map(|code| code.parse().unwrap_or(0));
    while let Some(code) = codes.next() {
        match code {
            0 => style.clear(),
            1 => {
                style.set_bold(true);
            }
            2 => {
                style.set_dimmed(true);
            }
            30..=37 => {
                style.set_fg(Some(COLORS[usize::from(code) - 30]));
            }
            38 => match codes.next() {
                Some(5) => {
                    style.set_fg(codes.next().map(Color::Ansi256));
                }
                Some(2) => {
                    let mut next = || codes.next().unwrap_or(0);
                    style.set_fg(Some(Color::Rgb(next(), next(), next())));
                }
                Some(_) | None => {}
            },
            _ => {}
        }
    }
}

/// Writes `text`, in `color` if there is one.
pub fn paint(
    out: &mut dyn WriteColor,
    color: impl Into<Option<Color>>,
    text: &str,
) -> io::Result<()> {
    out.set_color(ColorSpec::new().set_fg(color.into()))?;
    out.write_all(text.as_bytes())?;
    out.reset()
}

/// Writes an event that mentions the user, without a line ending. If the event is a message, its
/// text is bold. `name` is the color of the name in the event, if there is a name.
pub fn paint_call(out: &mut dyn WriteColor, event: &Event, name: Option<Color>) -> io::Result<()> {
    let Event::Message { from, text, .. } = event else {
        return paint_event(out, event, name);
    };
    let mut bold = ColorSpec::new();
    bold.set_bold(true);
    out.set_color(bold.clone().set_fg(name))?;
    write!(out, "{from}")?;
    out.set_color(&bold)?;
    write!(out, ": {text}")?;
    out.reset()
}

/// Writes a message from the server in a way that stands out even without colors.
pub fn paint_said(out: &mut dyn WriteColor, text: &Text) -> io::Result<()> {
    out.set_color(ColorSpec::new().set_bold(true).set_fg(Some(SERVER_COLOR)))?;
    write!(out, "*** the server: {text}")?;
    out.reset()
}

/// Writes `answer` as plain text with colors, without a line ending after its last line. `name` is
/// the color of the name in the answer, if there is a name.
pub fn paint_answer(
    out: &mut dyn WriteColor,
    answer: &Answer,
    name: Option<Color>,
) -> io::Result<()> {
    match answer {
        Answer::PrivateFrom { from, text, .. } => paint_private(out, "[", from, name, text),
        Answer::PrivateTo { to, text, .. } => paint_private(out, "[to ", to, name, text),
        Answer::Error(_) => paint(out, ERROR_COLOR, &answer.to_string()),
        Answer::Welcome(_)
        | Answer::PastBegins(_)
        | Answer::PastEnds
        | Answer::Online { .. }
        | Answer::Help(_)
        | Answer::Notice(_) => write!(out, "{answer}"),
    }
}

fn paint_private(
    out: &mut dyn WriteColor,
    before: &str,
    name: &Text,
    color: Option<Color>,
    text: &Text,
) -> io::Result<()> {
    paint(out, Color::Magenta, before)?;
    paint(out, color, name.as_str())?;
    paint(out, Color::Magenta, &format!("] {text}"))
}

/// Writes `event` as plain text with colors, without a line ending. `name` is the color of the name
/// in the event, if there is a name.
pub fn paint_event(out: &mut dyn WriteColor, event: &Event, name: Option<Color>) -> io::Result<()> {
    match event {
        Event::Message { from, text, .. } => {
            paint(out, name, from.as_str())?;
            write!(out, ": {text}")
        }
        Event::Joined(_) => paint(out, Color::Green, &event.to_string()),
        Event::Left { .. } => paint(out, Color::Red, &event.to_string()),
        Event::Renamed { from, to, .. } => {
            out.write_all(b"* ")?;
            paint(out, name, from.as_str())?;
            out.write_all(b" is now ")?;
            paint(out, name, to.as_str())
        }
        Event::Server { .. } | Event::Shutdown => write!(out, "{event}"),
    }
}

/// Formats a number of things, such as `1 byte` or `2 bytes`.
pub fn counted(count: u64, one: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {one}{plural}")
}

/// Formats a duration for people to read, such as `4 min 10 s`.
pub fn in_words(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_without_colors_are_recognized_by_their_names() {
        for term in ["dumb", "vt100", "vt220", "xterm-mono", "linux-m"] {
            assert!(!has_colors(term), "{term}");
        }
        for term in [
            "",
            "xterm",
            "xterm-256color",
            "linux",
            "tmux",
            "vte-256color",
        ] {
            assert!(has_colors(term), "{term}");
        }
    }

    #[test]
    fn counts_other_than_1_take_the_plural() {
        assert_eq!(counted(1, "byte"), "1 byte");
        assert_eq!(counted(0, "byte"), "0 bytes");
        assert_eq!(counted(2, "byte"), "2 bytes");
    }

    #[test]
    fn a_duration_is_given_in_its_two_largest_units() {
        for (seconds, words) in [(0, "0 s"), (250, "4 min 10 s"), (7_380, "2 h 3 min")] {
            assert_eq!(in_words(Duration::from_secs(seconds)), words);
        }
    }
}
