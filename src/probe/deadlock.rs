//! Deadlocks: rings of threads that each wait for a lock that the next one holds.

use crate::probe::sample::{LockSample, LockState, Sample, Waiter};

/// A ring of threads that wait for each other forever. Begins with the thread that has the lowest
/// ID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deadlock(pub Vec<Link>);

/// A thread of a [`Deadlock`], and the lock that it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// ID of the waiting thread.
    pub thread: u32,
    /// The line at which it waits.
    pub line: u32,
    /// Name of the lock.
    pub lock: String,
    /// ID of the thread that holds the lock.
    pub holder: u32,
    /// The line at which that thread took the lock.
    pub held_since_line: u32,
    /// Number of the hold, from [`LockSample::taken`].
    hold: u64,
}

impl Deadlock {
    /// Finds a ring that is the same in two samples of a server.
    ///
    /// The values of one sample are read one after the other, so a ring in a single sample may be
    /// made of waits that did not overlap. In two samples, each hold is the same, because holds are
    /// numbered. So each lock was held, and each thread waited for it, for the whole time between
    /// the samples.
    pub fn find(earlier: &Sample, later: &Sample) -> Option<Self> {
        let ring = Self::ring(later)?;
        (Self::ring(earlier)? == ring).then_some(ring)
    }

    fn ring(sample: &Sample) -> Option<Self> {
        let of_backlogs = sample.backlogs.iter().map(|backlog| &backlog.lock);
        let locks = sample.locks.iter().chain(of_backlogs);
        let links: Vec<Link> = locks.flat_map(links).collect();
        // Each thread waits for at most one lock, so there is at most one next link.
        let next = |link: &Link| links.iter().find(|next| next.thread == link.holder);
        links.iter().find_map(|first| {
            let mut ring = vec![first.clone()];
            // A chain that does not come back to `first` ends, or leads into a ring of others.
            while ring.len() <= links.len() {
                let link = next(ring.last()?)?;
                if link.thread == first.thread {
                    let lowest = (0..ring.len()).min_by_key(|&at| ring[at].thread)?;
                    ring.rotate_left(lowest);
                    return Some(Self(ring));
                }
                ring.push(link.clone());
            }
            None
        })
    }
}

/// The threads that wait for a lock, with its holder.
fn links(lock: &LockSample) -> Vec<Link> {
    let (holder, held_since_line) = match lock.state {
        LockState::Held { thread, line, .. } => (thread, line),
        LockState::Free | LockState::Busy => return Vec::new(),
    };
    let link = |waiter: &Waiter| Link {
        thread: waiter.thread,
        line: waiter.line,
        lock: lock.name.clone(),
        holder,
        held_since_line,
        hold: lock.taken,
    };
    lock.waiters.iter().map(link).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A lock that `holder` holds for the `taken`th time, and `waiters` wait for.
    fn lock(name: &str, taken: u64, holder: u32, waiters: &[u32]) -> LockSample {
        let waiter = |&thread| Waiter {
            thread,
            ..Waiter::default()
        };
        LockSample {
            name: name.into(),
            taken,
            state: LockState::Held {
                thread: holder,
                line: 1,
                nanoseconds: 1,
            },
            waiters: waiters.iter().map(waiter).collect(),
            ..LockSample::default()
        }
    }

    fn sample(locks: &[LockSample]) -> Sample {
        Sample {
            locks: locks.into(),
            ..Sample::default()
        }
    }

    fn threads(deadlock: Option<Deadlock>) -> Option<Vec<u32>> {
        deadlock.map(|ring| ring.0.iter().map(|link| link.thread).collect())
    }

    #[test]
    fn threads_that_wait_for_each_other_are_a_deadlock() {
        let ring = sample(&[
            lock("a", 5, 12, &[30, 11]),
            lock("b", 7, 13, &[12]),
            lock("c", 1, 11, &[13, 31]),
        ]);
        assert_eq!(
            threads(Deadlock::find(&ring, &ring)),
            Some(vec![11, 12, 13])
        );
    }

    #[test]
    fn a_ring_whose_holds_have_changed_is_no_deadlock() {
        let ring = |taken| sample(&[lock("a", taken, 12, &[11]), lock("b", 7, 11, &[12])]);
        assert_eq!(Deadlock::find(&ring(5), &ring(6)), None);
        assert!(Deadlock::find(&ring(6), &ring(6)).is_some());
    }

    #[test]
    fn threads_that_wait_for_a_thread_that_runs_are_no_deadlock() {
        let chain = sample(&[lock("a", 5, 12, &[11, 13]), lock("b", 7, 14, &[12])]);
        assert_eq!(Deadlock::find(&chain, &chain), None);
    }

    #[test]
    fn two_threads_that_lock_in_different_orders_are_found() {
        use std::sync::Barrier;
        use std::thread;

        use crate::probe::gauge::Observation;
        use crate::sync::Mutex;

        // The two threads never end, so they use static variables.
        static LOCKS: [Mutex<()>; 2] = [Mutex::new(()), Mutex::new(())];
        static BOTH: Barrier = Barrier::new(2);
        let _observation = Observation::begin();
        for first in [0, 1] {
            thread::spawn(move || {
                let _first = LOCKS[first].lock();
                BOTH.wait();
                let _second = LOCKS[1 - first].lock();
            });
        }
        let look = || sample(&[0, 1].map(|n| LOCKS[n].gauge().sample(["left", "right"][n])));
        let ring = loop {
            let earlier = look();
            if let Some(ring) = Deadlock::find(&earlier, &look()) {
                break ring;
            }
            thread::yield_now();
        };
        let mut locks: Vec<_> = ring.0.iter().map(|link| link.lock.as_str()).collect();
        locks.sort_unstable();
        assert_eq!(locks, ["left", "right"]);
    }
}
