//! One member's end of delivery: its socket, and what becomes of lines that the socket does not take.

use std::io::{ErrorKind, IoSlice};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::thread::{Builder, Scope};

use crate::net::{self, SharedPayload};
use crate::os;
use crate::protocol::event::Answer;
use crate::protocol::request::Format;
use crate::protocol::text::Text;
use crate::server::Shared;
use crate::server::delivery::backlog::{Append, Backlog, Cutting, Written};
use crate::server::delivery::batch::SendPlan;
use crate::server::members::ConnectionId;

/// Stack of a writer thread, in bytes: it calls nothing deep.
const WRITER_STACK: usize = 64 * 1024;

/// One member, as the delivery thread sees it.
pub(crate) struct Recipient {
    pub(crate) link: ConnectionId,
    pub(crate) socket: Arc<TcpStream>,
    pub(crate) format: Format,
    pub(crate) name: Text,
    pub(crate) plan: SendPlan,
    /// What it has not taken yet, where its socket was full.
    pub(crate) backlog: Option<Arc<Backlog>>,
}

/// Why a member's connection ends in the middle of a round.
pub(crate) enum DropReason {
    TooSlow,
    /// The same, and a line may be half sent.
    Torn,
    Lost,
}

impl Recipient {
    /// Sends `parts`, which are, where there is a sheet, what stands in it from that place on.
    pub(crate) fn send<'scope, 'env>(
        &mut self,
        parts: &mut Vec<IoSlice<'_>>,
        payload: Option<(&SharedPayload, usize)>,
        exempt: usize,
        shared: &'env Shared,
        scope: &'scope Scope<'scope, 'env>,
    ) -> Result<(), DropReason> {
        parts.retain(|part| !part.is_empty());
        if let Some(backlog) = &self.backlog {
            match backlog.append(parts, exempt) {
                Append::Taken => return Ok(()),
                Append::CaughtUp => self.backlog = None,
                Append::TooFar => return Err(DropReason::TooSlow),
            }
        }
        let mut rest = parts.as_mut_slice();
        if let Some((payload, start)) = payload {
            // Where it fails, the send that follows says why.
            let sent = payload.send_now(&self.socket, start).unwrap_or(0);
            IoSlice::advance_slices(&mut rest, sent);
        }
        while !rest.is_empty() {
            match net::send_now(&self.socket, rest) {
                Ok(sent) => IoSlice::advance_slices(&mut rest, sent),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return self.fall_behind(rest, exempt, shared, scope);
                }
                Err(_) => return Err(DropReason::Lost),
            }
        }
        Ok(())
    }

    /// The socket is full: the rest goes to a thread of its own.
    pub(crate) fn fall_behind<'scope, 'env>(
        &mut self,
        rest: &[IoSlice<'_>],
        exempt: usize,
        shared: &'env Shared,
        scope: &'scope Scope<'scope, 'env>,
    ) -> Result<(), DropReason> {
        let backlog = Arc::new(Backlog::new(rest, exempt));
        let Some(place) = shared.thread_budget.writer() else {
            return Err(DropReason::Torn);
        };
        let (queue, socket) = (Arc::clone(&backlog), Arc::clone(&self.socket));
        let link = self.link;
        let write = move || {
            let _place = place;
            match queue.write(&socket) {
                Written::CaughtUp => {}
                Written::Closed => finish(socket, shared),
                Written::Stalled => {
                    shared.room.leave(link, Some("too slow"));
                    let _ = socket.shutdown(Shutdown::Both);
                }
                Written::Lost => {
                    shared.room.leave(link, Some("connection lost"));
                    let _ = socket.shutdown(Shutdown::Both);
                }
            }
        };
        let builder = Builder::new().name(os::thread_name("w:", self.name.as_str()));
        match builder.stack_size(WRITER_STACK).spawn_scoped(scope, write) {
            Ok(_) => {
                self.backlog = Some(backlog);
                Ok(())
            }
            // There is no thread to be had.
            Err(_) => Err(DropReason::Torn),
        }
    }

    /// Ends the connection once all is sent; gives the socket where a writer thread has to do that.
    pub(crate) fn close(self, shared: &Shared) -> Option<Arc<TcpStream>> {
        match &self.backlog {
            Some(backlog) if backlog.close() => Some(self.socket),
            Some(_) | None => {
                finish(self.socket, shared);
                None
            }
        }
    }

    /// Ends the connection for a reason that it is told, after the line that is half sent. What waits for it is thrown away.
    pub(crate) fn cut(self, reason: &str, shared: &Shared) {
        let mut line = Vec::new();
        Answer::Error(Text::new(reason)).write(self.format, &mut line);
        match self.backlog.map(|backlog| backlog.cut(&line)) {
            Some(Cutting::Later) => shared.linger.add(self.socket),
            Some(Cutting::GivenUp) => finish(self.socket, shared),
            None | Some(Cutting::CaughtUp) => {
                // All before it was sent. Where it finds no place, the peer has none to read it either.
                let _ = net::send_now(&self.socket, &[IoSlice::new(&line)]);
                finish(self.socket, shared);
            }
        }
    }
}

/// Everything is sent: the peer reads it, closes, and its thread ends.
fn finish(socket: Arc<TcpStream>, shared: &Shared) {
    // Where it fails, the peer has closed.
    let _ = socket.shutdown(Shutdown::Write);
    shared.linger.add(socket);
}
