//! Chatting over one connection: shows what the server sends, and sends what the user enters.

use std::io;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::anyhow;

use crate::client::event::{ClientEvent, Disconnect, Lost, StdinEvent, Stop};
use crate::client::event_loop::EventLoop;
use crate::client::net::connection::{self, Connection};
use crate::client::net::in_flight::{InFlight, Unacked};
use crate::client::net::send_queue::SendQueue;
use crate::client::net::stdin::StdinRequest;
use crate::client::session::login::Joined;
use crate::client::session::room::RoomState;
use crate::client::ui::Ui;
use crate::client::ui::tui::Submission;
use crate::protocol::event::{Answer, Event, MemberId};
use crate::protocol::json::Received;
use crate::protocol::request::{Format, Request};

/// How often to report how many lines of piped input are still in flight.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// How long a message must be in flight before the status line shows the number of messages in
/// flight.
const STATUS_DELAY: Duration = Duration::from_secs(1);

pub(crate) struct ChatSession<'a> {
    pub(crate) events: &'a mut EventLoop,
    room: &'a mut RoomState,
    /// This client's member ID.
    id: MemberId,
    connection: Connection,
    receiver: JoinHandle<()>,
    in_flight: InFlight,
    /// The queue of lines from the terminal UI. `None` in the plain UI, in which the thread that
    /// reads stdin also sends.
    send_queue: Option<SendQueue>,
    /// How long the server may stay silent while the echo of a message is due. After this time, the
    /// terminal UI treats the connection as lost.
    pub(crate) answer_time: Duration,
    input_over: bool,
    close_reason: Option<CloseReason>,
}

/// The reason that the server announced for closing the connection.
#[derive(Clone, Copy)]
enum CloseReason {
    ShutDown,
    Kicked,
    /// The server disconnected the client, because the client read too slowly.
    Cut,
}

impl CloseReason {
    fn from_error(text: &str) -> Option<Self> {
        if text.starts_with("you were kicked") {
            Some(Self::Kicked)
        } else if text.starts_with("you were cut") {
            Some(Self::Cut)
        } else {
            None
        }
    }
}

impl<'a> ChatSession<'a> {
    /// Shows the welcome, and starts sending.
    ///
    /// # Errors
    /// Stdout cannot be written to, or a thread cannot be started.
    pub(crate) fn enter(
        joined: Joined,
        events: &'a mut EventLoop,
        room: &'a mut RoomState,
        answer_time: Duration,
    ) -> Result<Self, Stop> {
        events.is_disconnected = false;
        events.report_tally(room.begin_tally(&joined.welcome, joined.has_resumed));
        events.report_name(&joined.welcome.name);
        let (last_shown, notice) = room.enter(&joined.welcome, joined.has_resumed);
        let shown = events.ui.welcome(&joined.welcome, last_shown);
        shown.map_err(Stop::cannot_write_stdout)?;
        if let Some(notice) = notice {
            events.ui.show_error(&notice);
        }
        let connection = joined.connection;
        let id = joined.welcome.id;
        let in_flight = InFlight::new(id, std::mem::take(&mut room.unacked));
        let send_queue = match &events.ui {
            Ui::Plain(_, stdin) => {
                stdin.request(StdinRequest::SendAll(connection.clone(), in_flight.clone()));
                None
            }
            Ui::Tui(_) => {
                let queue = SendQueue::start(connection.clone());
                Some(queue.map_err(Stop::cannot_start_thread)?)
            }
        };
        let mut session = Self {
            events,
            room,
            id,
            connection,
            receiver: joined.receiver,
            in_flight,
            send_queue,
            answer_time,
            input_over: false,
            close_reason: None,
        };
        // If the client missed no event, no replay follows, so report lost messages now. Otherwise,
        // they are reported after the replay.
        session.report_lost();
        session.send_waiting();
        Ok(session)
    }

    /// Chats until the user leaves or the connection is over.
    pub(crate) fn chat(&mut self) -> Result<(), Stop> {
        self.handle_events()?;
        let flushed = self.events.ui.flush();
        flushed.map(drop).map_err(Stop::cannot_write_stdout)
    }

