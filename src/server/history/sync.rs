//! The thread `sync`: syncs the history file to disk.
//!
//! An fsync takes milliseconds to seconds, so it must not hold up delivery. A failed fsync is not
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

/// Pause after a sync. Events reach the disk within a second, and a busy room does not keep the
/// disk busy.
const PAUSE: Duration = Duration::from_millis(500);

/// Handle to the thread `sync`.
pub(crate) struct Sync {
    inner: Arc<Inner>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Inner {
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
        let inner = Arc::new(Inner::default());
        let syncing = Arc::clone(&inner);
        let thread = thread::Builder::new()
            .name("sync".into())
            .spawn(move || syncing.run(&file))
            .context(os::NO_THREAD)?;
        Ok(Self { inner, thread })
    }

    /// Requests a sync, which starts within a second. Does not wait for it.
    pub(crate) fn request(&self) {
        if !std::mem::replace(&mut self.inner.state.lock().wanted, true) {
            self.inner.changed.notify_one();
        }
    }

    /// Returns the first error since the last success, unless it was returned already.
    pub(crate) fn error(&self) -> Option<io::Error> {
        self.inner.state.lock().error.take()
    }

    /// Ends the thread after the current sync. Later writes are not synced.
    pub(crate) fn stop(self) {
        self.inner.state.lock().stopping = true;
        self.inner.changed.notify_one();
        // An error means that the thread has panicked; then there is nothing to clean up.
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
