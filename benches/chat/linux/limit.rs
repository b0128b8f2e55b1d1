//! The limit: a server that does only what any server must do to deliver messages. It has no names,
//! rules, answers or backlog. In one thread, it waits on epoll, reads, and sends all lines to each
//! client with one write.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use anyhow::Result;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use socket2::{Domain, Socket, Type};

use super::dialect::WELCOME;

/// Event data of the listening socket; clients use their index.
const LISTENER: u64 = u64::MAX;

struct Client {
    socket: TcpStream,
    /// An incomplete line.
    rest: Vec<u8>,
}

/// Serves until the process is killed.
pub(super) fn serve(port: u16) -> Result<()> {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    listener.listen(4096)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(
        &epoll,
        &listener,
        EventData::new_u64(LISTENER),
        EventFlags::IN,
    )?;
    let mut clients: Vec<Option<Client>> = Vec::new();
    let (mut events, mut buffer) = (Vec::with_capacity(1024), vec![0; 64 * 1024]);
    let mut lines = Vec::new();
    loop {
        events.clear();
        epoll::wait(&epoll, spare_capacity(&mut events), None)?;
        for event in &events {
            if event.data.u64() == LISTENER {
                let mut socket = TcpStream::from(listener.accept()?.0);
                socket.set_nodelay(true)?;
                socket.set_nonblocking(true)?;
                let index = EventData::new_u64(clients.len() as u64);
                epoll::add(&epoll, &socket, index, EventFlags::IN)?;
                let _ = writeln!(socket, "{WELCOME}");
                let rest = Vec::new();
                clients.push(Some(Client { socket, rest }));
                continue;
            }
            let slot = &mut clients[usize::try_from(event.data.u64())?];
            let Some(client) = slot else { continue };
            match client.socket.read(&mut buffer) {
                Ok(0) | Err(_) => *slot = None,
                Ok(count) => {
                    let read = &buffer[..count];
                    let end = memchr::memrchr(b'\n', read).map_or(0, |at| at + 1);
                    if end > 0 {
                        lines.append(&mut client.rest);
                    }
                    lines.extend_from_slice(&read[..end]);
                    client.rest.extend_from_slice(&read[end..]);
                }
            }
        }
        if !lines.is_empty() {
            for client in clients.iter_mut().flatten() {
                // Bytes that do not fit are lost: nothing is buffered for a slow client.
                let _ = client.socket.write(&lines);
            }
            lines.clear();
        }
    }
}
