//! The hint that tells the user how to join a session.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::launcher::session::Session;
use crate::launcher::shell;
use crate::net;

impl Session<'_> {
    /// The address to which clients on this machine connect. `None` until the server listens.
    pub(crate) fn local_address(&self) -> Option<SocketAddr> {
        let address = self.address?;
        let ip = match address.ip() {
            // With --lan, use IPv4, which the server also accepts then, and which more of the tools
            // used in courses support.
            IpAddr::V6(ip) if ip.is_unspecified() && !self.config.room.lan => {
                Ipv6Addr::LOCALHOST.into()
            }
            ip if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            ip => ip,
        };
        Some(SocketAddr::new(ip, address.port()))
    }

    pub(crate) fn say_how_to_join(&self) {
        let Some(address) = self.local_address() else {
            return;
        };
        let (ip, port) = (address.ip(), address.port());
        let client = self.client_in_shell();
        let mut text = format!("join from here:\n  {client} {ip} {port}\n  nc {ip} {port}");
        if self.config.room.lan {
            for (index, ip) in net::addresses().into_iter().enumerate() {
                if index == 0 {
                    text.push_str("\njoin from elsewhere:");
                }
                // Ignore the result, because writing to memory can't fail.
                let _ = write!(text, "\n  chat-client {ip} {port}\n  nc {ip} {port}");
            }
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
