//! A snapshot: everything that the live view shows, from the server and from the kernel.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::os;
use crate::probe::kernel::{Connection, ThreadSamples};
use crate::probe::sample::Sample;

/// A client of the session, as the session's thread knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LiveClient {
    /// The client's name in the room.
    pub(crate) name: String,
    pub(crate) pid: i32,
    /// The time at which the client was frozen. `None` if it is not frozen.
    pub(crate) frozen_at: Option<Instant>,
}

/// A connection of the server, and the member at its other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemberConnection {
    /// The member's name, or the peer's address if the member is not a client of this session.
    pub(crate) name: String,
    pub(crate) connection: Connection,
}

/// The state of the server at one time, with earlier values from which rates are computed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    /// The server's last sample, and the time of its arrival. `None` if the server has not answered
    /// yet.
    pub(crate) sample: Option<(Sample, Instant)>,
    /// A sample from about a second before `sample`.
    pub(crate) sample_before: Option<Sample>,
    /// The sample directly before `sample`.
    pub(crate) last_sample: Option<Sample>,
    /// The server's threads. `None` on systems that do not show them.
    pub(crate) threads: Option<ThreadSamples>,
    /// The processor times of the threads about a second earlier, by thread ID, and the time that
    /// has passed since.
    pub(crate) cpu_before: Option<(Duration, Vec<(i32, Duration)>)>,
    /// The connections of the server.
    pub(crate) connections: Vec<MemberConnection>,
    pub(crate) clients: Vec<LiveClient>,
}

impl Snapshot {
    /// The name of a thread of the server, or its ID if the name is not known.
    pub(crate) fn thread_name(&self, tid: u32) -> String {
        let threads = self.threads.iter().flat_map(|all| &all.threads);
        let found = threads.into_iter().find(|thread| thread.tid as u32 == tid);
        found.map_or_else(|| format!("thread {tid}"), |thread| thread.name.clone())
    }

    /// The share of one processor that a thread has used in roughly the last second, from 0 to 1.
    /// `None` for a thread that has just started.
    pub(crate) fn processor_share(&self, tid: i32) -> Option<f64> {
        let (elapsed, before) = self.cpu_before.as_ref()?;
        let threads = &self.threads.as_ref()?.threads;
        let now = threads.iter().find(|thread| thread.tid == tid)?.cpu;
        let (_, before) = before.iter().find(|(id, _)| *id == tid)?;
        let used = now.saturating_sub(*before).as_secs_f64();
        (!elapsed.is_zero()).then(|| used / elapsed.as_secs_f64())
    }

    /// The client whose reader thread in the server has this name.
    pub(crate) fn client_of_thread(&self, thread: &str) -> Option<&LiveClient> {
        let mut clients = self.clients.iter();
        clients.find(|client| os::thread_name("c:", &client.name) == thread)
    }
}

/// Names the members at the other ends of `connections`. `addresses` returns the addresses of the
/// sockets of a client's process.
pub(crate) fn name_connections(
    connections: Vec<Connection>,
    clients: &[LiveClient],
    addresses: impl Fn(i32) -> Vec<SocketAddr>,
) -> Vec<MemberConnection> {
    let addresses: Vec<_> = clients.iter().map(|client| addresses(client.pid)).collect();
    let name = |peer: &SocketAddr| {
        let owner = addresses.iter().position(|own| own.contains(peer));
        owner.map_or_else(|| peer.to_string(), |index| clients[index].name.clone())
    };
    connections
        .into_iter()
        .map(|connection| MemberConnection {
            name: name(&connection.peer),
            connection,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_has_the_name_of_its_client_or_the_address_of_its_peer() {
        let connection = |port: u16| Connection {
            peer: ([127, 0, 0, 1], port).into(),
            unsent: 0,
            unread: None,
        };
        let ala = LiveClient {
            name: "ala".into(),
            pid: 7,
            frozen_at: None,
        };
        let addresses = |pid| match pid {
            7 => vec![connection(5001).peer, connection(5002).peer],
            _ => Vec::new(),
        };
        let named = name_connections(vec![connection(5002), connection(5003)], &[ala], addresses);
        let names: Vec<&str> = named.iter().map(|member| &*member.name).collect();
        assert_eq!(names, ["ala", "127.0.0.1:5003"]);
    }

    #[test]
    fn the_thread_of_a_client_with_a_long_name_is_found() {
        let name = "a-name-that-is-too-long";
        let snapshot = Snapshot {
            clients: vec![LiveClient {
                name: name.into(),
                pid: 7,
                frozen_at: None,
            }],
            ..Snapshot::default()
        };
        let thread = os::thread_name("c:", name);
        assert_eq!(snapshot.client_of_thread(&thread).unwrap().name, name);
        assert_eq!(snapshot.client_of_thread("c:other"), None);
    }
}
