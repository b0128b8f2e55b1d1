//! What a session tells about how to join it.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Session;
use crate::os;

impl Session<'_> {
    /// Where the clients on this machine connect to.
    pub(super) fn nearby(&self) -> Option<SocketAddr> {
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

    pub(super) fn say_how_to_join(&self) {
        let Some(nearby) = self.nearby() else {
            return;
        };
        let (ip, port) = (nearby.ip(), nearby.port());
        let client = self.client_as_typed();
        let mut text = format!("join from here:\n  {client} {ip} {port}\n  nc {ip} {port}");
        if self.config.room.lan {
            for (index, ip) in os::addresses().into_iter().enumerate() {
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
        let text = program.display().to_string();
        if text.contains(|c: char| c.is_whitespace() || "'\"\\$`&;()<>|*?".contains(c)) {
            format!("'{}'", text.replace('\'', r"'\''"))
        } else {
            text
        }
    }
}
