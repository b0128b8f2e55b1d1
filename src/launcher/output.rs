//! The launcher's own terminal: written to by one thread, so that a terminal that blocks or is gone holds up nothing else.

use std::fs::File;
use std::io::{self, Write};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::Duration;

/// Pieces that may wait for the terminal. A piece is a line of the launcher's, or up to 8 KiB of the server's log.
const WAITING: usize = 256;

/// As many of the last lines are kept, and as many bytes at most.
const LAST_LINES: usize = 10;
const LAST_BYTES: usize = 16 * 1024;

enum Piece {
    Out(Vec<u8>),
    Err(Vec<u8>),
}

/// Where to put what the terminal is to show.
#[derive(Clone)]
pub(super) struct Output {
    pieces: SyncSender<Piece>,
}

/// Tells when all was shown.
pub(super) struct Shown {
    done: Receiver<()>,
}

impl Output {
    /// Starts the thread, called `output`. It ends when every [`Output`] is dropped and all was shown; where the terminal blocks it ends with the
    /// process. The last lines of all are written to `last_words` as well, when it ends.
    ///
    /// # Errors
    /// No thread is to be had.
    pub(super) fn start(last_words: Option<File>) -> io::Result<(Self, Shown)> {
        let (pieces, waiting) = mpsc::sync_channel(WAITING);
        let (finished, done) = mpsc::channel::<()>();
        thread::Builder::new()
            .name("output".into())
            .spawn(move || {
                let _finished = finished;
                let mut last = Vec::new();
                for piece in waiting {
                    // A terminal that is gone is no reason to end: the session has its own.
                    let _ = match &piece {
                        Piece::Out(bytes) => show(&mut io::stdout().lock(), bytes),
                        Piece::Err(bytes) => show(&mut io::stderr().lock(), bytes),
                    };
                    let (Piece::Out(bytes) | Piece::Err(bytes)) = piece;
                    last.extend(bytes);
                    last.drain(..last.len().saturating_sub(LAST_BYTES));
                }
                if let Some(mut file) = last_words {
                    let _ = file.write_all(&last_lines(&last).concat());
                }
            })?;
        Ok((Self { pieces }, Shown { done }))
    }

    /// Shows a line on stdout. Never blocks: it is lost where the terminal does, and too much is waiting already.
    pub(super) fn say(&self, line: &str) {
        let _ = self
            .pieces
            .try_send(Piece::Out(format!("{line}\n").into_bytes()));
    }

    /// Shows a line on stderr, as [`Output::say`].
    pub(super) fn warn(&self, line: &str) {
        let _ = self
            .pieces
            .try_send(Piece::Err(format!("{line}\n").into_bytes()));
    }

    /// Shows bytes on stdout. Blocks while too much is waiting.
    pub(super) fn pass_on(&self, bytes: Vec<u8>) {
        let _ = self.pieces.send(Piece::Out(bytes));
    }
}

impl Shown {
    /// Waits until all was shown, but no longer than `at_most`. The caller must have dropped its own [`Output`].
    pub(super) fn wait(self, at_most: Duration) {
        match self.done.recv_timeout(at_most) {
            Ok(()) | Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout) => {}
        }
    }
}

fn show(stream: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes)?;
    stream.flush()
}

fn last_lines(bytes: &[u8]) -> Vec<&[u8]> {
    let lines: Vec<&[u8]> = bytes.split_inclusive(|&byte| byte == b'\n').collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].to_vec()
}