    fn handle_events(&mut self) -> Result<(), Stop> {
        let mut report_at = (!self.events.is_interactive).then(|| Instant::now() + REPORT_INTERVAL);
        loop {
            let silent_since = self
                .send_queue
                .as_ref()
                .and_then(|_| self.in_flight.silent_since());
            let answer_by = silent_since.map(|since| since + self.answer_time);
            let status_at = self.update_status();
            let deadline = [report_at, answer_by, status_at]
                .into_iter()
                .flatten()
                .min();
            let Some(event) = self.events.next_until(deadline)? else {
                let now = Instant::now();
                if answer_by.is_some_and(|deadline| deadline <= now) {
                    return self.disconnected(Disconnect::Lost(io::ErrorKind::TimedOut.into()));
                }
                if report_at.is_some_and(|deadline| deadline <= now) {
                    self.report_left();
                    report_at = Some(now + REPORT_INTERVAL);
                }
                continue;
            };
            match event {
                ClientEvent::Received(received) => self.on_received(&received)?,
                ClientEvent::Disconnected(disconnect) => {
                    self.report_unsent();
                    return self.disconnected(disconnect);
                }
                ClientEvent::Entered => {
                    if self.submit() {
                        return Ok(());
                    }
                }
                ClientEvent::Stdin(StdinEvent::Unsendable(_, error))
                    if self.events.is_interactive =>
                {
                    self.events.ui.show_error(&error);
                }
                ClientEvent::Stdin(StdinEvent::Unsendable(number, error)) => {
                    self.room.has_unsent = true;
                    let error = format!("line {number} is not sent: {error}");
                    self.events.ui.show_failure(&error);
                }
                // On a terminal, the end of stdin means that the user leaves at once. After piped
                // input, the client waits until the server has handled all lines and closes the
                // connection.
                ClientEvent::Stdin(StdinEvent::Over) if self.events.is_interactive => return Ok(()),
                ClientEvent::Stdin(StdinEvent::Over) => self.input_over = true,
                ClientEvent::Stdin(StdinEvent::Failed(error)) => {
                    return Err(Stop::cannot_read_stdin(error));
                }
                // Ignore a requested line, a login result and a permission to log in, because no
                // chat waits for these. The event loop has already handled the terminal's events
                // and requests to leave.
                ClientEvent::Stdin(StdinEvent::Line(_))
                | ClientEvent::Terminal(_)
                | ClientEvent::TerminalGone
                | ClientEvent::Login(_)
                | ClientEvent::Turn
                | ClientEvent::Leave => {}
            }
        }
    }

    /// Shows the number of messages in flight once the first of them has been in flight for
    /// [`STATUS_DELAY`]. Before that, returns the time at which the number must be shown.
    fn update_status(&mut self) -> Option<Instant> {
        let pending = self
            .in_flight
            .pending()
            .filter(|_| self.send_queue.is_some());
        let late_at = pending.map(|(_, sent_at)| sent_at + STATUS_DELAY);
        let is_early = late_at.is_some_and(|at| at > Instant::now());
        let status = pending
            .filter(|_| !is_early)
            .map(|(count, _)| lines_left(count));
        self.events.ui.set_status(status);
        late_at.filter(|_| is_early)
    }

    pub(crate) fn on_received(&mut self, received: &Received) -> Result<(), Stop> {
        self.track(received);
        if let Received::Record(record, is_replay) = received {
            self.room.count(record, *is_replay);
            if let Event::Renamed { id, to, .. } = &record.event
                && *id == self.id
            {
                self.events.report_name(to);
            }
            if let Some(gap) = self.room.gap_before(record) {
                self.events.ui.show_error(&gap);
            }
            if !self.room.is_new(record) {
                return Ok(());
            }
        }
        let shown = self.events.ui.received(received);
        shown.map_err(Stop::cannot_write_stdout)?;
        self.report_lost();
        Ok(())
    }

    /// Updates two things from a received line: the messages in flight, and the reason that the
    /// server announces before it closes the connection.
    fn track(&mut self, received: &Received) {
        match received {
            Received::Record(record, false) if record.event == Event::Shutdown => {
                self.close_reason = Some(CloseReason::ShutDown);
            }
            Received::Answer(Answer::Error(text)) => match self.close_reason {
                Some(CloseReason::ShutDown) => {}
                Some(CloseReason::Kicked | CloseReason::Cut) | None => {
                    self.close_reason = CloseReason::from_error(text.as_str());
                }
            },
            Received::Record(..) | Received::Answer(_) | Received::Unknown => {}
        }
        match self.close_reason {
            // This error acknowledges no message, because it announces that the connection will be
            // closed.
            Some(CloseReason::Kicked | CloseReason::Cut) => {}
            Some(CloseReason::ShutDown) | None => self.in_flight.acknowledge(received),
        }
    }

    /// Once the replay is complete, reports the user's messages that were sent over an earlier
    /// connection and that the replay does not contain.
    fn report_lost(&mut self) {
        if !self.events.ui.has_caught_up() {
            return;
        }
        for Unacked {
            text, is_private, ..
        } in self.in_flight.take_lost()
        {
            let what = if is_private {
                "this may not have been delivered"
            } else {
                "this was not sent"
            };
            self.events.ui.show_error(&format!("{what}: {text}"));
        }
    }

    /// Sends the lines that the user entered while there was no connection.
    fn send_waiting(&mut self) {
        let Ui::Tui(tui) = &mut self.events.ui else {
            return;
        };
        let mut lines = tui.take_waiting();
        if self.room.has_changed {
            // Do not send private messages to a different room, where the name of the recipient may
            // belong to a different person.
            lines.retain(|line| {
                let request = Request::parse(line, Format::Json);
                let is_private = matches!(request, Ok(Request::Msg(..)));
                if is_private {
                    tui.show_error(&format!("not sent, since this is a different room: {line}"));
                }
                !is_private
            });
        }
        self.send(lines);
    }

