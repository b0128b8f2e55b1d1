//! What a session tells about how to join it.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::launcher::session::Session;
use crate::net;

impl Session<'_> {
    /// Where the clients on this machine connect to.
    pub(crate) fn nearby(&self) -> Option<SocketAddr> {
        let address = self.address?;
        let ip = match address.ip() {
            // With --lan this takes IPv4 as well, which more tools of a course know.
            IpAddr::V6(ip) if ip.is_unspecified() && !self.config.room.lan => {
                Ipv6Addr::LOCALHOST.into()
            }
            ip if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            ip => ip,
        };
        Some(SocketAddr::new(ip, address.port()))
    }

    pub(crate) fn say_how_to_join(&self) {
        let Some(nearby) = self.nearby() else {
            return;
        };
        let (ip, port) = (nearby.ip(), nearby.port());
        let client = self.client_as_typed();
        let mut text = format!("join from here:\n  {client} {ip} {port}\n  nc {ip} {port}");
        if self.config.room.lan {
            for (index, ip) in net::addresses().into_iter().enumerate() {
                if index == 0 {
                    text.push_str("\njoin from elsewhere:");
                }
                // Writing to a String does not fail.
                let _ = write!(text, "\n  chat-client {ip} {port}\n  nc {ip} {port}");
            }
        }
        self.output.say(&text);
        let max = usize::from(self.config.room.max_clients);
        if max < self.config.clients {
            self.output.warn(&format!(
                "only {max} of the {} clients can join: the room is for {max} (-m)",
                self.config.clients
            ));
        }
    }

    /// How to call the client in a shell: by its name where that finds it.
    fn client_as_typed(&self) -> String {
        let program = self.client_program;
        let on_path = which::which("chat-client").is_ok_and(|found| {
            found
                .canonicalize()
                .is_ok_and(|found| program.canonicalize().is_ok_and(|own| own == found))
        });
        if on_path {
            return "chat-client".into();
        }
        quoted(program)
    }
}

/// A path as a shell reads it.
fn quoted(path: &Path) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+,:@%".contains(c);
    match path.to_str() {
        Some(text) if text.chars().all(is_plain) => text.into(),
        Some(text) if !text.contains(char::is_control) => {
            format!("'{}'", text.replace('\'', r"'\''"))
        }
        // It is no text, or would do something to the terminal.
        Some(_) | None => {
            let mut quoted = String::from("$'");
            for &byte in path.as_os_str().as_bytes() {
                match byte {
                    b'\'' | b'\\' | ..b' ' | 0x7f.. => {
                        // Writing to a String does not fail.
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

    #[test]
    fn a_shell_reads_any_path_as_it_is() {
        for path in [
            &b"/usr/bin/chat-client"[..],
            b"/{1,2}/[x]*",
            b"/a b/{1,2}/[x]/it's \"$(x)`;&|<>*?~#!\\",
            "/żółw/e\u{301}".as_bytes(),
            b"/line\nline\t\x1b[31m'\\7",
            b"/\xff\x80 7",
        ] {
            let path = Path::new(OsStr::from_bytes(path));
            let script = format!("printf %s {}", quoted(path));
            let printed = Command::new("bash").args(["-c", &script]).output().unwrap();
            assert_eq!(printed.stdout, path.as_os_str().as_bytes(), "{script}");
        }
    }
}
