//! Listening sockets: one for each address of `localhost` or of a host name, or a single one for
//! all interfaces.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use anyhow::{Context, Error, Result, anyhow, bail};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::cli::RoomArgs;
use crate::net;
use crate::net::resolve::{Host, resolve};
use crate::os;

/// Listen backlog: the number of connections that can wait to be accepted. It is enough for a class
/// that connects at once. With std's backlog, which is 128, the 130th connection would wait until
/// TCP sends its dropped packets again.
const BACKLOG: i32 = 4096;

/// Size of a connection's receive buffer, in bytes (Linux doubles it). It is small, so that TCP
/// soon slows down a client that sends faster than the server reads. Otherwise, several MiB per
/// client could wait in the kernel (tcp(7), `tcp_rmem`).
///
/// The size is set on the listener, from which accepted sockets inherit it. Setting it on an
/// accepted socket would be too late, because TCP negotiates the window during the handshake
/// (tcp(7)).
const RECEIVE_BUFFER: usize = 32 * 1024;

/// Limit on the bytes in a connection's send buffer that the kernel could not send yet, because the
/// peer does not read. Without this limit, a peer that never reads could fill a buffer of 4 MB
/// (tcp(7), `tcp_wmem`), which takes the kernel's memory rather than the server's. A fixed
/// `SO_SNDBUF` would also limit the bytes in flight, and so slow down a connection with a long
/// round trip. The value is large enough that the buffer does not run empty while the sending
/// thread waits for a processor.
#[cfg(target_os = "linux")]
const UNSENT_BUFFER: u32 = 256 * 1024;

/// Maximum number of ports to try if port 0 is requested for several addresses. The kernel chooses
/// a port that is free on the first address, but another address may already use it.
const FREE_PORT_TRIES: u32 = 16;

/// The addresses to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// Both addresses of `localhost`, 127.0.0.1 and ::1. A client tries both, so if the server used
    /// only one, another user of this machine could listen on the other one and get the clients'
    /// passwords.
    Loopback,
    /// All addresses of a host name, or one address.
    Host(String),
    /// Every interface, IPv4 and IPv6.
    Everyone,
}

impl From<&RoomArgs> for ListenAddress {
    fn from(room: &RoomArgs) -> Self {
        match &room.host {
            _ if room.lan => Self::Everyone,
            Some(host) => Self::Host(host.clone()),
            None => Self::Loopback,
        }
    }
}

/// Listens on `port` of every address of `target` with non-blocking sockets. Port 0 selects a free
/// port, the same for all addresses.
///
/// Addresses that this machine does not have (such as IPv6 addresses if IPv6 is disabled) are
/// skipped. It is an error if all are skipped.
///
/// # Errors
/// The name cannot be resolved; the port is in use (the error names the process that holds it, if
/// known) or not permitted; no address belongs to this machine.
pub fn listen(target: &ListenAddress, port: u16) -> Result<Vec<TcpListener>> {
    let sockets = bind(target, port)?;
    sockets
        .into_iter()
        .map(|(socket, address)| {
            set_options(&socket);
            socket
                .listen(BACKLOG)
                .and_then(|()| socket.set_nonblocking(true))
                .map_err(|error| refusal(address, error))?;
            Ok(socket.into())
        })
        .collect()
}

/// Sets the socket options of all future connections on the listener. Accepted sockets inherit the
/// options, which saves eight system calls per connection.
fn set_options(listener: &Socket) {
    net::keep_alive(listener);
    // Ignore errors here and below, because connections also work without these options.
    let _ = listener.set_tcp_nodelay(true);
    // Receive urgent data in order. Telnet sends the last byte of a data mark as urgent data (RFC
    // 854, page 9), and without this option, the kernel removes the byte from the stream (tcp(7)).
    let _ = listener.set_out_of_band_inline(true);
    // Limit the time for unacknowledged data too, because keepalive sends no probes while data is
    // unacknowledged (tcp(7), `TCP_USER_TIMEOUT`).
    #[cfg(target_os = "linux")]
    let _ = listener.set_tcp_user_timeout(Some(net::GIVEN_UP_AFTER));
    #[cfg(target_os = "linux")]
    let _ = listener.set_tcp_notsent_lowat(UNSENT_BUFFER);
}

