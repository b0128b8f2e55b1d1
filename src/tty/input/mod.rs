//! Keys and other input from the terminal on stdin.
//!
//! The reader is hand-written because crossterm's reader waits for the end of each sequence. After
//! an incomplete sequence, such as a paste without its end, crossterm never returns another key
//! (crossterm-rs/crossterm#1060). With this reader, nothing that a terminal sends can block Ctrl+C.
//! Of crossterm, only the event types are used.

pub mod parser;

use std::collections::VecDeque;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers, MouseEvent, MouseEventKind};
use crossterm::terminal;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use signal_hook::consts::{SIGCONT, SIGWINCH};

use crate::tty;
use crate::tty::background::Background;
use crate::tty::input::parser::Parser;

/// How long to wait for the rest of a sequence. After this time, a lone Escape byte counts as the
/// Escape key.
const SEQUENCE_TIME: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};

/// Query for the background color (xterm control sequences, `OSC 11`), followed by a query for the
/// terminal's attributes (DA1). All terminals answer the second query. This answer ends the wait
/// even if the terminal ignores the first query.
pub(crate) const BACKGROUND_QUERY: &[u8] = b"\x1b]11;?\x07\x1b[c";

/// How long to wait for the answers to [`BACKGROUND_QUERY`]. A local terminal answers within a few
/// milliseconds.
const ANSWER_TIME: Duration = Duration::from_millis(100);

/// How long after the query for the background color a late answer may still arrive over a slow
/// network.
const LATE_ANSWER_TIME: Duration = Duration::from_secs(5);

/// How long to wait for the rest of a sequence in two cases: the bytes so far cannot be a whole
/// key, or the answer to a query may still arrive. This is longer than [`SEQUENCE_TIME`], so that a
/// pause in the network doesn't make the rest of a sequence look like keys.
const LATE_SEQUENCE_TIME: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 500_000_000,
};

/// Reader of input events from the terminal. A process creates only one.
#[derive(Debug)]
pub struct Keyboard {
    parser: Parser,
    /// Events that [`Keyboard::read`] returns before it reads the terminal again.
    typed_ahead: VecDeque<Event>,
    /// Whether the mouse wheel probably sent the incomplete sequence at the end of the input,
    /// because it sent the keys before this sequence.
    is_scrolling: bool,
    /// The time at which the terminal was asked for its background color. `None` if it was not.
    asked: Option<Instant>,
    /// Socket that becomes readable when the terminal's size changes (SIGWINCH).
    resized: UnixStream,
    /// Socket that becomes readable when the process continues (SIGCONT).
    continued: UnixStream,
    /// Socket that becomes readable when [`Keyboard::read`] must fail.
    stopped: Option<UnixStream>,
    /// Whether to wait while the process is in the background, where reading would stop the
    /// process.
    pauses: bool,
    was_in_background: bool,
}

impl Keyboard {
    /// Starts listening for window size changes (SIGWINCH) and for resumption after a stop
    /// (SIGCONT).
    ///
    /// # Errors
    /// The socket pairs can't be created.
    pub fn open() -> io::Result<Self> {
        Ok(Self {
            parser: Parser::default(),
            typed_ahead: VecDeque::new(),
            is_scrolling: false,
            asked: None,
            resized: notified_by(SIGWINCH)?,
            continued: notified_by(SIGCONT)?,
            stopped: None,
            pauses: false,
            was_in_background: false,
        })
    }

    /// Makes [`Keyboard::read`] wait while the process is in the background, where reading would
    /// stop the process. If the other end of `stopped` is closed, [`Keyboard::read`] fails.
    pub(crate) fn pausing_in_background(mut self, stopped: Option<UnixStream>) -> Self {
        self.pauses = true;
        self.stopped = stopped;
        self
    }

