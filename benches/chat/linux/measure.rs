//! The measures. The servers take turns, and get the same messages from the same load on the same
//! machine.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::dialect::{self, Lines, MARK};
use super::load::{self, Load, Turn};
use super::peers::Server;

/// Number of senders unless stated otherwise. With this many, no single connection is the
/// bottleneck.
const SENDERS: usize = 8;

/// Maximum number of messages in flight, enough that no server has to wait for the load.
const MAX_IN_FLIGHT: u64 = 256;

/// Warm-up time, as a fraction of a run's time.
const WARM_UP: f64 = 0.25;

/// Maximum duration of a run, as a multiple of its time. A run is extended until the server has
/// delivered all messages in flight once.
const PATIENCE: f64 = 10.0;

/// A number in the table.
#[derive(Clone, Copy)]
pub(super) struct Quantity {
    pub(super) what: &'static str,
    pub(super) unit: Unit,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    PerSecond,
    Seconds,
    Bytes,
    Count,
}

pub(super) const DELIVERIES: Quantity = Quantity {
    what: "deliveries/s",
    unit: Unit::PerSecond,
};
pub(super) const COST: Quantity = Quantity {
    what: "CPU per delivery",
    unit: Unit::Seconds,
};
const STEADY: [Quantity; 4] = [
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
    COST,
];
const PERCENTILES: [f64; 3] = [0.5, 0.99, 0.999];
const JOIN_TIME: Quantity = Quantity {
    what: "time until all notices are delivered",
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
const DOUBLED: Quantity = Quantity {
    what: "duplicates",
    unit: Unit::Count,
};
const DISORDERED: Quantity = Quantity {
    what: "clients that saw another order",
    unit: Unit::Count,
};

/// The error if messages stop arriving.
const STILL: &str = "the room stalled";

/// A measure. Each server is measured with it several times, in turns.
pub(super) struct Measure {
    /// The measure's name on the command line.
    pub(super) key: &'static str,
    /// The measure's name in the table.
    pub(super) title: &'static str,
    pub(super) quantities: &'static [Quantity],
    kind: Kind,
}

enum Kind {
    /// Maximum throughput, with a limit on the messages in flight.
    Flow {
        clients: usize,
        senders: usize,
        in_flight: u64,
    },
    /// A constant rate, in messages per second, even if the server falls behind. If `deaf`, there
    /// is one more client, which does not read.
    Steady {
        clients: usize,
        rate: u32,
        deaf: bool,
    },
    /// All clients join at once.
    Join { clients: usize },
    /// Each client's messages are checked for duplicates and for their order.
    Order { clients: usize },
}

pub(super) const MEASURES: [Measure; 12] = [
    Measure {
        key: "10",
        title: "10 clients",
        quantities: &[DELIVERIES, COST],
        kind: Kind::Flow {
            clients: 10,
            senders: SENDERS,
            in_flight: MAX_IN_FLIGHT,
        },
    },
    Measure {
        key: "100",
        title: "100 clients",
        quantities: &[DELIVERIES, COST],
        kind: Kind::Flow {
            clients: 100,
            senders: SENDERS,
            in_flight: MAX_IN_FLIGHT,
        },
    },
    Measure {
        key: "1000",
        title: "1,000 clients",
        quantities: &[DELIVERIES, COST],
        kind: Kind::Flow {
            clients: 1_000,
            senders: SENDERS,
            in_flight: MAX_IN_FLIGHT,
        },
    },
    Measure {
        key: "5000",
        title: "5,000 clients",
        quantities: &[DELIVERIES, COST],
        kind: Kind::Flow {
            clients: 5_000,
            senders: SENDERS,
            in_flight: MAX_IN_FLIGHT,
        },
    },
    Measure {
        key: "many",
        title: "10,000 clients, 50 senders",
        quantities: &[DELIVERIES, COST],
        kind: Kind::Flow {
            clients: 10_000,
            senders: 50,
            in_flight: MAX_IN_FLIGHT,
        },
    },
    Measure {
        key: "one",
        title: "one message at a time, 100 clients",
        quantities: &[DELIVERIES, COST],
        kind: Kind::Flow {
            clients: 100,
            senders: SENDERS,
            in_flight: 1,
        },
    },
    Measure {
        key: "quiet",
        title: "200 messages/s to 100 clients",
        quantities: &STEADY,
        kind: Kind::Steady {
            clients: 100,
            rate: 200,
            deaf: false,
        },
    },
    Measure {
        key: "few",
        title: "200 messages/s to 5 clients",
        quantities: &STEADY,
        kind: Kind::Steady {
            clients: 5,
            rate: 200,
            deaf: false,
        },
    },
    Measure {
        key: "busy",
        title: "2,000 messages/s to 50 clients",
        quantities: &STEADY,
        kind: Kind::Steady {
            clients: 50,
            rate: 2_000,
            deaf: false,
        },
    },
    Measure {
        key: "deaf",
        title: "the same, plus one client that never reads",
        quantities: &STEADY,
        kind: Kind::Steady {
            clients: 50,
            rate: 2_000,
            deaf: true,
        },
    },
    Measure {
        key: "join",
        title: "2,000 clients join",
        quantities: &[JOIN_TIME, MEMORY, THREADS],
        kind: Kind::Join { clients: 2_000 },
    },
    Measure {
        key: "order",
        title: "10,000 messages to 100 clients, all checked",
        quantities: &[DOUBLED, DISORDERED],
        kind: Kind::Order { clients: 100 },
    },
];

/// The result of a run.
pub(super) struct Outcome {
    /// One value per quantity of the measure, in the same order.
    pub(super) values: Vec<f64>,
    /// Number of deliveries that never arrived.
    pub(super) lost: u64,
}

impl Measure {
    /// Number of clients that take part.
    pub(super) fn clients(&self) -> usize {
        match self.kind {
            Kind::Flow { clients, .. }
            | Kind::Steady { clients, .. }
            | Kind::Join { clients }
            | Kind::Order { clients } => clients,
        }
    }

    /// Measures a server that has just started. `seconds` is the duration if the measure has no
    /// fixed number of messages.
    pub(super) fn run(&self, server: &Server, seconds: f64) -> Result<Outcome> {
        let connect = |deaf| Load::connect(server, self.clients(), deaf);
        match self.kind {
            Kind::Flow {
                senders, in_flight, ..
            } => flow(server, connect(false)?, senders, in_flight, seconds),
            Kind::Steady { rate, deaf, .. } => steady(server, connect(deaf)?, rate, seconds, deaf),
            Kind::Join { clients } => join(server, clients),
            Kind::Order { .. } => order(connect(false)?, server.peer.dialect().echoes()),
        }
    }
}

/// Members that send in turns, with a limit on the messages in flight.
struct Talk {
    senders: usize,
    in_flight: u64,
    /// Index of the next sender.
    next: usize,
    sent: u64,
    /// Deliveries so far.
    received: u64,
    /// Deliveries per message.
    receivers: u64,
}

impl Talk {
    fn new(load: &Load, senders: usize, in_flight: u64) -> Self {
        Self {
            senders: senders.min(load.len()),
            in_flight,
            next: 0,
            sent: 0,
            received: 0,
            receivers: load.receivers(),
        }
    }

    /// Sends as many messages as the limit allows, up to `total` in all calls together. Each sender
    /// sends its share in one write. `number` computes a message's number from the count of earlier
    /// messages and the sender's index.
    fn send(
        &mut self,
        load: &mut Load,
        total: u64,
        number: impl Fn(u64, usize) -> u64,
    ) -> Result<()> {
        let done = self.received / self.receivers;
        let mut left = (self.in_flight - (self.sent - done)).min(total - self.sent);
        let share = left.div_ceil(self.senders as u64);
        while left > 0 {
            let count = share.min(left);
            let numbers = self.sent..self.sent + count;
            load.say(self.next, numbers.map(|sent| number(sent, self.next)))?;
            self.next = (self.next + 1) % self.senders;
            self.sent += count;
            left -= count;
        }
        Ok(())
    }

    /// Receives once from each client with input, and counts the deliveries.
    fn receive(&mut self, load: &mut Load) -> Result<Turn> {
        load.turn(|_, bytes| {
            self.received += memchr::memchr_iter(MARK, bytes).count() as u64;
        })
    }

    /// Number of outstanding deliveries.
    fn missing(&self) -> u64 {
        (self.sent * self.receivers).saturating_sub(self.received)
    }

    /// Sends messages until `total` have been sent, and waits until all are delivered or nothing
    /// more arrives.
    fn finish(&mut self, load: &mut Load, total: u64) -> Result<()> {
        while self.sent < total || self.missing() > 0 {
            self.send(load, total, |number, _| number)?;
            if self.receive(load)? == Turn::Silence {
                break;
            }
        }
        Ok(())
    }
}

/// Measures deliveries per second, and the server's CPU time per delivery, with at most `in_flight`
/// messages in flight.
fn flow(
    server: &Server,
    mut load: Load,
    senders: usize,
    in_flight: u64,
    seconds: f64,
) -> Result<Outcome> {
    let mut talk = Talk::new(&load, senders, in_flight);
    let mut window = None;
    let warm = Instant::now() + Duration::from_secs_f64(seconds * WARM_UP);
    let end = warm + Duration::from_secs_f64(seconds);
    let last = warm + Duration::from_secs_f64(seconds * PATIENCE);
    let values = loop {
        talk.send(&mut load, u64::MAX, |number, _| number)?;
        ensure!(talk.receive(&mut load)? != Turn::Silence, STILL);
        let now = Instant::now();
        if window.is_none() && now >= warm {
            window = Some((now, talk.received, server.processor_time()?));
        }
        // Some servers deliver all messages in flight at once. The run must contain at least one
        // such delivery.
        let full = |before| talk.received - before >= in_flight * talk.receivers;
        if let Some((start, before, processor)) = window
            && (now >= end && full(before) || now >= last)
            && talk.received > before
        {
            let deliveries = to_f64(talk.received - before);
            let processor = server.processor_time()? - processor;
            break vec![
                deliveries / (now - start).as_secs_f64(),
                processor / deliveries,
            ];
        }
    };
    let sent = talk.sent;
    talk.finish(&mut load, sent)?;
    Ok(Outcome {
        values,
        lost: talk.missing(),
    })
}

/// Measures the latency of each delivery, from just before the message is written until it is read,
/// and the server's CPU time per delivery. The load does not wait for deliveries, so a server that
/// stalls gets as many messages as others.
fn steady(server: &Server, mut load: Load, rate: u32, seconds: f64, deaf: bool) -> Result<Outcome> {
    if deaf {
        // Fill the kernel's buffers for the client that does not read.
        let total = load::messages_kept()?;
        let mut talk = Talk::new(&load, SENDERS, MAX_IN_FLIGHT);
        talk.finish(&mut load, total)?;
        ensure!(talk.missing() == 0, STILL);
    }
    let receivers = load.receivers();
    let senders = SENDERS.min(load.len());
    let mut lines = Lines::new(load.len());
    let (mut sent, mut received) = (0, 0);
    let mut latencies = Vec::new();
    let begin = Instant::now();
    let nanos = || u64::try_from(begin.elapsed().as_nanos());
    let total = messages(rate, seconds * (1.0 + WARM_UP));
    let warm = messages(rate, seconds * WARM_UP);
    // The time stamp of the first message after the warm-up, and the server's CPU time before it.
    let (mut warm_at, mut processor) = (u64::MAX, 0.0);
    load.set_timer(rate)?;
    while received < total * receivers {
        let turn = load.turn(|client, bytes| {
            let now = nanos().unwrap_or(u64::MAX);
            lines.feed(client, bytes, |line| {
                if let Some(stamp) = dialect::number(line) {
                    received += 1;
                    if stamp >= warm_at {
                        latencies.push(now - stamp);
                    }
                }
            });
        })?;
        let Turn::Fired(due) = turn else { break };
        for _ in 0..due.min(total - sent) {
            if sent == warm {
                processor = server.precise_processor_time()?;
                warm_at = nanos()?;
            }
            let stamp = nanos()?;
            load.say(usize::try_from(sent)? % senders, std::iter::once(stamp))?;
            sent += 1;
        }
        if sent == total {
            load.stop_timer()?;
        }
    }
    let processor = server.precise_processor_time()? - processor;
    let cost = processor / to_f64(latencies.len() as u64);
    latencies.sort_unstable();
    let latency = PERCENTILES.map(|part| percentile(&latencies, part));
    Ok(Outcome {
        values: latency.into_iter().chain([cost]).collect(),
        lost: sent * receivers - received,
    })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a small positive number"
)]
fn messages(rate: u32, seconds: f64) -> u64 {
    (f64::from(rate) * seconds) as u64
}

