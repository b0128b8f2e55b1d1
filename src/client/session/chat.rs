//! A member's time in the room: what comes is shown, what is entered is sent.

use std::io;
use std::time::{Duration, Instant};

use anyhow::{Error, anyhow};

use crate::client::net::connection::{self, Connection, End};
use crate::client::net::in_flight::InFlight;
use crate::client::net::outgoing::{Outgoing, Said};
use crate::client::net::stdin::{Ask, Typed};
use crate::client::session::login::Joined;
use crate::client::session::reconnect::Room;
use crate::client::ui::Ui;
use crate::client::ui::tui::Entered;
use crate::client::{Client, Happening, Lost, Stop};
use crate::os;
use crate::protocol::event::{Answer, Event, MemberId};
use crate::protocol::json::Received;

/// Time that a server has to close the connection of a user who leaves.
const LEAVE_TIME: Duration = Duration::from_secs(1);

/// Time after which a pipe that sends much is told how much is left, and how often it is told again.
const LEFT_TIME: Duration = Duration::from_secs(5);

/// Time after which a window shows that what was said has not arrived.
const SHOW_TIME: Duration = Duration::from_secs(1);

/// A member's time in the room, as far as it has come.
pub(crate) struct ChatSession {
    own: MemberId,
    /// What a window says.
    pub(crate) outgoing: Option<Outgoing>,
    /// What comes through a pipe, which its thread sends itself.
    in_flight: InFlight,
    input_over: bool,
    farewell: Option<CloseReason>,
}

/// Why the server is about to close the connection, as it has said.
#[derive(Clone, Copy)]
enum CloseReason {
    ShutDown,
    Kicked,
    Cut,
}

impl CloseReason {
    fn in_error(text: &str) -> Option<Self> {
        if text.starts_with("you were kicked") {
            Some(Self::Kicked)
        } else if text.starts_with("you were cut") {
            Some(Self::Cut)
        } else {
            None
        }
    }
}

impl Client {
    /// A member's time in the room. When it is over, so are its connection and its threads.
    pub(crate) fn stay(&mut self, joined: Joined, room: &mut Room) -> Result<(), Stop> {
        let Joined {
            welcome,
            has_resumed,
            connection,
            receiver,
        } = joined;
        self.has_ended = false;
        self.ui
            .welcome(&welcome, room.is_known())
            .map_err(Stop::unshown)?;
        if let Some(change) = room.enter(&welcome, has_resumed) {
            self.ui.refuse(&change);
        }
        let mut chat = ChatSession {
            own: welcome.id,
            outgoing: None,
            in_flight: InFlight::default(),
            input_over: false,
            farewell: None,
        };
        let result = self
            .begin(&mut chat, &connection, room)
            .and_then(|()| self.converse(&mut chat, room))
            .and_then(|()| self.ui.rest().map(drop).map_err(Stop::unshown));
        match &mut chat.outgoing {
            // It ends the connection when it has sent all.
            Some(outgoing) => outgoing.close(),
            None => connection.end(),
        }
        let hurries = matches!(result, Ok(()) | Err(Stop::Leave)) && self.see_off(&mut chat, room);
        if !self.has_ended && !hurries {
            self.has_ended = self.wait_for_end(&mut chat, room);
        }
        connection.close();
        chat.in_flight.close();
        if self.has_ended || self.wait_for_end(&mut chat, room) {
            let _ = receiver.join();
        }
        room.unacked = chat.outgoing.map(Outgoing::finish).unwrap_or_default();
        result
    }

    fn begin(
        &mut self,
        chat: &mut ChatSession,
        connection: &Connection,
        room: &mut Room,
    ) -> Result<(), Stop> {
        match &mut self.ui {
            Ui::Lines(_, asks) => {
                // The input thread ends after this one.
                let _ = asks.send(Ask::Chat(connection.clone(), chat.in_flight.clone()));
            }
            Ui::Tui(_) => {
                let outgoing =
                    Outgoing::start(connection.clone(), std::mem::take(&mut room.unacked))
                        .map_err(|error| Stop::Failed(Error::new(error).context(os::NO_THREAD)))?;
                chat.outgoing = Some(outgoing);
            }
        }
        // There may be nothing that it has missed.
        self.catch_up(chat, room);
        Ok(())
    }

