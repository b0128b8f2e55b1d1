//! Gauges of what the server has delivered, and of its threads, for the thread `sampler`.

use std::cmp::Reverse;
use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, OnceLock, Weak};

use crate::probe::sample::{BacklogSample, Delivery, Proof, Threads};
use crate::protocol::text::Text;
use crate::server::delivery::backlog::Backlog;
use crate::server::delivery::sums::Sums;
use crate::sync::Mutex;
use crate::sync::thread::{Builder, Scope};

/// Gauges that are written by the thread that delivers, and by threads that start or end. All are
/// atomics, except the list of backlogs, to which a member is added only when it falls behind.
#[derive(Default)]
pub(crate) struct Gauges {
    rounds: AtomicU64,
    sends: AtomicU64,
    deliveries: AtomicU64,
    last_events: AtomicUsize,
    last_recipients: AtomicUsize,
    threads_started: AtomicU64,
    threads_ended: AtomicU64,
    /// The members with a backlog, and those that had one. No other lock is taken while this one is
    /// held.
    backlogs: Mutex<Vec<(Text, Weak<Backlog>)>>,
    wants_proof: bool,
    /// The checksums of the last events. Set by the delivery thread at its end.
    sums: OnceLock<Sums>,
}

impl Gauges {
    /// If `wants_proof`, the delivery thread computes checksums for the launcher.
    pub(crate) fn new(wants_proof: bool) -> Self {
        Self {
            wants_proof,
            ..Self::default()
        }
    }

    pub(crate) fn wants_proof(&self) -> bool {
        self.wants_proof
    }

    /// Hands over the checksums. Called by the delivery thread at its end.
    pub(crate) fn set_sums(&self, sums: Sums) {
        // The delivery thread ends once, so there are no earlier sums.
        let _ = self.sums.set(sums);
    }

    /// The checksums and the number of threads, for the launcher. `None` before the end of the
    /// delivery thread, or if the launcher does not want a proof. `members` returns the number
    /// of members that have joined, and is called only if there is a proof.
    pub(crate) fn proof(&self, members: impl FnOnce() -> u64) -> Option<Proof> {
        let sums = self.sums.get()?;
        Some(Proof {
            first: sums.first(),
            sums: sums.iter().collect(),
            members: members(),
            threads: self.threads(),
        })
    }

    /// Counts a batch of `events` that was sent to `recipients` members. Called by the thread that
    /// delivers.
    pub(crate) fn count_round(&self, events: usize, recipients: usize) {
        self.rounds.fetch_add(1, Relaxed);
        self.deliveries
            .fetch_add((events * recipients) as u64, Relaxed);
        self.last_events.store(events, Relaxed);
        self.last_recipients.store(recipients, Relaxed);
    }

    /// Counts sends to members. Called by the thread that delivers, once per batch.
    pub(crate) fn count_sends(&self, sends: usize) {
        self.sends.fetch_add(sends as u64, Relaxed);
    }

    pub(crate) fn delivery(&self) -> Delivery {
        Delivery {
            rounds: self.rounds.load(Relaxed),
            sends: self.sends.load(Relaxed),
            deliveries: self.deliveries.load(Relaxed),
            last_events: self.last_events.load(Relaxed),
            last_recipients: self.last_recipients.load(Relaxed),
        }
    }

    /// Adds the backlog of the member `name`. Called by the thread that delivers.
    pub(crate) fn add_backlog(&self, name: &Text, backlog: &Arc<Backlog>) {
        let mut backlogs = self.backlogs.lock();
        if backlogs.len() == backlogs.capacity() {
            backlogs.retain(|(_, backlog)| backlog.strong_count() > 0);
            // Double the space, so that the next search for ended backlogs comes late enough.
            let left = backlogs.len();
            backlogs.reserve(left + 1);
        }
        backlogs.push((name.clone(), Arc::downgrade(backlog)));
    }

    /// The longest backlogs, at most `max`, and the number of all that are not empty. Takes no lock
    /// of a backlog.
    pub(crate) fn backlogs(&self, max: usize) -> (Vec<BacklogSample>, usize) {
        let mut behind: Vec<_> = {
            let backlogs = self.backlogs.lock();
            let behind = backlogs.iter().filter_map(|(name, backlog)| {
                let backlog = backlog.upgrade()?;
                (backlog.len() > 0).then(|| (backlog.len(), name.clone(), backlog))
            });
            behind.collect()
        };
        behind.sort_by_key(|(bytes, ..)| Reverse(*bytes));
        let longest = behind.iter().take(max);
        let samples = longest.map(|(_, name, backlog)| backlog.sample(name));
        (samples.collect(), behind.len())
    }

    /// Starts a thread of the room in `scope`, and counts its start and its end. All threads that
    /// serve members are started here.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(crate) fn spawn<'scope, 'env>(
        &'env self,
        scope: &'scope Scope<'scope, 'env>,
        builder: Builder,
        run: impl FnOnce() + Send + 'scope,
    ) -> io::Result<()> {
        let run = move || {
            let _running = Running::new(self);
            run();
        };
        builder.spawn_scoped(scope, run).map(drop)
    }

    pub(crate) fn threads(&self) -> Threads {
        // Read this before the number of starts, so that it is never the larger of the two.
        let ended = self.threads_ended.load(Relaxed);
        Threads {
            started: self.threads_started.load(Relaxed),
            ended,
        }
    }
}

/// A running thread. Dropping this counts the thread's end, even if the thread panics.
struct Running<'a>(&'a Gauges);

impl<'a> Running<'a> {
    fn new(gauges: &'a Gauges) -> Self {
        gauges.threads_started.fetch_add(1, Relaxed);
        Self(gauges)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.threads_ended.fetch_add(1, Relaxed);
    }
}