/// Returns a percentile in seconds, from sorted values in nanoseconds.
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

/// Measures the time until all clients have joined and each has received the notices of those that
/// joined after it; then, once the server is idle, its threads and its resident memory per client
/// according to `/proc`, which excludes the kernel's buffers.
fn join(server: &Server, clients: usize) -> Result<Outcome> {
    const KIB: u64 = 1024;
    /// Time without a change after which a server counts as idle.
    const SETTLED: Duration = Duration::from_millis(500);
    let before = server.resident()?;
    let begin = Instant::now();
    let load = Load::connect(server, clients, false)?;
    let took = begin.elapsed().as_secs_f64();
    // chat-server starts its members' threads only when no client has joined for a moment. Wait, so
    // that they are counted.
    let mut idle = (server.resident()?, server.threads()?);
    loop {
        thread::sleep(SETTLED);
        let now = (server.resident()?, server.threads()?);
        if std::mem::replace(&mut idle, now) == now {
            break;
        }
    }
    let (resident, threads) = idle;
    let grown = resident.saturating_sub(before) * KIB;
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

/// Counts duplicate messages, and members that got the messages in another order.
fn order(mut load: Load, echoes: bool) -> Result<Outcome> {
    const MESSAGES: u64 = 10_000;
    /// Number of low bits of a message's number that identify the sender.
    const SENDER_BITS: u32 = 8;

    let sender = |number: u64| number & ((1 << SENDER_BITS) - 1);
    let mut talk = Talk::new(&load, SENDERS, MAX_IN_FLIGHT);
    let mut lines = Lines::new(load.len());
    let mut seen: Vec<Vec<u64>> = vec![Vec::new(); load.len()];
    loop {
        talk.send(&mut load, MESSAGES, |number, client| {
            number << SENDER_BITS | client as u64
        })?;
        if talk.missing() == 0 {
            break;
        }
        let turn = load.turn(|client, bytes| {
            lines.feed(client, bytes, |line| {
                if let Some(number) = dialect::number(line) {
                    seen[client].push(number);
                    talk.received += 1;
                }
            });
        })?;
        if turn == Turn::Silence {
            break;
        }
    }
    // The last client does not send, so it gets every message. The others may not get their own.
    let all = seen.last().cloned().unwrap_or_default();
    let (mut doubled, mut disordered) = (0, 0);
    for (client, mut got) in seen.into_iter().enumerate() {
        let due = |number: &&u64| echoes || sender(**number) != client as u64;
        let in_order = got.iter().eq(all.iter().filter(due));
        disordered += u64::from(!in_order);
        let count = got.len();
        got.sort_unstable();
        got.dedup();
        doubled += (count - got.len()) as u64;
    }
    Ok(Outcome {
        values: vec![to_f64(doubled), to_f64(disordered)],
        lost: talk.sent * talk.receivers + doubled - talk.received,
    })
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn to_f64(count: u64) -> f64 {
    count as f64
}
