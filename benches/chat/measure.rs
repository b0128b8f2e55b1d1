//! What is measured, and how. Every peer gets the same messages from the same load, on the same machine, in turns.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::load::{self, Lines, Load, MARK, Turn};
use crate::peers::{Peer, Server};

/// Those who talk, where it is not told otherwise: enough that no single connection is the limit.
const SENDERS: usize = 8;

/// Messages that may be under way: enough that nobody waits for the load.
const UNDER_WAY: u64 = 256;

/// A run is warmed up for this part of its time.
const WARM_UP: f64 = 0.25;

/// A number that the table shows.
#[derive(Clone, Copy)]
pub(crate) struct Quantity {
    pub(crate) what: &'static str,
    pub(crate) unit: Unit,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    PerSecond,
    Seconds,
    Bytes,
    Count,
}

const DELIVERIES: Quantity = Quantity {
    what: "deliveries/s",
    unit: Unit::PerSecond,
};
const COST: Quantity = Quantity {
    what: "CPU per delivery",
    unit: Unit::Seconds,
};
const LATENCY: [Quantity; 3] = [
    Quantity {
        what: "latency p50",
        unit: Unit::Seconds,
    },
    Quantity {
        what: "latency p99",
        unit: Unit::Seconds,
    },
    Quantity {
        what: "latency p99.9",
        unit: Unit::Seconds,
    },
];
const PERCENTILES: [f64; 3] = [0.5, 0.99, 0.999];
const JOIN_TIME: Quantity = Quantity {
    what: "time, all notices delivered",
    unit: Unit::Seconds,
};
const MEMORY: Quantity = Quantity {
    what: "memory per client",
    unit: Unit::Bytes,
};
const THREADS: Quantity = Quantity {
    what: "threads",
    unit: Unit::Count,
};

/// A run against one server, repeated in turns with the others.
pub(crate) struct Measure {
    /// Its name on the command line.
    pub(crate) key: &'static str,
    /// Its name in the table.
    pub(crate) title: &'static str,
    pub(crate) quantities: &'static [Quantity],
    kind: Kind,
}

enum Kind {
    /// As many messages as go through, with a bound on those under way.
    Flow {
        clients: usize,
        senders: usize,
        under_way: u64,
    },
    /// So many messages a second, whatever the server does.
    Steady { clients: usize, rate: u32 },
    /// So many clients come at once.
    Join { clients: usize },
}

pub(crate) const MEASURES: [Measure; 7] = [
    Measure {
        key: "10",
        title: "10 clients",
        quantities: &[DELIVERIES, COST],
        kind: Kind::Flow {
            clients: 10,
            senders: SENDERS,
            under_way: UNDER_WAY,
        },
    },
    Measure {
        key: "100",
        title: "100 clients",
        quantities: &[DELIVERIES, COST],
        kind: Kind::Flow {
            clients: 100,
            senders: SENDERS,
            under_way: UNDER_WAY,
        },
    },
    Measure {
        key: "1000",
        title: "1,000 clients",
        quantities: &[DELIVERIES, COST],
        kind: Kind::Flow {
            clients: 1000,
            senders: SENDERS,
            under_way: UNDER_WAY,
        },
    },
    Measure {
        key: "one",
        title: "one message at a time, 100 clients",
        quantities: &[DELIVERIES, COST],
        kind: Kind::Flow {
            clients: 100,
            senders: SENDERS,
            under_way: 1,
        },
    },
    Measure {
        key: "quiet",
        title: "200 messages/s to 100 clients",
        quantities: &LATENCY,
        kind: Kind::Steady {
            clients: 100,
            rate: 200,
        },
    },
    Measure {
        key: "few",
        title: "200 messages/s to 5 clients",
        quantities: &LATENCY,
        kind: Kind::Steady {
            clients: 5,
            rate: 200,
        },
    },
    Measure {
        key: "join",
        title: "2,000 clients join",
        quantities: &[JOIN_TIME, MEMORY, THREADS],
        kind: Kind::Join { clients: 2000 },
    },
];

/// What a run found.
pub(crate) struct Outcome {
    /// One for each of the measure's quantities, in their order.
    pub(crate) values: Vec<f64>,
    /// Deliveries that never came.
    pub(crate) lost: u64,
}

impl Measure {
    /// Starts a server and measures it, for so many seconds where that can be chosen.
    pub(crate) fn run(&self, peer: Peer, seconds: f64) -> Result<Outcome> {
        let server = Server::start(peer)?;
        match self.kind {
            Kind::Flow {
                clients,
                senders,
                under_way,
            } => {
                let load = Load::connect(&server, clients)?;
                flow(&server, load, senders.min(clients), under_way, seconds)
            }
            Kind::Steady { clients, rate } => {
                let load = Load::connect(&server, clients)?;
                steady(load, rate, seconds)
            }
            Kind::Join { clients } => join(&server, clients),
        }
    }
}

