//! Whether the terminal's background is dark or light.

use std::env;

/// Maximum luminance (0 to 1, as in WCAG 2) of a background that counts as dark. On such a
/// background, all colors that are chosen for dark backgrounds have a contrast of at least 3.
const MAX_DARK: f64 = 0.038;

/// Minimum luminance of a background that counts as light. On such a background, all colors that
/// are chosen for light backgrounds have a contrast of at least 3.
const MIN_LIGHT: f64 = 0.62;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Background {
    Dark,
    Light,
    /// The terminal doesn't report its background, or the background is neither dark nor light.
    Unknown,
}

impl Background {
    /// Reads the background from `COLORFGBG`, which rxvt and Konsole set.
    pub(crate) fn from_environment() -> Self {
        let value = env::var("COLORFGBG").unwrap_or_default();
        Self::from_colorfgbg(&value)
    }

    /// Parses a value such as `15;0` or `0;default;15`. The first and the last field are the
    /// numbers of the foreground and the background among the 16 basic colors.
    fn from_colorfgbg(value: &str) -> Self {
        match value.rsplit(';').next().map(str::parse) {
            Some(Ok(0..=6 | 8)) => Self::Dark,
            Some(Ok(7 | 9..=15)) => Self::Light,
            Some(Ok(_) | Err(_)) | None => Self::Unknown,
        }
    }

    /// Parses the answer to the query `OSC 11 ; ?`, which is a color as in XParseColor(3), such as
    /// `rgb:ffff/ffff/ffff`.
    pub(crate) fn from_answer(answer: &[u8]) -> Self {
        match str::from_utf8(answer).ok().and_then(luminance) {
            Some(luminance) if luminance <= MAX_DARK => Self::Dark,
            Some(luminance) if luminance >= MIN_LIGHT => Self::Light,
            Some(_) | None => Self::Unknown,
        }
    }
}

/// The relative luminance of a color (WCAG 2).
fn luminance(color: &str) -> Option<f64> {
    let components = color
        .strip_prefix("rgb:")
        .or_else(|| color.strip_prefix("rgba:"))?;
    let mut components = components.split('/').map(|digits| {
        // The largest value that a component with one, two, three or four hexadecimal digits can
        // have.
        let most = [0xf, 0xff, 0xfff, 0xffff_u16].get(digits.len().checked_sub(1)?)?;
        let share = f64::from(u16::from_str_radix(digits, 16).ok()?) / f64::from(*most);
        Some(if share <= 0.04045 {
            share / 12.92
        } else {
            ((share + 0.055) / 1.055).powf(2.4)
        })
    });
    let mut next = || components.next()?;
    Some(0.2126 * next()? + 0.7152 * next()? + 0.0722 * next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_colorfgbg_tells_whether_the_background_is_dark_or_light() {
        for (value, expected) in [
            ("15;0", Background::Dark),
            ("0;15", Background::Light),
            ("0;default;15", Background::Light),
            ("15;8", Background::Dark),
            ("0;7", Background::Light),
            ("15;default", Background::Unknown),
            ("0;16", Background::Unknown),
            ("0;-1", Background::Unknown),
            ("0;999999999999", Background::Unknown),
            ("", Background::Unknown),
        ] {
            assert_eq!(Background::from_colorfgbg(value), expected, "{value:?}");
        }
    }

    #[test]
    fn a_terminals_answer_says_whether_its_background_is_dark() {
        for (answer, expected) in [
            ("rgb:0000/0000/0000", Background::Dark),
            ("rgb:ffff/ffff/ffff", Background::Light),
            // The dark and the light background of the color scheme Solarized.
            ("rgb:00/2b/36", Background::Dark),
            ("rgb:fd/f6/e3", Background::Light),
            ("rgba:0000/0000/0000/8000", Background::Dark),
            ("rgb:f/f/f", Background::Light),
            ("rgb:8080/8080/8080", Background::Unknown),
        ] {
            let found = Background::from_answer(answer.as_bytes());
            assert_eq!(found, expected, "{answer:?}");
        }
    }

    #[test]
    fn a_terminals_answer_without_a_color_is_ignored() {
        for answer in [
            "",
            "?",
            "rgb:",
            "rgb:0/0",
            "rgb://",
            "rgb:00000/00000/00000",
            "rgb:000000000000000000/0/0",
            "rgb:ffffffffffffffff/0/0",
            "rgb:-1/0/0",
            "rgb:0x/0/0",
            "rgb:é/0/0",
            "black",
        ] {
            let found = Background::from_answer(answer.as_bytes());
            assert_eq!(found, Background::Unknown, "{answer:?}");
        }
        assert_eq!(
            Background::from_answer(b"rgb:\xff/0/0"),
            Background::Unknown
        );
    }
}
