//! A sample: the state of a server at one moment, as one line of JSON.
//!
//! `chat-server --sample-socket NAME` connects to the local socket NAME and answers each line
//! `sample` with a [`Report::Sample`]. The first one switches the gauges of the locks on, and the
//! line `stop` or the end of the connection switches them off. When the room is closed, the server
//! sends a [`Report::Proof`] and closes the connection. Fields that a reader does not know are
//! ignored.

use serde::{Deserialize, Serialize};

/// The line, without its LF, that asks for a sample.
pub const ASK: &str = "sample";

/// The line, without its LF, that switches the gauges of the locks off.
pub const STOP: &str = "stop";

/// A line from the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Report {
    Sample(Sample),
    Proof(Proof),
}

/// The state of a server. Times are in nanoseconds. The values are read one after the other, while
/// the server runs, so two of them may differ by an event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sample {
    /// The server's monotonic clock, whose origin is arbitrary.
    pub at: u64,
    pub locks: Vec<LockSample>,
    pub pending: Pending,
    pub delivery: Delivery,
    /// Number of members.
    pub members: usize,
    /// The longest backlogs, longest first.
    pub backlogs: Vec<BacklogSample>,
    /// Number of backlogs, including those that are not listed.
    pub behind: usize,
    /// Size of the send buffer that `--send-buffer` has set for each connection, in bytes as
    /// reported by the kernel. `None` if the kernel chooses the size.
    pub send_buffer: Option<usize>,
    pub threads: Threads,
}

/// A lock. All values count from the first sample on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LockSample {
    /// Name of the state that the lock guards, such as `room`.
    pub name: String,
    /// The source file with the lines of this lock. `None` before the first hold.
    pub file: Option<String>,
    pub state: LockState,
    /// Number of holds.
    pub taken: u64,
    /// Time for which the lock was held, including the current hold.
    pub held: u64,
    /// The longest hold, including the current one.
    pub longest: u64,
    /// Number of holds for which a thread had to wait.
    pub contended: u64,
    /// Time that threads have waited, summed over the waits that have ended.
    pub waited: u64,
    /// The longest wait, including the current ones.
    pub longest_wait: u64,
    /// Number of threads that wait now.
    pub waiting: u32,
    /// The waiting threads, or the first of them.
    pub waiters: Vec<Waiter>,
}

/// Whether a lock is held at the moment of the sample.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LockState {
    #[default]
    Free,
    Held {
        /// ID of the thread, as in `/proc/PID/task`.
        thread: u32,
        /// The line at which the thread took the lock.
        line: u32,
        /// Time since then.
        nanoseconds: u64,
    },
    /// The lock changed hands while the sample was read, so no thread is named.
    Busy,
}

/// A thread that waits for a lock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Waiter {
    /// ID of the thread, as in `/proc/PID/task`.
    pub thread: u32,
    /// The line at which the thread waits.
    pub line: u32,
    /// Time since the wait began.
    pub nanoseconds: u64,
}

/// The room's queue of events and answers that are not delivered yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pending {
    /// Number of entries: events, and answers to one member.
    pub entries: usize,
    /// Bytes of text in the queue.
    pub bytes: usize,
    /// Limit on `bytes`, beyond which senders wait.
    pub limit: usize,
}

/// Totals of the deliveries since the server started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Delivery {
    /// Number of batches sent to all members.
    pub rounds: u64,
    /// Number of sends: one per recipient and batch, even if the bytes went to a backlog.
    pub sends: u64,
    /// Number of events times the number of their recipients.
    pub deliveries: u64,
    /// Number of events in the last batch.
    pub last_events: usize,
    /// Number of recipients of the last batch.
    pub last_recipients: usize,
}

/// The unsent bytes of a member whose socket is full.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BacklogSample {
    /// The member's name when the backlog began.
    pub name: String,
    /// Number of unsent bytes.
    pub bytes: usize,
    /// Limit on `bytes`, beyond which the member is disconnected. It falls when the member has
    /// accepted nothing for 2 s.
    pub limit: usize,
    /// Time since the member last accepted a byte.
    pub stalled: u64,
    /// Time after which the member is disconnected, counted like `stalled`.
    pub max_stall: u64,
    /// Whether the member has left, and only gets the rest of its backlog.
    pub closing: bool,
    pub lock: LockSample,
}

/// The threads of the room, which all end before the server logs its summary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Threads {
    pub started: u64,
    pub ended: u64,
}

/// Running checksums of the events that the server has sent. With them, the launcher checks that
/// its clients have received the same events in the same order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Proof {
    /// Sequence number of the event after which the first of `sums` was taken.
    pub first: u64,
    /// The sum of all events up to `first`, up to `first + 1`, and so on.
    pub sums: Vec<u64>,
    /// Number of members that have joined. A member that resumes counts once.
    pub members: u64,
    pub threads: Threads,
}

impl Proof {
    /// Sequence number of the last event.
    pub fn last(&self) -> u64 {
        (self.first + self.sums.len() as u64).saturating_sub(1)
    }

    /// Returns the sum of the events from `first` to `last`, which a client that has received
    /// exactly these must have, too. `None` if the server no longer has the sums.
    pub fn sum(&self, first: u64, last: u64) -> Option<u64> {
        let up_to = |seq: u64| {
            let at = usize::try_from(seq.checked_sub(self.first)?).ok()?;
            self.sums.get(at).copied()
        };
        Some(up_to(last)?.wrapping_sub(up_to(first.checked_sub(1)?)?))
    }
}
