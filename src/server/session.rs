//! A member's reader thread: reads lines, parses them, and hands the requests to the room.

use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::net;
use crate::os;
use crate::protocol::limits::MAX_UNTERMINATED;
use crate::protocol::request::{Request, RequestError};
use crate::server::Shared;
use crate::server::delivery::role::DeliveryRole;
use crate::server::log::Entry;
use crate::server::login::Admitted;
use crate::server::members::ConnectionId;
use crate::server::rate_limit::{BURST, Rate};
use crate::server::room::Standing;
use crate::server::thread_budget::ReaderPermit;
use crate::sync::Instant;

/// Initial size of a read buffer, in bytes. Most clients never need more, and a room may have
/// thousands of buffers.
const FIRST_READ: usize = 512;

/// Limit on the size of a read buffer, in bytes. It also limits how much one client adds to a
/// batch.
const LONGEST_READ: usize = 16 * 1024;

/// Limit on the requests that are handed to the room at once. The room checks only before the first
/// of them whether its queue is full, so without this limit, a flood of tiny lines would make the
/// queue far too long.
const BATCH: usize = 256;

/// A member's session. Created by the thread `accept`, run by the member's reader thread.
pub(crate) struct Session<'scope, 'env> {
    shared: &'env Shared,
    delivery: Arc<DeliveryRole<'scope, 'env>>,
    member: Admitted,
    rate: Rate,
}

/// Reason why reading from a member ended.
enum ReadEnd {
    /// The input has ended. All lines of the member are handled before it leaves.
    InputOver,
    /// The connection broke.
    Lost,
    /// The client is no longer a member. The connection lingers so that the peer can read its last
    /// line.
    Gone,
}

/// Removes the member from the room when its reader thread ends, even if it panics.
struct LeaveOnDrop<'a>(&'a Shared, ConnectionId);

impl Drop for LeaveOnDrop<'_> {
    fn drop(&mut self) {
        self.0.room.leave(self.1, None);
    }
}

impl<'scope, 'env> Session<'scope, 'env> {
    pub(crate) fn new(
        shared: &'env Shared,
        delivery: Arc<DeliveryRole<'scope, 'env>>,
        member: Admitted,
    ) -> Self {
        let now = Instant::now();
        let used = if member.connection.is_first() {
            shared.burst_limit.used(member.peer, now)
        } else {
            // Allow no burst after a resume. Otherwise a client could evade the limit by resuming
            // often.
            BURST
        };
        let rate = Rate::new(shared.rate, used, now);
        Self {
            shared,
            delivery,
            member,
            rate,
        }
    }

    pub(crate) fn member(&self) -> &Admitted {
        &self.member
    }

    /// Runs the reader thread until the connection ends. The permit is returned when this function
    /// returns.
    pub(crate) fn run(self, _permit: ReaderPermit<'_>) {
        let (shared, name) = (self.shared, self.member.name.clone());
        // Catch a panic, so that it ends only this connection and not the server.
        if catch_unwind(AssertUnwindSafe(|| self.serve())).is_err() {
            shared.log.post(Entry::Error(format!(
                "the thread of {name} failed; please report this"
            )));
        }
        shared.linger.closed();
    }

    fn serve(mut self) {
        let connection = self.member.connection;
        let _leave = LeaveOnDrop(self.shared, connection);
        let end = self.read();
        // Count the burst before the member leaves, so that a client that joins again at once does
        // not get another burst.
        let (peer, now) = (self.member.peer, Instant::now());
        let used = self.rate.used(now);
        self.shared.burst_limit.count(peer, used, now);
        match end {
            ReadEnd::InputOver => return,
            ReadEnd::Lost => self.shared.room.leave(connection, Some("connection lost")),
            ReadEnd::Gone => {}
        }
        // Discard input until the peer closes the connection, or `Linger` shuts it down.
        let mut input = vec![0; FIRST_READ];
        while !matches!(
            net::receive(&self.member.socket, &mut input),
            Ok(0) | Err(_)
        ) {}
    }