/// Sets the size of the send buffers of all future connections, which inherit it. Returns the size
/// that the kernel reports. On Linux, it is twice `bytes`, or a larger minimum (socket(7)).
///
/// # Errors
/// The kernel refuses the size.
pub fn set_send_buffer(listeners: &[TcpListener], bytes: usize) -> Result<usize> {
    let mut set = 0;
    for listener in listeners {
        let socket = SockRef::from(listener);
        let result = socket.set_send_buffer_size(bytes);
        set = result
            .and_then(|()| socket.send_buffer_size())
            .with_context(|| format!("cannot set a send buffer of {bytes} bytes"))?;
    }
    Ok(set)
}

/// Checks whether [`listen`] would succeed now. Binds the addresses but does not listen on them, so
/// that no client can connect before the server is ready.
pub fn check(target: &ListenAddress, port: u16) -> Result<()> {
    bind(target, port).map(drop)
}

fn bind(target: &ListenAddress, port: u16) -> Result<Vec<(Socket, SocketAddr)>> {
    match target {
        ListenAddress::Loopback => {
            let addresses = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
            bind_all(&addresses.map(|ip: IpAddr| (ip, port).into()), port)
        }
        ListenAddress::Host(host) => bind_all(&resolve_host(host, port)?, port),
        ListenAddress::Everyone => bind_every_interface(port),
    }
}

/// Binds the IPv6 wildcard address, which also accepts IPv4. If this machine has no IPv6, binds the
/// IPv4 wildcard address.
fn bind_every_interface(port: u16) -> Result<Vec<(Socket, SocketAddr)>> {
    let v6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let bound = match bind_one(v6, Stack::Dual) {
        Err(error) if is_not_ours(&error) => {
            let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
            bind_one(v4, Stack::Single).map_err(|error| refusal(v4, error))
        }
        other => other.map_err(|error| refusal(v6, error)),
    }?;
    Ok(vec![bound])
}

fn bind_all(addresses: &[SocketAddr], port: u16) -> Result<Vec<(Socket, SocketAddr)>> {
    let mut tries = 1;
    loop {
        match bind_each(addresses, port) {
            // The kernel chose a port that is free on the first address, but not on a later one.
            // Try another port.
            Err(Refused { error, .. })
                if port == 0
                    && error.kind() == io::ErrorKind::AddrInUse
                    && tries < FREE_PORT_TRIES =>
            {
                tries += 1;
            }
            other => return other.map_err(|refused| refusal(refused.address, refused.error)),
        }
    }
}

struct Refused {
    address: SocketAddr,
    error: io::Error,
}

fn bind_each(
    addresses: &[SocketAddr],
    mut port: u16,
) -> Result<Vec<(Socket, SocketAddr)>, Refused> {
    let mut bound = Vec::new();
    let mut not_ours = None;
    for mut address in addresses.iter().copied() {
        address.set_port(port);
        match bind_one(address, Stack::Single) {
            Ok((socket, address)) => {
                port = address.port();
                bound.push((socket, address));
            }
            Err(error) if is_not_ours(&error) => not_ours = Some(Refused { address, error }),
            Err(error) => return Err(Refused { address, error }),
        }
    }
    match not_ours {
        Some(refused) if bound.is_empty() => Err(refused),
        _ => Ok(bound),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stack {
    /// Accepts only the IP version of the address.
    Single,
    /// Accepts IPv6 and IPv4.
    Dual,
}

/// Binds a socket. Returns the socket and its address. If the port in `address` is 0, the returned
/// address has the port that the kernel chose.
fn bind_one(address: SocketAddr, stack: Stack) -> io::Result<(Socket, SocketAddr)> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(stack == Stack::Single)?;
    }
    // Let a restarted server use the port again while connections of the previous server are still
    // in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.bind(&address.into())?;
    let bound = socket.local_addr()?.as_socket().unwrap_or(address);
    Ok((socket, bound))
}

/// All addresses of `host`, without duplicates, in the resolver's order.
fn resolve_host(host: &str, port: u16) -> Result<Vec<SocketAddr>> {
    // Accept brackets, as in `[::1]`: they are the usual notation for an IPv6 address before a
    // port.
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host);
    if let Some((address, typed)) = host.rsplit_once(':')
        && typed.parse::<u16>().is_ok()
        && (address.ends_with(']') || !address.contains(':'))
    {
        bail!("`{host}` contains a port: type the port after `-p`, as in `-p {typed}`");
    }
    resolve(bare, port, "try 127.0.0.1, or --lan for every interface")
}

