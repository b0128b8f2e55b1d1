//! The queue of lines to send from the terminal UI, and the thread that writes them to the socket.

use std::io;
use std::sync::mpsc::{self, SyncSender};
use std::thread::{self, JoinHandle};

use crate::client::net::connection::Connection;

/// Limit on the number of queued lines, which limits the memory that a paste can use. The limit is
/// generous: `chat-server` reads ten lines per second from a client, so reading that many lines
/// takes a quarter of an hour.
const MAX_WAITING: usize = 10_000;

pub(crate) struct SendQueue {
    /// The sender of the queue, or `None` once the queue is closed.
    lines: Option<SyncSender<String>>,
    thread: JoinHandle<()>,
}

impl SendQueue {
    /// Starts the thread `send`. A server that does not read blocks only this thread.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(crate) fn start(connection: Connection) -> io::Result<Self> {
        let (lines, waiting) = mpsc::sync_channel::<String>(MAX_WAITING);
        let thread = thread::Builder::new().name("send".into()).spawn(move || {
            for line in waiting {
                if connection.send(&line).is_err() {
                    // The thread `receive` reports why the connection ended, so report no error
                    // here.
                    return;
                }
            }
            connection.finish();
        })?;
        Ok(Self {
            lines: Some(lines),
            thread,
        })
    }

    /// Queues a line, without blocking. Returns false if the queue is full or the connection has
    /// ended.
    pub(crate) fn push(&self, line: String) -> bool {
        let lines = self.lines.as_ref();
        lines.is_some_and(|lines| lines.try_send(line).is_ok())
    }

    /// Closes the queue. The thread sends the lines that are still queued, and then closes the
    /// connection's sending side.
    pub(crate) fn close(&mut self) {
        self.lines = None;
    }

    /// Waits for the thread to end. Called after the connection was closed, which ends the thread.
    pub(crate) fn join(mut self) {
        self.close();
        // Joining the thread cannot fail, because a panic in any thread ends the process.
        let _ = self.thread.join();
    }
}
