//! Quotes text and paths for a shell.

use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Quotes any text for a POSIX shell.
pub(crate) fn quote(text: &[u8]) -> Vec<u8> {
    let parts: Vec<&[u8]> = text.split(|&byte| byte == b'\'').collect();
    [b"'", &parts.join(&br"'\''"[..])[..], b"'"].concat()
}

/// Quotes a path for the user to type in a shell, unless it needs no quotes. A path that is not
/// UTF-8 or has control characters, which could affect the terminal, is quoted as `$'…'`. bash, zsh
/// and POSIX.1-2024 support this form.
pub(crate) fn quote_path(path: &Path) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+,:@%".contains(c);
    let bytes = path.as_os_str().as_bytes();
    match path.to_str() {
        Some(text) if text.chars().all(is_plain) => text.into(),
        Some(text) if !text.contains(char::is_control) => {
            String::from_utf8_lossy(&quote(bytes)).into_owned()
        }
        Some(_) | None => {
            let mut quoted = String::from("$'");
            for &byte in bytes {
                match byte {
                    b'\'' | b'\\' | ..b' ' | 0x7f.. => {
                        // Ignore the result, because writing to memory can't fail.
                        let _ = write!(quoted, "\\{byte:03o}");
                    }
                    _ => quoted.push(char::from(byte)),
                }
            }
            quoted + "'"
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::process::Command;

    use super::*;

    const TEXTS: [&[u8]; 7] = [
        b"/usr/bin/chat-client",
        b"/{1,2}/[x]*",
        b"/a b/{1,2}/[x]/it's \"$(x)`;&|<>*?~#!\\",
        "/żółw/e\u{301}".as_bytes(),
        b"it's $HOME `ls` \\ \"x\"\n ",
        b"/line\nline\t\x1b[31m'\\7",
        b"/\xff\x80 7",
    ];

    fn printed(shell: &str, quoted: &[u8]) -> Vec<u8> {
        let script = [b"printf %s ", quoted].concat();
        let mut command = Command::new(shell);
        command.arg("-c").arg(OsStr::from_bytes(&script));
        command.output().unwrap().stdout
    }

    #[test]
    fn a_posix_shell_reads_quoted_text_unchanged() {
        for text in TEXTS {
            assert_eq!(printed("/bin/sh", &quote(text)), text);
        }
    }

    #[test]
    fn bash_reads_a_quoted_path_unchanged() {
        for text in TEXTS {
            let quoted = quote_path(Path::new(OsStr::from_bytes(text)));
            assert!(!quoted.contains(char::is_control), "{quoted:?}");
            assert_eq!(printed("bash", quoted.as_bytes()), text, "{quoted}");
        }
    }
}
