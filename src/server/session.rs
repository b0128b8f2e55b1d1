//! A client's thread: reads its lines, one batch a read, and hands them to the room.

use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::net;
use crate::os;
use crate::protocol::limits::MAX_UNTERMINATED;
use crate::protocol::request::{Request, RequestError};
use crate::server::Shared;
use crate::server::log::Entry;
use crate::server::login::Admitted;
use crate::server::members::ConnectionId;
use crate::server::rate_limit::Rate;
use crate::server::room::Standing;
use crate::server::thread_budget::ReaderPermit;

/// Bytes of a client's first read. Most clients never need more, and there may be thousands of them.
const FIRST_READ: usize = 512;

/// Bytes of the longest read: what one client can bring into a round.
const LONGEST_READ: usize = 16 * 1024;

/// Lines that are handed to the room at once, so that one client's flood of tiny lines does not fill a round.
const BATCH: usize = 256;

/// A member's thread, or what it will be.
pub(crate) struct Session<'a> {
    shared: &'a Shared,
    member: Admitted,
    rate: Rate,
}

/// How a member's reading ends.
enum End {
    /// Its input is over: what it sent is delivered, and it leaves.
    InputOver,
    /// The connection broke.
    Lost,
    /// It is no member any more; its connection ends when it has read the last line.
    Gone,
}

/// A member is out of the room when its thread ends, also by a panic.
struct Leave<'a>(&'a Shared, ConnectionId);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.room.leave(self.1, None);
    }
}

impl<'a> Session<'a> {
    pub(crate) fn new(shared: &'a Shared, member: Admitted) -> Self {
        let now = Instant::now();
        let rate = match member.connection.is_first() {
            true => Rate::new(shared.rate, now),
            // Or one could send without limit by coming back again and again.
            false => Rate::steady(shared.rate, now),
        };
        Self {
            shared,
            member,
            rate,
        }
    }

    /// Who it is.
    pub(crate) fn member(&self) -> &Admitted {
        &self.member
    }

    /// Serves a member to its end; the body of its thread, which has this place.
    pub(crate) fn run(self, _place: ReaderPermit<'_>) {
        let (shared, name) = (self.shared, self.member.name.clone());
        // What fails for one client ends that client.
        if catch_unwind(AssertUnwindSafe(|| self.serve())).is_err() {
            shared.log.post(Entry::Error(format!(
                "the thread of {name} failed; please report this"
            )));
        }
        shared.linger.closed();
    }

    fn serve(mut self) {
        let connection = self.member.connection;
        let _leave = Leave(self.shared, connection);
        match self.read() {
            End::InputOver => {}
            End::Lost => self.shared.room.leave(connection, Some("connection lost")),
            End::Gone => {
                // The peer reads its last line and closes; if it does not, `Linger` shuts the socket.
                let mut input = vec![0; FIRST_READ];
                while !matches!(
                    net::receive(&self.member.socket, &mut input),
                    Ok(0) | Err(_)
                ) {}
            }
        }
    }

    fn read(&mut self) -> End {
        let mut input = vec![0; FIRST_READ];
        let mut input_over = self.member.input_over;
        let pacer = &self.shared.pacer;
        let mut step = None;
        loop {
            let round = pacer.round();
            let handed_in = match self.handle_lines(input_over) {
                ControlFlow::Break(end) => return end,
                ControlFlow::Continue(handed_in) => handed_in,
            };
            drop(step.take());
            if input_over {
                return End::InputOver;
            }
            if self.member.lines.unended() >= MAX_UNTERMINATED {
                let error = "64 KiB without a line ending: end each line with LF";
                let reason = "a line without end";
                self.shared.room.cut(self.member.connection, error, reason);
                return End::Gone;
            }
            // Who sends faster than it is read does not gain by being read at once: its next lines go out together.
            if handed_in > 1 {
                step = pacer.wait(round);
                if !net::wait_readable(&self.member.socket, Duration::ZERO).unwrap_or(true) {
                    drop(step.take());
                }
            }
            match net::receive(&self.member.socket, &mut input) {
                Ok(0) => input_over = true,
                Ok(read) => {
                    self.member.lines.push(&input[..read]);
                    if read == input.len() && read < LONGEST_READ {
                        input.resize(2 * read, 0);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return End::Lost,
            }
        }
    }

    /// Hands in all whole lines, as fast as this client may send, and tells how many of them asked for something.
    fn handle_lines(&mut self, input_over: bool) -> ControlFlow<End, usize> {
        let mut requests = Vec::new();
        let (mut handed_in, mut lost) = (0, false);
        loop {
            let now = Instant::now();
            let wait = self.rate.wait(now).filter(|_| !lost);
            if wait.is_some() || requests.len() == BATCH {
                self.hand_in(&mut requests)?;
            }
            if let Some(wait) = wait {
                // Its socket is not read meanwhile, so TCP holds it back. A hang-up ends the wait: what this
                // has read still counts, what lies in the kernel goes with the connection.
                lost = net::wait_hangup(&self.member.socket, wait).unwrap_or_default();
                continue;
            }
            let line = match self.member.lines.next_line() {
                None if input_over => self.member.lines.last_line(),
                line => line,
            };
            let Some(line) = line else { break };
            let request = match line {
                Ok(line) => Request::parse(line, self.member.format),
                Err(error) => Err(RequestError::Line(error)),
            };
            self.rate.count(now);
            // A round that nothing leads to is not to be waited for.
            if !matches!(request, Ok(Request::Nothing)) {
                requests.push(request);
                handed_in += 1;
            }
        }
        self.hand_in(&mut requests)?;
        if lost {
            ControlFlow::Break(End::Lost)
        } else {
            ControlFlow::Continue(handed_in)
        }
    }

    fn hand_in(&mut self, requests: &mut Vec<Result<Request, RequestError>>) -> ControlFlow<End> {
        if requests.is_empty() {
            return ControlFlow::Continue(());
        }
        match self
            .shared
            .room
            .handle(self.member.connection, requests.drain(..))
        {
            Standing::Gone => return ControlFlow::Break(End::Gone),
            Standing::Member(None) => {}
            Standing::Member(Some(name)) => os::set_thread_name("c:", name.as_str()),
        }
        ControlFlow::Continue(())
    }
}