    fn read(&mut self) -> ReadEnd {
        let mut input = vec![0; FIRST_READ];
        let mut input_over = self.member.input_over;
        let pacer = &self.shared.pacer;
        let mut turn = None;
        loop {
            let round = pacer.round();
            let requested = match self.handle_lines(input_over) {
                ControlFlow::Break(end) => return end,
                ControlFlow::Continue(requested) => requested,
            };
            drop(turn.take());
            if input_over {
                return ReadEnd::InputOver;
            }
            if self.member.lines.unended() >= MAX_UNTERMINATED {
                let error = "no line ending in 64 KiB: end each line with LF";
                let reason = "no line ending in 64 KiB";
                self.shared.room.cut(self.member.connection, error, reason);
                return ReadEnd::Gone;
            }
            // If the client sent more than one line, wait until these lines were sent to the
            // members. Lines that the client sends meanwhile then also go out together.
            if requested > 1 {
                turn = pacer.wait(round);
                if !net::wait_readable(&self.member.socket, Duration::ZERO).unwrap_or(true) {
                    drop(turn.take());
                }
            }
            match net::receive(&self.member.socket, &mut input) {
                Ok(0) => input_over = true,
                Ok(read) => {
                    let member = &mut self.member;
                    let answers = member.telnet.decode(&input[..read], &mut member.lines);
                    if !answers.is_empty() {
                        // Count an answer to telnet commands as a line, so that their rate is
                        // limited too.
                        self.rate.count(Instant::now());
                        self.shared.room.answer_telnet(member.connection, &answers);
                        self.delivery.deliver_or_wake();
                    }
                    if read == input.len() && read < LONGEST_READ {
                        input.resize(2 * read, 0);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return ReadEnd::Lost,
            }
        }
    }

    /// Hands all complete lines to the room, within the client's rate limit. Returns the number of
    /// requests that the room got. If the connection breaks while some lines wait because of the
    /// rate limit, these lines are dropped.
    fn handle_lines(&mut self, input_over: bool) -> ControlFlow<ReadEnd, usize> {
        let mut requests = Vec::new();
        let mut requested = 0;
        loop {
            let now = Instant::now();
            let wait = self.rate.wait(now);
            if wait.is_some() || requests.len() == BATCH {
                self.submit(&mut requests)?;
            }
            if let Some(wait) = wait {
                // The socket is not read during this wait, so TCP slows the client down. If the
                // connection closes, drop the lines that exceed the rate. Otherwise a client could
                // evade the limit by sending many lines and hanging up.
                if net::wait_hangup(&self.member.socket, wait).unwrap_or_default() {
                    return ControlFlow::Break(ReadEnd::Lost);
                }
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
            let lines = if matches!(request, Ok(Request::Online)) {
                self.shared.room.online_cost()
            } else {
                1
            };
            self.rate.count_lines(lines, now);
            // Do not count an empty line as a request: it posts nothing, so the caller must not
            // wait for it to be sent.
            if !matches!(request, Ok(Request::Nothing)) {
                requests.push(request);
                requested += 1;
            }
        }
        self.submit(&mut requests)?;
        ControlFlow::Continue(requested)
    }

    fn submit(
        &mut self,
        requests: &mut Vec<Result<Request, RequestError>>,
    ) -> ControlFlow<ReadEnd> {
        if requests.is_empty() {
            return ControlFlow::Continue(());
        }
        let room = &self.shared.room;
        let standing = room.handle(self.member.connection, requests.drain(..));
        self.delivery.deliver_or_wake();
        match standing {
            Standing::Gone => return ControlFlow::Break(ReadEnd::Gone),
            Standing::Member(None) => {}
            Standing::Member(Some(name)) => os::set_thread_name("c:", name.as_str()),
        }
        ControlFlow::Continue(())
    }
}