    /// Sends the lines that the user entered in the terminal UI. Returns whether the user leaves.
    fn submit(&mut self) -> bool {
        let Ui::Tui(tui) = &mut self.events.ui else {
            return false;
        };
        match tui.submit() {
            Submission::None => {}
            Submission::Leave => return true,
            Submission::Lines(lines) => {
                tui.take_line();
                self.send(lines);
            }
        }
        false
    }

    fn send(&mut self, lines: Vec<String>) {
        let Some(queue) = &self.send_queue else {
            return;
        };
        let count = lines.len();
        let sent = lines
            .into_iter()
            .take_while(|line| queue.push(line.clone()))
            .inspect(|line| self.in_flight.push(line))
            .count();
        if sent < count {
            let left = count - sent;
            self.events.ui.show_error(&format!(
                "{left} of {count} lines are not sent: too many are waiting already"
            ));
        }
    }

    /// The number of lines from the terminal UI that are in flight; `None` if there are none.
    pub(crate) fn unechoed(&self) -> Option<u64> {
        self.send_queue.as_ref()?;
        self.in_flight.pending().map(|(count, _)| count)
    }

    /// The number of piped lines in flight, and a prefix for that number. The prefix is "at least"
    /// until stdin has ended, because more lines may be in the pipe.
    fn pipe_left(&self) -> (u64, &'static str) {
        let left = self.in_flight.pending().map_or(0, |(count, _)| count);
        (left, if self.input_over { "" } else { "at least " })
    }

    /// Reports on stderr how many lines of piped input are in flight.
    fn report_left(&mut self) {
        let (left, at_least) = self.pipe_left();
        if left > 0 {
            let notice = format!("{at_least}{}", lines_left(left));
            self.events.ui.show_notice(&notice);
        }
    }

    /// Reports on stderr, after the connection has ended, how many lines of piped input were not
    /// sent or may not have been sent.
    fn report_unsent(&mut self) {
        let (left, at_least) = self.pipe_left();
        if left == 0 || self.events.is_interactive {
            return;
        }
        self.room.has_unsent = true;
        let lines = if left == 1 { "line" } else { "lines" };
        let unsent = match self.close_reason {
            Some(CloseReason::ShutDown | CloseReason::Kicked) if left == 1 => "is not sent",
            Some(CloseReason::ShutDown | CloseReason::Kicked) => "are not sent",
            // Do not say that the lines are lost: perhaps only their echoes were lost with the
            // connection.
            Some(CloseReason::Cut) | None => "may not have been sent",
        };
        let error = format!("{at_least}{left} {lines} {unsent}");
        self.events.ui.show_failure(&error);
    }

    /// Tells the launcher which events have been received so far. Later ones are not counted.
    pub(crate) fn report_tally(&mut self) {
        self.events.report_tally(self.room.end_tally());
    }

    /// Closes the connection's sending side after all queued lines are sent.
    pub(crate) fn finish_sending(&mut self) {
        match &mut self.send_queue {
            Some(queue) => queue.close(),
            None => self.connection.finish(),
        }
    }

    /// Waits for the server to close the connection, but only for a limited time.
    pub(crate) fn wait_for_disconnect(&mut self) {
        let (in_flight, events) = (&self.in_flight, &mut *self.events);
        events.wait_for_disconnect(|received| in_flight.acknowledge(received));
    }

    /// Closes the connection and ends its threads. Keeps the messages in flight for the next
    /// connection.
    pub(crate) fn close(mut self) {
        self.connection.close();
        self.in_flight.close();
        self.wait_for_disconnect();
        if self.events.is_disconnected {
            let _ = self.receiver.join();
        }
        if let Some(queue) = self.send_queue {
            queue.join();
            self.room.unacked = self.in_flight.take_all();
        }
    }

    /// Returns the result of a session whose connection ended with `disconnect`.
    fn disconnected(&self, disconnect: Disconnect) -> Result<(), Stop> {
        let closed = Lost {
            reason: "the server closed the connection".into(),
            advice: "start chat-client again to come back",
        };
        match (disconnect, self.close_reason) {
            (Disconnect::Closed | Disconnect::Lost(_), Some(CloseReason::ShutDown)) => {
                Err(Stop::ShutDown)
            }
            (Disconnect::Closed, Some(CloseReason::Kicked)) => Err(Stop::Kicked(closed)),
            (Disconnect::Closed, None) if self.input_over => Ok(()),
            (Disconnect::Closed, None | Some(CloseReason::Cut)) => Err(Stop::Lost(closed)),
            (Disconnect::Lost(error), None | Some(CloseReason::Kicked | CloseReason::Cut)) => {
                Err(Stop::Lost(Lost {
                    reason: format!("the connection is lost ({})", connection::reason(&error)),
                    advice: "start chat-client again when the server is back",
                }))
            }
            (Disconnect::LineTooLong, _) => Err(Stop::Failed(anyhow!(
                "the server sends a line of over 1 MiB: it is not a chat-server"
            ))),
        }
    }
}

/// Describes how many lines are still to be sent.
pub(crate) fn lines_left(count: u64) -> String {
    match count {
        1 => "1 line is left to be sent".into(),
        count => format!("{count} lines are left to be sent"),
    }
}