    /// Asks the terminal for its background color. Returns `None` if the terminal doesn't answer
    /// within 100 ms; a later answer is dropped. The terminal must be in raw mode. Otherwise it
    /// would echo the answer. `query` is [`BACKGROUND_QUERY`] or an equivalent.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(crate) fn ask_background(&mut self, query: &[u8]) -> io::Result<Option<Background>> {
        tty::write_past_std(query)?;
        let asked = Instant::now();
        self.asked = Some(asked);
        let stdin = io::stdin();
        let mut bytes = [0; 8192];
        while !self.parser.has_attributes() && asked.elapsed() < ANSWER_TIME {
            let left = ANSWER_TIME.saturating_sub(asked.elapsed());
            let left = Timespec::try_from(left).unwrap_or(SEQUENCE_TIME);
            let mut waits = [PollFd::new(&stdin, PollFlags::IN)];
            match rustix::event::poll(&mut waits, Some(&left)) {
                Ok(0) => break,
                Ok(_) => match rustix::io::read(&stdin, &mut bytes)? {
                    // End of input: stop waiting. `Keyboard::read` will report it.
                    0 => break,
                    count => self.parser.push(&bytes[..count]),
                },
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            self.typed_ahead.extend(self.parser.by_ref());
        }
        Ok(self.parser.background())
    }