    fn converse(&mut self, chat: &mut ChatSession, room: &mut Room) -> Result<(), Stop> {
        let mut tell_left = (!self.is_interactive).then(|| Instant::now() + LEFT_TIME);
        loop {
            let waits_since = chat.outgoing.as_ref().and_then(Outgoing::waits_since);
            let answer_by = waits_since.map(|since| since + self.config.answer_time);
            let show_left = self.show_left(chat);
            let next = [tell_left, answer_by, show_left].into_iter().flatten();
            let Some(happening) = self.next_until(next.min())? else {
                let now = Instant::now();
                if answer_by.is_some_and(|by| by <= now) {
                    return chat.end(End::Lost(io::ErrorKind::TimedOut.into()));
                }
                if tell_left.is_some_and(|at| at <= now) {
                    self.tell_left(chat);
                    tell_left = Some(now + LEFT_TIME);
                }
                continue;
            };
            match happening {
                Happening::Received(received) => self.hear(&received, chat, room)?,
                Happening::Ended(end) => {
                    self.tell_unsent(chat);
                    return chat.end(end);
                }
                Happening::Entered => {
                    if self.say(chat) {
                        return Ok(());
                    }
                }
                Happening::Typed(Typed::Unsendable(_, error)) if self.is_interactive => {
                    self.ui.refuse(&error);
                }
                Happening::Typed(Typed::Unsendable(number, error)) => {
                    self.is_all_sent = false;
                    self.ui.fail(&format!("line {number} is not sent: {error}"));
                }
                // A pipe waits for all that the server has to say, a user does not.
                Happening::Typed(Typed::Over) if self.is_interactive => return Ok(()),
                Happening::Typed(Typed::Over) => chat.input_over = true,
                Happening::Typed(Typed::Broken(error)) => return Err(Stop::unreadable(error)),
                // Nobody asked for a line, or to join; what comes from a terminal, the window has.
                Happening::Typed(Typed::Line(_))
                | Happening::Terminal(_)
                | Happening::NoKeys
                | Happening::Attempt(_)
                | Happening::Leave => {}
            }
        }
    }

    /// Shows above the line how much of what was said has not arrived, once that takes long; when it will, where it does not yet.
    fn show_left(&mut self, chat: &ChatSession) -> Option<Instant> {
        let left = chat.outgoing.as_ref().and_then(Outgoing::left);
        let show_at = left.map(|(_, said_at)| said_at + SHOW_TIME);
        let is_early = show_at.is_some_and(|at| at > Instant::now());
        let status = left.filter(|_| !is_early).map(|(left, _)| in_words(left));
        self.ui.status(status);
        show_at.filter(|_| is_early)
    }

    pub(crate) fn hear(
        &mut self,
        received: &Received,
        chat: &mut ChatSession,
        room: &mut Room,
    ) -> Result<(), Stop> {
        chat.hear(received, room);
        if let Received::Record(record, _) = received {
            if let Some(hole) = room.hole_before(record) {
                self.ui.refuse(&hole);
            }
            if !room.is_new(record) {
                return Ok(());
            }
        }
        self.ui.received(received).map_err(Stop::unshown)?;
        self.catch_up(chat, room);
        Ok(())
    }

    /// Where all that a client has missed is there now, it is known what of its own was not said.
    fn catch_up(&mut self, chat: &mut ChatSession, room: &mut Room) {
        if !room.has_caught_up() {
            return;
        }
        if let Ui::Tui(window) = &mut self.ui {
            window.end_past();
        }
        for Said {
            text, is_private, ..
        } in chat.outgoing.iter_mut().flat_map(Outgoing::lost)
        {
            let what = match is_private {
                true => "it is not known whether this was delivered",
                false => "this was not sent",
            };
            self.ui.refuse(&format!("{what}: {text}"));
        }
    }

    /// Sends what was entered in the window; `true` where that is the end.
    fn say(&mut self, chat: &mut ChatSession) -> bool {
        let (Ui::Tui(window), Some(outgoing)) = (&mut self.ui, &mut chat.outgoing) else {
            return false;
        };
        match window.entered() {
            Entered::Nothing => {}
            Entered::Leave => return true,
            Entered::Lines(lines) => {
                window.take_line();
                let count = lines.len();
                let said = lines
                    .into_iter()
                    .take_while(|line| outgoing.say(line.clone()));
                let left = count - said.count();
                if left > 0 {
                    window.refuse(&format!(
                        "{left} of {count} lines are not sent: too many are waiting already"
                    ));
                }
            }
        }
        false
    }

