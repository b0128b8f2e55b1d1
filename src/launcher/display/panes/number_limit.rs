//! Limits the numbers in a client's control sequences, before the emulation acts on them.
//!
//! vt100 0.16 inserts blank characters (`CSI Ps @`) and lines (`CSI Ps L`, `CSI Ps T`) one by one,
//! as many as the client asks for: `CSI 65535 @` takes 2.8 s, during which the pane is locked.

use std::borrow::Cow;

const ESCAPE: u8 = 0x1b;

/// Lowest limit that is applied, whatever the caller asks for. Color indices and RGB values
/// (`CSI 38 ; 5 ; Ps m`) go up to this value and must not be changed.
const MIN_LIMIT: u16 = 255;

/// Limits the numbers in a stream of output, which may be passed in pieces that end anywhere, even
/// within a number.
#[derive(Default)]
pub(crate) struct NumberLimit {
    place: Place,
}

/// Position of the last byte: in ordinary text, or in a part of a control sequence (ECMA-48,
/// section 5.4).
#[derive(Clone, Copy, Default)]
enum Place {
    /// The last byte was in text, or in a sequence whose numbers need no limit.
    #[default]
    Text,
    /// The last byte was an Escape character.
    Escape,
    /// The last byte was in a control sequence. Contains the number whose digits have been read but
    /// not yet passed on, if there is one.
    Parameter(Option<u16>),
    /// The last byte was in a control sequence whose numbers are the names of modes (`CSI ?`)
    /// rather than counts.
    Private,
}

impl NumberLimit {
    /// Returns `bytes` with all numbers above `limit` replaced by `limit`. If `bytes` end within a
    /// number, its digits are held back until the number is complete. Leading zeros are dropped.
    pub(crate) fn apply<'a>(&mut self, bytes: &'a [u8], limit: u16) -> Cow<'a, [u8]> {
        if matches!(self.place, Place::Text) && memchr::memchr(ESCAPE, bytes).is_none() {
            return Cow::Borrowed(bytes);
        }
        let limit = limit.max(MIN_LIMIT);
        let mut output = Vec::with_capacity(bytes.len() + 8);
        for &byte in bytes {
            let (place, is_shown) = match (self.place, byte) {
                (_, ESCAPE) => (Place::Escape, true),
                // The control characters CAN and SUB cancel a sequence, so that the bytes after
                // them are text.
                (_, 0x18 | 0x1a) => (Place::Text, true),
                (Place::Text, _) => (Place::Text, true),
                (Place::Escape, b'[') => (Place::Parameter(None), true),
                (Place::Parameter(number), b'0'..=b'9') => {
                    let digit = u16::from(byte - b'0');
                    let number = number.unwrap_or(0).saturating_mul(10);
                    (Place::Parameter(Some(number.saturating_add(digit))), false)
                }
                (Place::Parameter(None), b'?') => (Place::Private, true),
                (Place::Parameter(number), b' '..=b'~') => {
                    if let Some(number) = number {
                        output.extend_from_slice(number.min(limit).to_string().as_bytes());
                    }
                    let is_separator = matches!(byte, b';' | b':' | b'<'..=b'?');
                    (
                        if is_separator {
                            Place::Parameter(None)
                        } else {
                            Place::Text
                        },
                        true,
                    )
                }
                (Place::Escape, b' '..=b'~') | (Place::Private, b'@'..=b'~') => (Place::Text, true),
                // Other control characters take effect at once, and the sequence in which they
                // occur continues after them.
                (place, _) => (place, true),
            };
            self.place = place;
            if is_shown {
                output.push(byte);
            }
        }
        Cow::Owned(output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The limited output if the client's output arrives split into these `parts`.
    fn limited(parts: &[&str]) -> String {
        let mut limit = NumberLimit::default();
        let output = parts
            .iter()
            .flat_map(|part| limit.apply(part.as_bytes(), 300).into_owned());
        String::from_utf8(output.collect()).unwrap()
    }

    #[test]
    fn large_numbers_are_limited_in_every_control_sequence() {
        for (bytes, expected) in [
            ("a\x1b[65535@b", "a\x1b[300@b"),
            ("\x1b[1;99999999999999999999H", "\x1b[1;300H"),
            ("\x1b[0001L\x1b[299T", "\x1b[1L\x1b[299T"),
            // Within a sequence, Escape starts a new sequence, and other control characters do not
            // end it.
            ("\x1b[655\n35@", "\x1b[\n300@"),
            ("\x1b\n[65535@", "\x1b\n[300@"),
            ("\x1b]2;title\x1b[65535@", "\x1b]2;title\x1b[300@"),
            ("\x1b[655\x1b[65535@", "\x1b[\x1b[300@"),
        ] {
            assert_eq!(limited(&[bytes]), expected);
            let characters: Vec<String> = bytes.chars().map(String::from).collect();
            let characters: Vec<&str> = characters.iter().map(String::as_str).collect();
            assert_eq!(limited(&characters), expected);
        }
    }

    #[test]
    fn output_without_large_numbers_in_control_sequences_is_unchanged() {
        for bytes in [
            "65535 żółw",
            "\x1b[?2004h\x1b[?1004l 1000",
            "\x1b[38;2;255;128;0m\x1b[38:5:196mx\x1b[m",
            "\x1b]11;?\x07\x1b]2;65535\x07",
            "\x1b(B65535\x1b7",
            "\x1b[2 q65535",
            "\x1b[12\x1865535",
        ] {
            assert_eq!(limited(&[bytes]).replace("\x1b[\x18", "\x1b[12\x18"), bytes);
        }
    }
}