/// Whether an error means that this machine doesn't have the address or its IP version.
fn is_not_ours(error: &io::Error) -> bool {
    // Compare the error number, because EAFNOSUPPORT has no stable `ErrorKind`.
    let no_such_family = Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error());
    error.raw_os_error() == no_such_family || error.kind() == io::ErrorKind::AddrNotAvailable
}

/// Returns the error message, with a hint, for an address on which the server cannot listen.
fn refusal(address: SocketAddr, error: io::Error) -> Error {
    let port = address.port();
    let reason = match error.kind() {
        io::ErrorKind::AddrInUse => {
            let holder = os::port_holder(port)
                .map(|holder| format!(" by {holder}"))
                .unwrap_or_default();
            format!(
                "port {port} is in use{holder}; try another one, or `-p 0` to take any free one"
            )
        }
        io::ErrorKind::PermissionDenied => format!(
            "port {port} needs privileges, as those below 1024 do; try a higher one, such as `-p 9999`"
        ),
        io::ErrorKind::AddrNotAvailable => format!(
            "this machine has no address {}; try 127.0.0.1, or --lan for every interface",
            Host(address)
        ),
        _ => error.to_string(),
    };
    anyhow!("cannot listen on {address}: {reason}")
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpStream;
    #[cfg(target_os = "linux")]
    use std::time::Duration;

    use super::*;

    fn host(name: &str) -> ListenAddress {
        ListenAddress::Host(name.into())
    }

    fn port_of(listeners: &[TcpListener]) -> u16 {
        listeners[0].local_addr().unwrap().port()
    }

    #[test]
    fn port_0_selects_a_free_port_that_accepts_connections() {
        let listeners = listen(&host("127.0.0.1"), 0).unwrap();
        assert_eq!(listeners.len(), 1);
        TcpStream::connect(("127.0.0.1", port_of(&listeners))).unwrap();
    }

    #[test]
    fn a_server_has_the_same_port_on_all_addresses_of_a_host_name() {
        let listeners = listen(&host("localhost"), 0).unwrap();
        let port = port_of(&listeners);
        for listener in &listeners {
            let address = listener.local_addr().unwrap();
            assert_eq!(address.port(), port);
            TcpStream::connect(address).unwrap();
        }
    }

    #[test]
    fn both_loopback_addresses_get_the_same_port_unless_one_of_them_is_in_use() {
        let listeners = listen(&ListenAddress::Loopback, 0).unwrap();
        let port = port_of(&listeners);
        TcpStream::connect(("127.0.0.1", port)).unwrap();
        let Some(v6) = listeners.get(1) else {
            return; // This machine has no IPv6.
        };
        assert_eq!(v6.local_addr().unwrap(), (Ipv6Addr::LOCALHOST, port).into());
        TcpStream::connect(("::1", port)).unwrap();
        drop(listeners);
        let _other = TcpListener::bind(("::1", port)).unwrap();
        for result in [
            check(&ListenAddress::Loopback, port),
            listen(&ListenAddress::Loopback, port).map(drop),
        ] {
            let error = result.unwrap_err().to_string();
            let reason = format!("cannot listen on [::1]:{port}: port {port} is in use");
            assert!(error.starts_with(&reason), "{error}");
        }
    }

    #[test]
    fn an_ipv6_address_may_be_in_brackets() {
        match listen(&host("[::1]"), 0) {
            Ok(listeners) => assert!(listeners[0].local_addr().unwrap().is_ipv6()),
            Err(error) => assert!(error.to_string().contains("no address ::1"), "{error}"),
        }
    }

    #[test]
    fn a_port_in_the_host_is_refused_with_the_option_to_use() {
        for (typed, port) in [
            ("127.0.0.1:8080", Some("8080")),
            ("localhost:0", Some("0")),
            ("[::1]:9999", Some("9999")),
            ("::1:9999", None),
            ("no-such-host.invalid:http", None),
        ] {
            let error = check(&host(typed), 0).unwrap_err().to_string();
            let found = error
                .split_once(" contains a port: ")
                .map(|(_, advice)| advice);
            let advice = port.map(|port| format!("type the port after `-p`, as in `-p {port}`"));
            assert_eq!(found, advice.as_deref(), "{error}");
        }
    }

    #[test]
    fn an_ipv4_mapped_address_is_listened_on_as_ipv4() {
        let listeners = listen(&host("::ffff:127.0.0.1"), 0).unwrap();
        assert!(listeners[0].local_addr().unwrap().ip() == Ipv4Addr::LOCALHOST);
        TcpStream::connect((Ipv4Addr::LOCALHOST, port_of(&listeners))).unwrap();
    }

    #[test]
    fn a_link_local_address_can_be_listened_on_only_on_its_interface() {
        // Bind without listening, so that no other machine can connect.
        let link_local = nix::ifaddrs::getifaddrs().unwrap().find_map(|interface| {
            let ip = interface.address?.as_sockaddr_in6()?.ip();
            ip.is_unicast_link_local()
                .then_some((ip, interface.interface_name))
        });
        if let Some((ip, interface)) = link_local {
            let bound = bind(&host(&format!("{ip}%{interface}")), 0).unwrap();
            assert_eq!(Host(bound[0].1).to_string(), format!("{ip}%{interface}"));
            let error = check(&host(&ip.to_string()), 0).unwrap_err().to_string();
            assert!(error.ends_with(&format!("try {ip}%{interface}")), "{error}");
            // An address that no machine has.
            let elsewhere = format!("fe80::ffff:ffff:ffff:ffff%{interface}");
            let error = check(&host(&elsewhere), 0).unwrap_err().to_string();
            let reason = format!("this machine has no address {elsewhere};");
            assert!(error.contains(&reason), "{error}");
        }
    }

    #[test]
    fn a_server_that_listens_on_every_interface_accepts_ipv4() {
        let listeners = listen(&ListenAddress::Everyone, 0).unwrap();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port_of(&listeners))).unwrap();
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_dead_peer_is_probed_after_60_s_and_disconnected_after_90_s() {
        let listeners = listen(&host("127.0.0.1"), 0).unwrap();
        let _peer = TcpStream::connect(("127.0.0.1", port_of(&listeners))).unwrap();
        let connection = Socket::from(listeners[0].accept().unwrap().0);
        assert!(connection.tcp_nodelay().unwrap());
        assert!(connection.keepalive().unwrap());
        let seconds = Duration::from_secs;
        assert_eq!(connection.tcp_keepalive_time().unwrap(), seconds(60));
        assert_eq!(connection.tcp_keepalive_interval().unwrap(), seconds(10));
        assert_eq!(connection.tcp_keepalive_retries().unwrap(), 3);
        assert_eq!(connection.tcp_user_timeout().unwrap(), Some(seconds(90)));
    }

    #[test]
    fn the_error_for_a_port_in_use_names_its_process_and_a_remedy() {
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = holder.local_addr().unwrap().port();
        for target in [host("127.0.0.1"), ListenAddress::Everyone] {
            let error = listen(&target, port).unwrap_err().to_string();
            assert!(error.contains(&format!("port {port} is in use")), "{error}");
            assert!(error.contains("`-p 0`"), "{error}");
            #[cfg(target_os = "linux")]
            assert!(
                error.contains(&format!("(pid {})", std::process::id())),
                "{error}"
            );
            assert!(check(&target, port).is_err());
        }
    }

    #[test]
    fn a_port_can_be_reused_at_once_despite_a_connection_in_time_wait() {
        let listeners = listen(&host("127.0.0.1"), 0).unwrap();
        let port = port_of(&listeners);
        let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (accepted, _) = listeners[0].accept().unwrap();
        // Close the server's side first, which leaves the connection in TIME_WAIT on that side.
        drop((accepted, listeners));
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        drop(client);
        check(&host("127.0.0.1"), port).unwrap();
        listen(&host("127.0.0.1"), port).unwrap();
    }

    #[test]
    fn checking_a_port_does_not_accept_connections() {
        let bound = bind(&host("127.0.0.1"), 0).unwrap();
        let port = bound[0].1.port();
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    }

    #[test]
    fn the_error_for_an_unknown_host_contains_its_name() {
        let error = listen(&host("no-such-host.invalid"), 0).unwrap_err();
        let text = format!("{error:#}");
        assert!(
            text.contains("cannot find the address of `no-such-host.invalid`"),
            "{text}"
        );
    }

    #[test]
    fn an_address_of_another_machine_is_refused() {
        // This address is reserved for documentation (RFC 5737), so no machine has it.
        let error = listen(&host("192.0.2.1"), 0).unwrap_err().to_string();
        assert!(
            error.contains("this machine has no address 192.0.2.1"),
            "{error}"
        );
    }
}
