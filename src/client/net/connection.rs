//! A TCP connection to a server: opening it, and its sending side.

use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use socket2::{Domain, Socket, Type};

use crate::client::net::address::Address;
use crate::net::resolve::resolve;

/// How long to wait for an address to accept the connection before trying the next one.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The sending side of a connection, after the login. Clones share the connection.
#[derive(Clone)]
pub(crate) struct Connection(Arc<TcpStream>);

impl Connection {
    pub(crate) fn new(socket: Arc<TcpStream>) -> Self {
        Self(socket)
    }

    /// Sends a line. Blocks while the server does not read; [`Connection::close`] unblocks it.
    ///
    /// # Errors
    /// The connection is closed.
    pub(crate) fn send(&self, line: &str) -> io::Result<()> {
        (&*self.0).write_all(format!("{line}\n").as_bytes())
    }

    /// Closes the sending side. The server handles all lines sent so far, and then closes the
    /// connection.
    pub(crate) fn finish(&self) {
        // Ignore errors, which mean that the connection is over already.
        let _ = self.0.shutdown(Shutdown::Write);
    }

    /// Closes the connection. Threads that are blocked on the connection then end.
    pub(crate) fn close(&self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// Connects to the first address of `server` that accepts the connection. `receive_buffer` is the
/// size of the socket's receive buffer in bytes, or `None` if the kernel chooses the size.
///
/// # Errors
/// The host is unknown, or no address accepts. The message gives a reason for each address.
pub(crate) fn connect(
    server: &Address,
    receive_buffer: Option<usize>,
) -> Result<(TcpStream, SocketAddr)> {
    let Address { host, port } = server;
    let addresses = match resolve(host, *port, "check the name") {
        Ok(addresses) => addresses,
        // Treat `localhost` as this machine, even if no hosts file says so (RFC 6761, section 6.3).
        Err(_) if host == "localhost" => vec![
            (Ipv6Addr::LOCALHOST, *port).into(),
            (Ipv4Addr::LOCALHOST, *port).into(),
        ],
        Err(error) => return Err(error),
    };
    connect_to_any(addresses.into_iter(), receive_buffer)
}

fn connect_to_any(
    addresses: impl Iterator<Item = SocketAddr>,
    receive_buffer: Option<usize>,
) -> Result<(TcpStream, SocketAddr)> {
    let mut tried: Vec<(SocketAddr, String)> = Vec::new();
    for address in addresses {
        // Skip duplicates, which a resolver may return.
        if tried.iter().any(|(before, _)| *before == address) {
            continue;
        }
        match connect_to(address, receive_buffer) {
            Ok(socket) => return Ok((socket, address)),
            Err(error) => tried.push((address, reason(&error))),
        }
    }
    let tried: Vec<String> = tried
        .iter()
        .map(|(address, reason)| format!("{address} ({reason})"))
        .collect();
    Err(anyhow!(
        "cannot connect to {}: is `chat-server` running there?",
        tried.join(" or ")
    ))
}

fn connect_to(address: SocketAddr, receive_buffer: Option<usize>) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if let Some(bytes) = receive_buffer {
        // Set the size before connecting: a later change does not have the full effect (tcp(7)).
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.connect_timeout(&address.into(), CONNECT_TIMEOUT)?;
    Ok(socket.into())
}

/// Describes a socket error in a few words.
pub(crate) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".into(),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "timed out".into(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "connection reset".into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Returns two addresses on which no one listens.
    fn unused_addresses() -> [SocketAddr; 2] {
        // Keep both ports in use until both are chosen, so that they differ.
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        listeners.map(|listener| listener.local_addr().unwrap())
    }

    #[test]
    fn a_client_tries_each_address_of_a_server_until_one_accepts_the_connection() {
        let [unused, _] = unused_addresses();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let good = listener.local_addr().unwrap();
        let (_, address) = connect_to_any([unused, good].into_iter(), None).unwrap();
        assert_eq!(address, good);
    }

    #[test]
    fn if_no_address_accepts_the_connection_the_error_lists_each_address_once() {
        let [one, other] = unused_addresses();
        let error = connect_to_any([one, other, one].into_iter(), None).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "cannot connect to {one} (connection refused) or {other} (connection refused): \
                 is `chat-server` running there?"
            )
        );
    }
}
