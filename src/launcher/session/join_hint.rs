//! The hint that tells the user how to join a session.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::launcher::session::Session;
use crate::launcher::shell;
use crate::net;
use crate::net::resolve::Host;
use crate::protocol::password::NC_HINT;

impl Session<'_> {
    /// The address to which clients on this machine connect. `None` until the server listens.
    pub(crate) fn local_address(&self) -> Option<SocketAddr> {
        let mut address = self.address?;
        if address.ip().is_unspecified() {
            // With --lan, the server accepts IPv4 even if its address is IPv6. Use IPv4 then,
            // because more of the tools that courses use support it.
            address.set_ip(if address.is_ipv6() && !self.config.room.lan {
                Ipv6Addr::LOCALHOST.into()
            } else {
                Ipv4Addr::LOCALHOST.into()
            });
        }
        Some(address)
    }

    pub(crate) fn say_how_to_join(&self) {
        let Some(address) = self.local_address() else {
            return;
        };
        let (host, port) = (Host(address), address.port());
        let client = self.client_in_shell();
        let mut text = format!("join from here:\n  {client} {host} {port}\n  nc {host} {port}");
        if self.config.room.lan {
            for (index, ip) in net::addresses().into_iter().enumerate() {
                if index == 0 {
                    text.push_str("\njoin from elsewhere:");
                }
                // Ignore the result, because writing to memory can't fail.
                let _ = write!(text, "\n  chat-client {ip} {port}\n  nc {ip} {port}");
            }
        }
        if self.config.room.password.is_some() {
            let _ = write!(text, "\n{NC_HINT}");
        }
        self.output.say(&text);
        let max = usize::from(self.config.room.max_clients);
        if max < self.config.clients {
            self.output.warn(&format!(
                "only {max} of the {} clients can join: the room's limit is {max} (-m)",
                self.config.clients
            ));
        }
    }

    /// The shell command that starts a client: `chat-client` if the shell finds this client on
    /// PATH, and its path otherwise.
    fn client_in_shell(&self) -> String {
        let program = self.client_program;
        let on_path = which::which("chat-client").is_ok_and(|found| {
            found
                .canonicalize()
                .is_ok_and(|found| program.canonicalize().is_ok_and(|own| own == found))
        });
        if on_path {
            return "chat-client".into();
        }
        shell::quote_path(program)
    }
}