    /// Tells a pipe how much of what it brought the room does not have yet.
    fn tell_left(&mut self, chat: &ChatSession) {
        let left = chat.in_flight.left();
        if left > 0 {
            let least = if chat.input_over { "" } else { "at least " };
            self.ui.notice(&format!("{least}{}", in_words(left)));
        }
    }

    /// Tells a pipe, at the end of the connection, how much of what it brought the room does not have.
    fn tell_unsent(&mut self, chat: &ChatSession) {
        let left = chat.in_flight.left();
        if left == 0 || self.is_interactive {
            return;
        }
        self.is_all_sent = false;
        // It is slowed down, or it would be over: nobody knows what is still in it.
        let least = if chat.input_over { "" } else { "at least " };
        let lines = if left == 1 { "line" } else { "lines" };
        let unsent = match chat.farewell {
            Some(CloseReason::ShutDown | CloseReason::Kicked) if left == 1 => "is not sent",
            Some(CloseReason::ShutDown | CloseReason::Kicked) => "are not sent",
            // What came back of them may be lost with the connection.
            Some(CloseReason::Cut) | None => "may not have been sent",
        };
        self.ui.fail(&format!("{least}{left} {lines} {unsent}"));
    }

    /// Waits for the end of the connection, but not for ever; what comes before it is not shown.
    fn wait_for_end(&self, chat: &mut ChatSession, room: &Room) -> bool {
        let deadline = Instant::now() + LEAVE_TIME;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            match self.happenings.recv_timeout(left) {
                Ok(Happening::Ended(_)) => return true,
                Ok(Happening::Received(received)) => chat.hear(&received, room),
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    }
}

/// How much is left to be sent.
pub(crate) fn in_words(left: u64) -> String {
    match left {
        1 => "1 line is left to be sent".into(),
        left => format!("{left} lines are left to be sent"),
    }
}

impl ChatSession {
    fn hear(&mut self, received: &Received, room: &Room) {
        if let Some(outgoing) = &mut self.outgoing {
            outgoing.hear(received, |id| room.is_own(id));
        }
        match received {
            Received::Record(record, false) if record.event == Event::Shutdown => {
                self.farewell = Some(CloseReason::ShutDown);
            }
            Received::Answer(Answer::Error(text)) => match self.farewell {
                Some(CloseReason::ShutDown) => {}
                Some(CloseReason::Kicked | CloseReason::Cut) | None => {
                    self.farewell = CloseReason::in_error(text.as_str());
                }
            },
            Received::Record(..) | Received::Answer(_) | Received::Unknown => {}
        }
        match self.farewell {
            // It answers nothing.
            Some(CloseReason::Kicked | CloseReason::Cut) => {}
            Some(CloseReason::ShutDown) | None => self.in_flight.hear(received, self.own),
        }
    }

    /// What the end of the connection means.
    fn end(&self, end: End) -> Result<(), Stop> {
        let closed = Lost {
            what: "the server closed the connection".into(),
            advice: "start chat-client again to come back",
        };
        match (end, self.farewell) {
            (End::Closed | End::Lost(_), Some(CloseReason::ShutDown)) => Err(Stop::ShutDown),
            (End::Closed, Some(CloseReason::Kicked)) => Err(Stop::Kicked(closed)),
            (End::Closed, None) if self.input_over => Ok(()),
            (End::Closed, None | Some(CloseReason::Cut)) => Err(Stop::Lost(closed)),
            (End::Lost(error), None | Some(CloseReason::Kicked | CloseReason::Cut)) => {
                Err(Stop::Lost(Lost {
                    what: format!("the connection is lost ({})", connection::reason(&error)),
                    advice: "start chat-client again when the server is back",
                }))
            }
            (End::Endless, _) => Err(Stop::Failed(anyhow!(
                "the server sends a line of over 1 MiB: it is no chat-server"
            ))),
        }
    }
}
