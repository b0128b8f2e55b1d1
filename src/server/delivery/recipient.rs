//! A member as a recipient: its socket, and its backlog if the socket is full.

use std::io::{ErrorKind, IoSlice};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::net::{self, SharedPayload};
use crate::os;
use crate::protocol::event::Answer;
use crate::protocol::request::Format;
use crate::protocol::text::Text;
use crate::server::Shared;
use crate::server::delivery::backlog::{Append, Backlog, Cutting, FAREWELL, Written};
use crate::server::delivery::batch::SendPlan;
use crate::server::members::ConnectionId;
use crate::sync::thread::{Builder, Scope};

/// Stack size of a writer thread, in bytes. It is small, because the thread's call chain is
/// shallow.
const WRITER_STACK: usize = 64 * 1024;

/// A member, as the delivery sees it.
pub(crate) struct Recipient {
    pub(crate) connection: ConnectionId,
    pub(crate) socket: Arc<TcpStream>,
    pub(crate) format: Format,
    pub(crate) name: Text,
    pub(crate) plan: SendPlan,
    /// The unsent bytes if the socket was full. A writer thread sends them.
    pub(crate) backlog: Option<Arc<Backlog>>,
    /// The connection that `socket` has replaced, if that connection is still open.
    pub(crate) replaced: Weak<TcpStream>,
}

/// Reason why a member is dropped while a batch is sent.
pub(crate) enum DropReason {
    TooSlow,
    /// The member is slow, and no writer thread could be started to send its backlog. The last line
    /// may be half sent, so no error line can follow.
    Torn,
    Lost,
}

impl Recipient {
    /// Sends `parts` to the member. The `payload`, if there is one, has the same bytes from the
    /// given offset on. The bytes are then sent from the payload, because that is faster, and only
    /// the rest that it could not send is sent from `parts`.
    pub(crate) fn send<'scope, 'env>(
        &mut self,
        parts: &mut Vec<IoSlice<'_>>,
        payload: Option<(&SharedPayload, usize)>,
        exempt: usize,
        max_backlog: usize,
        shared: &'env Shared,
        scope: &'scope Scope<'scope, 'env>,
    ) -> Result<(), DropReason> {
        parts.retain(|part| !part.is_empty());
        if let Some(backlog) = &self.backlog {
            match backlog.append(parts, exempt, max_backlog) {
                Append::Taken => return Ok(()),
                Append::CaughtUp => self.backlog = None,
                Append::TooFar => return Err(DropReason::TooSlow),
            }
        }
        let mut rest = parts.as_mut_slice();
        if let Some((payload, start)) = payload {
            // Ignore errors here, because the send below reports any error of the socket.
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

    /// Creates a backlog from `rest`, which did not fit into the socket, and starts a writer
    /// thread.
    pub(crate) fn fall_behind<'scope, 'env>(
        &mut self,
        rest: &[IoSlice<'_>],
        exempt: usize,
        shared: &'env Shared,
        scope: &'scope Scope<'scope, 'env>,
    ) -> Result<(), DropReason> {
        let backlog = Arc::new(Backlog::new(rest, exempt));
        let Some(permit) = shared.thread_budget.writer() else {
            return Err(DropReason::Torn);
        };
        let (queue, socket) = (Arc::clone(&backlog), Arc::clone(&self.socket));
        let connection = self.connection;
        let write = move || {
            let _permit = permit;
            match queue.write(&socket, &shared.hold) {
                Written::CaughtUp => {}
                Written::Closed => shared.linger.finish(socket, FAREWELL),
                Written::Stalled => {
                    // Remove the member first. Otherwise its reader thread could do so when it
                    // notices the reset, and the others would not see the reason.
                    shared.room.leave(connection, Some("too slow"));
                    shared.linger.reset(&socket);
                }
                Written::Lost => {
                    shared.room.leave(connection, Some("connection lost"));
                    let _ = socket.shutdown(Shutdown::Both);
                }
            }
        };
        let builder = Builder::new().name(os::thread_name("w:", self.name.as_str()));
        let builder = builder.stack_size(WRITER_STACK);
        match shared.gauges.spawn(scope, builder, write) {
            Ok(()) => {
                shared.gauges.add_backlog(&self.name, &backlog);
                self.backlog = Some(backlog);
                Ok(())
            }
            Err(_) => Err(DropReason::Torn),
        }
    }

    /// Closes the connection once everything is sent. If a writer thread still has to send the
    /// backlog, returns the socket: shutting it down ends that thread early.
    pub(crate) fn close(self, shared: &Shared) -> Option<Arc<TcpStream>> {
        match &self.backlog {
            Some(backlog) if backlog.close() => Some(self.socket),
            Some(_) | None => {
                shared.linger.finish(self.socket, FAREWELL);
                None
            }
        }
    }

    /// Sends an error line and closes the connection. Discards the backlog, except for a line that
    /// is half sent. The peer has the time `patience` to read what is left.
    pub(crate) fn cut(self, reason: &str, patience: Duration, shared: &Shared) {
        let mut line = Vec::new();
        Answer::Error(Text::new(reason)).write(self.format, &mut line);
        match self.backlog.map(|backlog| backlog.cut(&line)) {
            Some(Cutting::Later) => shared.linger.reset_after(patience, &self.socket),
            Some(Cutting::GivenUp) => shared.linger.finish(self.socket, patience),
            None | Some(Cutting::CaughtUp) => {
                // All earlier lines were sent. Ignore an error: if the socket is full, the peer is
                // not reading.
                let _ = net::send_now(&self.socket, &[IoSlice::new(&line)]);
                shared.linger.finish(self.socket, patience);
            }
        }
    }
}
