//! Clients that speak the protocol on one end of a Unix socket pair.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use chat_run::net;
use chat_run::protocol::event::Answer;
use chat_run::protocol::json::Received;
use chat_run::protocol::request::Format;
use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::mpsc::Sender;
use shuttle::thread;

use super::{chance, pause};

/// The batches that a member sends, each with one write. `m` is a message, `M` is a long one, and
/// `?` is `/online`.
pub(super) type Plan = &'static [&'static str];

/// Padding of a long message, in bytes. A few of them fill a socket and a backlog.
const LONG: usize = 1000;

/// The server's ends of new connections.
pub(super) type Connections = Sender<TcpStream>;

/// The bytes read on one connection.
pub(super) struct Input {
    pub(super) name: &'static str,
    pub(super) format: Format,
    /// The event after which the member resumed.
    pub(super) after: Option<u64>,
    pub(super) bytes: Vec<u8>,
    /// The peer has read to the end; otherwise it hung up.
    pub(super) has_ended: bool,
    /// The member resumed on another connection.
    pub(super) is_superseded: bool,
}

/// Runs a plain client, which leaves when it has sent its plan.
pub(super) fn plain(name: &'static str, plan: Plan, connections: Connections) -> Input {
    let socket = connect(&connections);
    // The server accepts until the last sender is dropped.
    drop(connections);
    thread::scope(|scope| {
        scope.spawn(|| {
            write(&socket, &format!("{name}\n"));
            send(&socket, name, plan, 0);
            shut(&socket, Shutdown::Write);
        });
        let lines = if chance(8) { 3 } else { usize::MAX };
        let (bytes, has_ended) = read(&socket, lines);
        shut(&socket, Shutdown::Both);
        Input {
            name,
            format: Format::Plain,
            after: None,
            bytes,
            has_ended,
            is_superseded: false,
        }
    })
}

/// Runs a JSON client, which stays. It may lose its connection, sometimes without closing it, and
/// resume on another one. There it sends `plan_back`.
pub(super) fn json(
    name: &'static str,
    [plan, plan_back]: [Plan; 2],
    connections: Connections,
) -> Vec<Input> {
    let input = |after, (bytes, has_ended)| Input {
        name,
        format: Format::Json,
        after,
        bytes,
        has_ended,
        is_superseded: false,
    };
    let first = connect(&connections);
    thread::scope(|scope| {
        scope.spawn(|| {
            write(&first, &format!("/json {name}\n"));
            send(&first, name, plan, 0);
        });
        let lines = match chance(2) {
            true => usize::MAX,
            false => thread_rng().gen_range(2..8),
        };
        let mut came = input(None, read(&first, lines));
        let mut back = None;
        if !came.has_ended {
            if chance(2) {
                shut(&first, Shutdown::Both);
            }
            back = last_seen(&came.bytes).map(|(token, after)| {
                let socket = connect(&connections);
                write(&socket, &format!("/resume {token} {after}\n"));
                send(&socket, name, plan_back, 1);
                let back = input(Some(after), read(&socket, usize::MAX));
                shut(&socket, Shutdown::Both);
                back
            });
            came.is_superseded = back
                .as_ref()
                .is_some_and(|back| last_seen(&back.bytes).is_some());
        }
        drop(connections);
        if came.is_superseded {
            came.bytes.extend(read(&first, usize::MAX).0);
        }
        shut(&first, Shutdown::Both);
        [came].into_iter().chain(back).collect()
    })
}

/// The arguments of `/resume`: the token, and the last event that was read live, or that of the
/// welcome.
fn last_seen(bytes: &[u8]) -> Option<(String, u64)> {
    let (mut token, mut last) = (None, 0);
    for line in std::str::from_utf8(bytes).unwrap().split_inclusive('\n') {
        match Received::decode(line.trim_end()) {
            Ok(Received::Answer(Answer::Welcome(welcome))) => {
                (token, last) = (welcome.token, welcome.seq);
            }
            Ok(Received::Record(record, false)) => last = record.seq,
            // The greeting is plain, and the last line may be incomplete.
            Ok(Received::Record(_, true) | Received::Answer(_) | Received::Unknown) | Err(_) => {}
        }
    }
    token.map(|token| (token.to_string(), last))
}

fn connect(connections: &Connections) -> TcpStream {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let socket = TcpStream::from(OwnedFd::from(theirs));
    socket.set_nonblocking(true).unwrap();
    // The kernel raises this to its minimum, which holds two long messages.
    socket2::SockRef::from(&socket)
        .set_send_buffer_size(1)
        .unwrap();
    // An error means that the server has ended, which the next read detects.
    let _ = connections.send(socket);
    TcpStream::from(OwnedFd::from(ours))
}

/// The lines of each batch of a member's plan; `which` tells its plans apart.
pub(super) fn lines(name: &str, plan: Plan, which: usize) -> impl Iterator<Item = Vec<String>> {
    plan.iter().enumerate().map(move |(batch, kinds)| {
        let kinds = kinds.chars().enumerate();
        kinds
            .map(|(at, kind)| match kind {
                '?' => "/online".to_owned(),
                'M' => format!("{name} {which}.{batch}.{at} {}", "x".repeat(LONG)),
                _ => format!("{name} {which}.{batch}.{at}"),
            })
            .collect()
    })
}

fn send(socket: &TcpStream, name: &str, plan: Plan, which: usize) {
    for batch in lines(name, plan, which) {
        // Sometimes leave the room quiet, so that the thread `deliver` sleeps.
        if chance(3) {
            pause();
        }
        thread::yield_now();
        write(socket, &(batch.join("\n") + "\n"));
    }
}

/// Writes `text`. Does not block, because a socket holds the whole plan.
fn write(mut socket: &TcpStream, text: &str) {
    // An error means that the connection has ended.
    let _ = socket.write_all(text.as_bytes());
}

fn shut(socket: &TcpStream, how: Shutdown) {
    // An error means that the connection has ended.
    let _ = socket.shutdown(how);
}

/// Reads until the connection ends, and then returns true, or until there are `lines` lines.
/// Sometimes pauses first, so that the member falls behind.
fn read(socket: &TcpStream, lines: usize) -> (Vec<u8>, bool) {
    if chance(3) {
        pause();
    }
    let mut bytes = Vec::new();
    let mut buffer = [0; 700];
    while bytes.iter().filter(|byte| **byte == b'\n').count() < lines {
        thread::yield_now();
        match net::receive(socket, &mut buffer) {
            Ok(0) | Err(_) => return (bytes, true),
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
        }
    }
    (bytes, false)
}