/// Deliveries in a second, and what one costs the server, with `under_way` messages in the air at most. Those who talk take turns.
fn flow(
    server: &Server,
    mut load: Load,
    senders: usize,
    under_way: u64,
    seconds: f64,
) -> Result<Outcome> {
    let receivers = load.receivers() as u64;
    let (mut sent, mut received, mut sender) = (0, 0, 0);
    let mut window = None;
    let begin = Instant::now();
    let warm = begin + Duration::from_secs_f64(seconds * WARM_UP);
    let end = warm + Duration::from_secs_f64(seconds);
    let values = loop {
        let free = under_way - (sent - received / receivers);
        let share = free.div_ceil(senders as u64);
        let mut left = free;
        while left > 0 {
            let count = share.min(left);
            load.say(sender, sent..sent + count)?;
            sender = (sender + 1) % senders;
            sent += count;
            left -= count;
        }
        if load.turn(|_, bytes| received += marks(bytes))? == Turn::Silence {
            break None;
        }
        let now = Instant::now();
        if window.is_none() && now >= warm {
            window = Some((now, received, server.processor_time()?));
        }
        if let Some((start, before, processor)) = window
            && now >= end
        {
            let deliveries = to_f64(received - before);
            let processor = server.processor_time()? - processor;
            break Some(vec![
                deliveries / (now - start).as_secs_f64(),
                processor / deliveries,
            ]);
        }
    };
    while received < sent * receivers {
        if load.turn(|_, bytes| received += marks(bytes))? == Turn::Silence {
            break;
        }
    }
    Ok(Outcome {
        values: values.unwrap_or_else(|| vec![0.0, f64::NAN]),
        lost: sent * receivers - received,
    })
}

fn marks(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(MARK, bytes).count() as u64
}

/// How long a message takes to each client, from just before it is written until it has been read. The load does not wait for
/// what it sent, so a server that stalls does not get fewer messages.
fn steady(mut load: Load, rate: u32, seconds: f64) -> Result<Outcome> {
    let receivers = load.receivers() as u64;
    let senders = SENDERS.min(load.len());
    let mut lines = Lines::new(load.len());
    let (mut sent, mut received) = (0, 0);
    let mut latencies = Vec::new();
    let begin = Instant::now();
    // Lossless for 500 years.
    #[expect(clippy::cast_possible_truncation, reason = "fits for 500 years")]
    let nanos = || begin.elapsed().as_nanos() as u64;
    let rate_f64 = f64::from(rate);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "small"
    )]
    let (warm, total) = (
        (rate_f64 * seconds * WARM_UP) as u64,
        (rate_f64 * seconds * (1.0 + WARM_UP)) as u64,
    );
    let mut warm_until = u64::MAX;
    load.set_timer(rate)?;
    while received < total * receivers {
        let turn = load.turn(|client, bytes| {
            let now = nanos();
            lines.feed(client, bytes, |line| {
                if let Some(stamp) = load::number(line) {
                    received += 1;
                    if stamp >= warm_until {
                        latencies.push(now - stamp);
                    }
                }
            });
        })?;
        let Turn::Fired(due) = turn else { break };
        for _ in 0..due.min(total - sent) {
            let stamp = nanos();
            if sent == warm {
                warm_until = stamp;
            }
            load.say(usize::try_from(sent)? % senders, std::iter::once(stamp))?;
            sent += 1;
        }
    }
    latencies.sort_unstable();
    Ok(Outcome {
        values: PERCENTILES
            .iter()
            .map(|part| percentile(&latencies, *part))
            .collect(),
        lost: sent * receivers - received,
    })
}

/// In seconds, from sorted nanoseconds.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "an index, rounded down"
)]
fn percentile(sorted: &[u64], part: f64) -> f64 {
    let at = (sorted.len() as f64 * part) as usize;
    sorted.get(at).map_or(f64::NAN, |nanos| *nanos as f64 / 1e9)
}

/// How long so many clients take to join, each told of each that comes after it; and what the server takes for each when all
/// are there and idle: what `/proc` calls resident, without the kernel's part of the sockets.
fn join(server: &Server, clients: usize) -> Result<Outcome> {
    const KIB: u64 = 1024;
    let before = server.resident()?;
    let begin = Instant::now();
    let load = Load::connect(server, clients)?;
    let took = begin.elapsed().as_secs_f64();
    let grown = server.resident()?.saturating_sub(before) * KIB;
    let threads = server.threads()?;
    drop(load);
    Ok(Outcome {
        values: vec![
            took,
            to_f64(grown) / to_f64(clients as u64),
            to_f64(threads.unsigned_abs()),
        ],
        lost: 0,
    })
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn to_f64(count: u64) -> f64 {
    count as f64
}