    /// How long to wait now for the rest of a sequence.
    fn sequence_time(&self) -> &'static Timespec {
        let is_asked = self
            .asked
            .is_some_and(|asked| asked.elapsed() < LATE_ANSWER_TIME);
        if is_asked && !self.parser.has_attributes() || !self.parser.may_be_a_key() {
            &LATE_SEQUENCE_TIME
        } else {
            &SEQUENCE_TIME
        }
    }

    /// Whether input was read that [`Keyboard::read`] has not returned yet: whole events, or the
    /// start of a sequence.
    pub(crate) fn has_partial_input(&self) -> bool {
        self.parser.has_partial_input() || !self.typed_ahead.is_empty()
    }

    /// Whether the wheel is still turning: the next event that [`Keyboard::read`] returns probably
    /// belongs to the same turn of the mouse wheel as the last one.
    pub(crate) fn scrolls_on(&self) -> bool {
        match self.typed_ahead.front() {
            Some(event) => matches!(event, Event::Mouse(_)),
            None => self.is_scrolling,
        }
    }

    /// Parses bytes from the terminal. If they begin with several Up or Down keys, converts these
    /// to turns of the mouse wheel. The wheel has probably sent them: on the alternate screen, most
    /// terminals send arrow keys for it, and not all terminals can be told to stop.
    ///
    /// A single Up or Down key is converted too if the start of another sequence follows, because
    /// the network may have split a longer series of keys.
    fn push(&mut self, bytes: &[u8]) {
        self.parser.push(bytes);
        let mut events: Vec<Event> = self.parser.by_ref().collect();
        let scrolled: Vec<Event> = events.iter().map_while(as_scrolled).collect();
        let is_split = scrolled.len() == events.len() && self.parser.has_partial_input();
        let keys = scrolled.len() + usize::from(is_split) + usize::from(self.is_scrolling);
        self.is_scrolling = is_split && keys > 1;
        if keys > 1 {
            events.splice(..scrolled.len(), scrolled);
        }
        self.typed_ahead.extend(events);
    }

    /// Waits for the next input or size change. Returns [`Event::FocusGained`] when the process
    /// continues after a stop, or comes back to the foreground. If several Up or Down keys arrive
    /// at once, the mouse wheel has probably sent them, so each is returned as [`Event::Mouse`].
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn read(&mut self) -> io::Result<Event> {
        let stdin = io::stdin();
        let mut bytes = [0; 8192];
        loop {
            if let Some(event) = self.typed_ahead.pop_front().or_else(|| self.parser.next()) {
                return Ok(event);
            }
            let in_background = self.pauses && tty::is_background(&stdin);
            if std::mem::replace(&mut self.was_in_background, in_background) && !in_background {
                return Ok(Event::FocusGained);
            }
            let (typed, time) = if in_background {
                (PollFlags::empty(), Some(&tty::BACKGROUND_TIME))
            } else {
                (
                    PollFlags::IN,
                    self.parser
                        .has_partial_input()
                        .then(|| self.sequence_time()),
                )
            };
            let mut waits = [
                PollFd::new(&stdin, typed),
                PollFd::new(&self.resized, PollFlags::IN),
                PollFd::new(&self.continued, PollFlags::IN),
                PollFd::new(
                    self.stopped.as_ref().unwrap_or(&self.resized),
                    PollFlags::IN,
                ),
            ];
            match rustix::event::poll(&mut waits, time) {
                Ok(0) if in_background => continue,
                Ok(0) => {
                    self.is_scrolling = false;
                    self.parser.time_out();
                }
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            let [typed, resized, continued, stopped] = waits.map(|wait| !wait.revents().is_empty());
            if stopped && self.stopped.is_some() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            if continued {
                let _ = self.continued.read(&mut bytes);
                return Ok(Event::FocusGained);
            }
            if resized {
                // Drain the socket, so that all size changes so far cause only one event.
                let _ = self.resized.read(&mut bytes);
                let (columns, rows) = terminal::size()?;
                return Ok(Event::Resize(columns, rows));
            }
            // Check again, because the process may have moved to the background during the wait.
            let is_shells = || self.pauses && tty::is_background(&stdin) && !tty::is_gone();
            if typed && !is_shells() {
                match rustix::io::read(&stdin, &mut bytes) {
                    Ok(0) if tty::is_gone() => return Err(io::ErrorKind::UnexpectedEof.into()),
                    // Ignore this end of input: Ctrl+D was typed before the terminal was raw.
                    Ok(0) => {}
                    Ok(count) => self.push(&bytes[..count]),
                    Err(Errno::INTR | Errno::AGAIN) => {}
                    // The read failed because the process was moved to the background just now (see
                    // `fail_background_reads`).
                    Err(Errno::IO) if self.pauses && tty::is_background(&stdin) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }
}

/// Converts an Up or Down key to a turn of the mouse wheel in the same direction. Returns `None`
/// for any other event. The position in the result is always 0, because the key doesn't tell where
/// the mouse is.
fn as_scrolled(event: &Event) -> Option<Event> {
    let Event::Key(KeyEvent {
        code,
        modifiers: KeyModifiers::NONE,
        ..
    }) = event
    else {
        return None;
    };
    let kind = match code {
        KeyCode::Up => MouseEventKind::ScrollUp,
        KeyCode::Down => MouseEventKind::ScrollDown,
        _ => return None,
    };
    Some(Event::Mouse(MouseEvent {
        kind,
        column: 0,
        row: 0,
        modifiers: KeyModifiers::NONE,
    }))
}

/// Returns a socket that becomes readable when the signal arrives.
fn notified_by(signal: i32) -> io::Result<UnixStream> {
    let (reader, writer) = UnixStream::pair()?;
    reader.set_nonblocking(true)?;
    signal_hook::low_level::pipe::register(signal, writer)?;
    Ok(reader)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns, for each Up key in input that arrives in `reads`, whether it counts as the mouse
    /// wheel.
    fn scrolls(reads: &[&[u8]]) -> Vec<bool> {
        let mut keyboard = Keyboard::open().expect("socket pairs");
        for bytes in reads {
            keyboard.push(bytes);
        }
        let Keyboard {
            typed_ahead,
            parser,
            ..
        } = keyboard;
        let events = typed_ahead.into_iter().chain(parser);
        events
            .map(|event| matches!(event, Event::Mouse(_)))
            .collect()
    }

    #[test]
    fn a_turn_of_the_mouse_wheel_is_recognized_wherever_a_network_splits_it() {
        let turn = b"\x1bOA\x1bOA\x1bOA";
        for at in 0..turn.len() {
            // If the input is split between two keys, the first or the last key arrives alone.
            // Nothing shows that it belongs to a turn of the wheel, so it counts as a key.
            let expected = match at {
                3 => [false, true, true],
                6 => [true, true, false],
                _ => [true; 3],
            };
            let (first, second) = turn.split_at(at);
            assert_eq!(scrolls(&[first, second]), expected, "{at}");
        }
    }

    #[test]
    fn a_turn_of_the_mouse_wheel_continues_while_its_next_arrow_key_is_incomplete() {
        let mut keyboard = Keyboard::open().expect("socket pairs");
        for (bytes, expected) in [(&b"\x1bOA\x1b"[..], true), (b"OA", false)] {
            keyboard.push(bytes);
            assert!(matches!(keyboard.read(), Ok(Event::Mouse(_))));
            assert_eq!(keyboard.scrolls_on(), expected, "{bytes:?}");
        }
    }

    #[test]
    fn arrow_keys_that_arrive_in_pieces_do_not_count_as_the_mouse_wheel() {
        assert_eq!(scrolls(&[b"\x1b", b"O", b"A", b"\x1bO", b"A"]), [false; 2]);
        assert_eq!(scrolls(&[b"\x1bOA", b"\x1b", b"OA"]), [false; 2]);
    }
}
