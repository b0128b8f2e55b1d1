//! The thread `sync`: syncs the history file to disk.
//!
//! An fsync takes milliseconds to seconds, so it must not hold up delivery. A failed one is not
//! retried for the same data, because the kernel may have dropped the pages
//! (<https://wiki.postgresql.org/wiki/Fsync_Errors>).

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::os;
use crate::sync::thread::{self, JoinHandle};
use crate::sync::{Condvar, Instant, Mutex};

/// Minimum time between two syncs: events are on disk within a second, and a busy room does not
/// keep the disk busy.
const PAUSE: Duration = Duration::from_millis(500);

/// Handle of the thread.
pub(crate) struct Sync {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    /// Guards the flags. Held only while they are read or set.
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    wanted: bool,
    stopping: bool,
    error: Option<io::Error>,
}

impl Sync {
    /// Starts the thread for `file`.
    pub(crate) fn start(file: File) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let syncing = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("sync".into())
            .spawn(move || syncing.run(&file))
            .context(os::NO_THREAD)?;
        Ok(Self { shared, thread })
    }

    /// Requests a sync within a second. Never blocks.
    pub(crate) fn request(&self) {
        if !std::mem::replace(&mut self.shared.state.lock().wanted, true) {
            self.shared.changed.notify_one();
        }
    }

    /// The first error since the last success, once.
    pub(crate) fn error(&self) -> Option<io::Error> {
        self.shared.state.lock().error.take()
    }

    /// Ends the thread after the sync that is in progress. Later writes are not synced.
    pub(crate) fn stop(self) {
        self.shared.state.lock().stopping = true;
        self.shared.changed.notify_one();
        // The thread does not panic; if it did, there is nothing left to clean up.
        let _ = self.thread.join();
    }
}

impl Shared {
    fn run(&self, file: &File) {
        let mut state = self.state.lock();
        let mut failing = false;
        while !state.stopping {
            if std::mem::take(&mut state.wanted) {
                drop(state);
                let error = file.sync_data().err();
                state = self.state.lock();
                // Repeated failures are reported once.
                let was_failing = std::mem::replace(&mut failing, error.is_some());
                state.error = error.filter(|_| !was_failing).or(state.error.take());
                let next = Instant::now() + PAUSE;
                while !state.stopping && Instant::now() < next {
                    let left = next.saturating_duration_since(Instant::now());
                    state = self.changed.wait_timeout(state, left);
                }
            } else {
                state = self.changed.wait(state);
            }
        }
    }
}
