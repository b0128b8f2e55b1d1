//! The password of a room.

use std::fmt;

use precis_profiles::OpaqueString;
use precis_profiles::precis_core::profile::Rules;
use thiserror::Error;

use crate::protocol::limits::MAX_PASSWORD_BYTES;
use crate::protocol::text::clean;

/// Beginning of the notice to a client whose password is not checked yet, because too many wrong
/// passwords came from its address. The notice is repeated every few seconds.
pub const WAIT_NOTICE: &str = "too many wrong passwords came from your address";

/// Advice to users of netcat, who easily miss the server's greeting.
pub const NC_HINT: &str = "with nc, type /pass PASSWORD before your name";

/// A room's password: 1 to 512 bytes of text without control or invisible characters, so that it
/// fits into the line `/pass PASSWORD`. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Checks `raw` and returns the password. Removes a line ending, which a password from a file
    /// may have, and the blanks at both ends, which a `/pass` line would not keep either.
    pub fn new(raw: &str) -> Result<Self, PasswordError> {
        let line = raw.strip_suffix('\n').unwrap_or(raw);
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.contains(char::is_control) {
            return Err(PasswordError::Control);
        }
        let text = line.trim();
        if text.is_empty() {
            return Err(PasswordError::Empty);
        }
        if clean(text) != text {
            return Err(PasswordError::Invisible);
        }
        let normal = normal(text);
        if normal.len() > MAX_PASSWORD_BYTES {
            return Err(PasswordError::TooLong);
        }
        Ok(Self(normal))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Converts a password to the form in which passwords are compared: all spaces are ASCII spaces,
/// and letters are in NFC (RFC 8265, section 4.2.2). Keyboards and systems produce different forms.
fn normal(text: &str) -> String {
    let profile = OpaqueString::new();
    // Neither conversion can fail, because both accept every character.
    profile
        .additional_mapping_rule(text)
        .and_then(|spaced| profile.normalization_rule(spaced))
        .map_or_else(|_| text.into(), Into::into)
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Reason why a password is rejected. The message does not quote the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PasswordError {
    #[error("a password needs at least one character")]
    Empty,
    #[error("a password can have at most {MAX_PASSWORD_BYTES} bytes")]
    TooLong,
    #[error("a password cannot contain line breaks or other control characters")]
    Control,
    #[error("a password cannot contain invisible characters, such as a byte order mark")]
    Invisible,
    #[error("a password must be UTF-8 text")]
    NotUtf8,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ending_and_blanks_around_a_password_are_not_part_of_it() {
        for raw in [
            "s3 cret",
            "s3 cret\n",
            "s3 cret\r\n",
            "s3 cret\r",
            " s3 cret ",
        ] {
            assert_eq!(Password::new(raw).unwrap().as_str(), "s3 cret", "{raw:?}");
        }
        let longest = "ż".repeat(MAX_PASSWORD_BYTES / 2);
        let with_ending = format!("{longest}\r\n");
        assert_eq!(Password::new(&with_ending).unwrap().as_str(), longest);
    }

    #[test]
    fn a_password_can_be_typed_in_any_unicode_form() {
        let expected = Password::new("ka\u{17c}dy ma has\u{142}o").unwrap();
        let typed = Password::new("kaz\u{307}dy\u{a0}ma\u{3000}has\u{142}o").unwrap();
        assert_eq!(typed.as_str(), expected.as_str());
        let emoji = "👩\u{200d}👩\u{200d}👧 ❤\u{fe0f}";
        assert_eq!(Password::new(emoji).unwrap().as_str(), emoji);
    }

    #[test]
    fn a_password_that_no_client_could_send_is_rejected() {
        for (raw, expected) in [
            ("", PasswordError::Empty),
            ("\r\n", PasswordError::Empty),
            (" \u{3000}", PasswordError::Empty),
            ("one\ntwo", PasswordError::Control),
            ("one\r\ntwo\n", PasswordError::Control),
            ("two\n\n", PasswordError::Control),
            ("two\n\r", PasswordError::Control),
            ("a\tb", PasswordError::Control),
            ("a\u{9b}b", PasswordError::Control),
            ("a\0", PasswordError::Control),
            ("\u{feff}secret\r\n", PasswordError::Invisible),
            ("\u{200b}", PasswordError::Invisible),
            ("a\u{2028}b", PasswordError::Invisible),
            (&"x".repeat(MAX_PASSWORD_BYTES + 1), PasswordError::TooLong),
            (&"ż".repeat(510), PasswordError::TooLong),
        ] {
            assert_eq!(Password::new(raw).unwrap_err(), expected, "{raw:?}");
        }
    }
}
