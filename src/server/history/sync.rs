//! The thread `sync`: puts what is written to the history file on the disk.
//!
//! An fsync takes milliseconds to seconds, so it must not hold up delivery. One that fails is not tried again
//! for the same data: the kernel may have dropped the pages (<https://wiki.postgresql.org/wiki/Fsync_Errors>).

use std::fs::File;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::os;

/// Least time between two syncs, so that events are on the disk within a second of happening and a busy room
/// does not keep the disk busy.
const PAUSE: Duration = Duration::from_millis(500);

/// The way to the thread.
pub(crate) struct Sync {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    /// Guards the three flags; held for no longer than it takes to set them.
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

    /// Has what was written put on the disk, within a second; never waits.
    pub(crate) fn request(&self) {
        if !std::mem::replace(&mut self.shared.lock().wanted, true) {
            self.shared.changed.notify_one();
        }
    }

    /// What has failed, once.
    pub(crate) fn error(&self) -> Option<io::Error> {
        self.shared.lock().error.take()
    }

    /// Ends the thread, and waits for a sync that is under way. What was written since is not on the disk yet.
    pub(crate) fn stop(self) {
        self.shared.lock().stopping = true;
        self.shared.changed.notify_one();
        // The thread runs nothing that panics; if it did, there is nothing more to be done about it.
        let _ = self.thread.join();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, file: &File) {
        let mut state = self.lock();
        let mut failing = false;
        while !state.stopping {
            if std::mem::take(&mut state.wanted) {
                drop(state);
                let error = file.sync_data().err();
                state = self.lock();
                // A disk that goes on failing is no news.
                let was_failing = std::mem::replace(&mut failing, error.is_some());
                state.error = error.filter(|_| !was_failing).or(state.error.take());
                let next = Instant::now() + PAUSE;
                while !state.stopping && Instant::now() < next {
                    let left = next.saturating_duration_since(Instant::now());
                    let woken = self.changed.wait_timeout(state, left);
                    state = woken.unwrap_or_else(PoisonError::into_inner).0;
                }
            } else {
                state = self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}
