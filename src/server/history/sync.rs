//! The thread `sync`: syncs the history file to disk.
//!
//! An fsync takes milliseconds to seconds, so it must not hold up delivery. A failed fsync is not
//! retried for the same data, because the kernel may have dropped the data, and a second fsync
//! would then succeed without writing it (<https://wiki.postgresql.org/wiki/Fsync_Errors>).

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::os;
use crate::sync::thread::{self, JoinHandle};
use crate::sync::{Condvar, Instant, Mutex};

/// Pause between two syncs. It keeps the disk from being busy all the time in a busy room, and is
/// short enough for events to reach the disk within a second.
const PAUSE: Duration = Duration::from_millis(500);

/// Handle to the thread `sync`.
pub(crate) struct Sync {
    inner: Arc<Inner>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Inner {
    /// The flags. The lock is held only while they are read or set.
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
    /// Starts the thread `sync` for `file`.
    pub(crate) fn start(file: File) -> Result<Self> {
        let inner = Arc::new(Inner::default());
        let syncing = Arc::clone(&inner);
        let thread = thread::Builder::new()
            .name("sync".into())
            .spawn(move || syncing.run(&file))
            .context(os::NO_THREAD)?;
        Ok(Self { inner, thread })
    }

    /// Requests a sync, which starts within a second. Does not wait for the sync.
    pub(crate) fn request(&self) {
        if !std::mem::replace(&mut self.inner.state.lock().wanted, true) {
            self.inner.changed.notify_one();
        }
    }

    /// Returns the first error since the last successful sync. Returns each error only once.
    pub(crate) fn error(&self) -> Option<io::Error> {
        self.inner.state.lock().error.take()
    }

    /// Ends the thread after the current sync. The caller must sync what was written since that
    /// sync began.
    pub(crate) fn stop(self) {
        self.inner.state.lock().stopping = true;
        self.inner.changed.notify_one();
        // Ignore an error: if the thread has panicked, there is nothing to clean up.
        let _ = self.thread.join();
    }
}

impl Inner {
    fn run(&self, file: &File) {
        let mut state = self.state.lock();
        let mut failing = false;
        while !state.stopping {
            if std::mem::take(&mut state.wanted) {
                drop(state);
                let error = file.sync_data().err();
                state = self.state.lock();
                // Report only the first of several failures in a row.
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
