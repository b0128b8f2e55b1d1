//! The locale of the programs that the launcher starts.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

/// The environment variable, with its value, that makes child processes use UTF-8. `None` if the
/// current locale uses UTF-8 and is installed. In any other locale, gnome-terminal does not start
/// and xterm does not show `ł`.
pub(crate) fn utf8_override() -> Option<(&'static str, &'static str)> {
    static IS_INSTALLED: LazyLock<bool> = LazyLock::new(is_installed);
    let (variable, value) = character_type();
    if is_utf8(&value) && *IS_INSTALLED {
        return None;
    }
    // Choose the variable that takes effect: LC_ALL overrides LC_CTYPE, which overrides LANG
    // (locale(7)).
    let variable = if variable == "LC_ALL" {
        "LC_ALL"
    } else {
        "LC_CTYPE"
    };
    Some((variable, "C.UTF-8"))
}

/// Whether the environment selects a UTF-8 locale, installed or not.
pub(crate) fn asks_for_utf8() -> bool {
    is_utf8(&character_type().1)
}

/// The name and value of the environment variable that determines the character encoding.
fn character_type() -> (&'static str, OsString) {
    ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .find_map(|name| Some((name, env::var_os(name).filter(|value| !value.is_empty())?)))
        .unwrap_or(("LANG", OsString::new()))
}

/// Whether the UTF-8 locale that the environment selects is installed. If it is, `locale charmap`
/// prints UTF-8. The environment may name a locale that is not installed here, for example if an
/// ssh client passed on the variables. If the program `locale` is missing, assumes that the locale
/// is installed.
fn is_installed() -> bool {
    let mut locale = Command::new("locale");
    locale.arg("charmap").process_group(0).stdin(Stdio::null());
    let output = locale
        .output()
        .ok()
        .filter(|output| output.status.success());
    output.is_none_or(|output| output.stdout.trim_ascii() == b"UTF-8")
}

fn is_utf8(locale: &OsStr) -> bool {
    let locale = locale.to_string_lossy().to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_utf8_locale_is_recognized_however_its_encoding_is_spelled() {
        for locale in ["C.UTF-8", "pl_PL.utf8", "en_GB.UTF-8@euro"] {
            assert!(is_utf8(OsStr::new(locale)), "{locale}");
        }
        for locale in ["", "C", "POSIX", "pl_PL", "pl_PL.ISO-8859-2"] {
            assert!(!is_utf8(OsStr::new(locale)), "{locale}");
        }
    }
}
