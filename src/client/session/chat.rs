//! A member's time in the room: what comes is shown, what is entered is sent.

use std::io;
use std::time::{Duration, Instant};

use anyhow::{Error, anyhow};

use crate::client::net::connection::{self, Connection, End};
use crate::client::net::in_flight::UnderWay;
use crate::client::net::outgoing::{Outgoing, Said};
use crate::client::net::stdin::{Ask, Typed};
use crate::client::session::login::Joined;
use crate::client::session::reconnect::Room;
use crate::client::ui::Front;
use crate::client::ui::tui::Entered;
use crate::client::{Client, Happening, Lost, Stop};
use crate::os;
use crate::protocol::event::{Answer, Event, MemberId, Record};
use crate::protocol::json::Received;

/// Time that a server has to close the connection of a user who leaves.
const LEAVE_TIME: Duration = Duration::from_secs(1);

/// Time after which a pipe that sends much is told how much is left, and how often it is told again.
const LEFT_TIME: Duration = Duration::from_secs(5);

/// Time after which a window shows that what was said has not arrived.
const SHOW_TIME: Duration = Duration::from_secs(1);

/// A member's time in the room, as far as it has come.
pub(crate) struct Stay {
    own: MemberId,
    /// What a window says.
    pub(crate) outgoing: Option<Outgoing>,
    /// What comes through a pipe, which its thread sends itself.
    under_way: UnderWay,
    input_over: bool,
    farewell: Option<Farewell>,
}

/// Why the server is about to close the connection, as it has said.
#[derive(Clone, Copy)]
enum Farewell {
    ShutDown,
    Kicked,
    Cut,
}

impl Farewell {
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
    pub(crate) fn chat(&mut self, joined: Joined, room: &mut Room) -> Result<(), Stop> {
        let Joined {
            welcome,
            has_resumed,
            connection,
            receiver,
        } = joined;
        self.has_ended = false;
        self.front
            .welcome(&welcome, room.is_known())
            .map_err(Stop::unshown)?;
        if let Some(change) = room.enter(&welcome, has_resumed) {
            self.front.refuse(&change);
        }
        let mut stay = Stay {
            own: welcome.id,
            outgoing: None,
            under_way: UnderWay::default(),
            input_over: false,
            farewell: None,
        };
        let result = self
            .begin(&mut stay, &connection, room)
            .and_then(|()| self.converse(&mut stay, room))
            .and_then(|()| self.front.rest().map(drop).map_err(Stop::unshown));
        match &mut stay.outgoing {
            // It ends the connection when it has sent all.
            Some(outgoing) => outgoing.close(),
            None => connection.end(),
        }
        let hurries = matches!(result, Ok(()) | Err(Stop::Leave)) && self.see_off(&mut stay, room);
        if !self.has_ended && !hurries {
            self.has_ended = self.wait_for_end(&mut stay, room);
        }
        connection.close();
        stay.under_way.close();
        if self.has_ended || self.wait_for_end(&mut stay, room) {
            let _ = receiver.join();
        }
        room.unheard = stay.outgoing.map(Outgoing::finish).unwrap_or_default();
        result
    }

    fn begin(
        &mut self,
        stay: &mut Stay,
        connection: &Connection,
        room: &mut Room,
    ) -> Result<(), Stop> {
        match &mut self.front {
            Front::Lines(_, asks) => {
                // The input thread ends after this one.
                let _ = asks.send(Ask::Chat(connection.clone(), stay.under_way.clone()));
            }
            Front::Window(_) => {
                let outgoing =
                    Outgoing::start(connection.clone(), std::mem::take(&mut room.unheard))
                        .map_err(|error| Stop::Failed(Error::new(error).context(os::NO_THREAD)))?;
                stay.outgoing = Some(outgoing);
            }
        }
        // There may be nothing that it has missed.
        self.catch_up(stay, room);
        Ok(())
    }

    fn converse(&mut self, stay: &mut Stay, room: &mut Room) -> Result<(), Stop> {
        let mut tell_left = (!self.is_interactive).then(|| Instant::now() + LEFT_TIME);
        loop {
            let waits_since = stay.outgoing.as_ref().and_then(Outgoing::waits_since);
            let answer_by = waits_since.map(|since| since + self.config.answer_time);
            let show_left = self.show_left(stay);
            let next = [tell_left, answer_by, show_left].into_iter().flatten();
            let Some(happening) = self.next_until(next.min())? else {
                let now = Instant::now();
                if answer_by.is_some_and(|by| by <= now) {
                    return stay.end(End::Lost(io::ErrorKind::TimedOut.into()));
                }
                if tell_left.is_some_and(|at| at <= now) {
                    self.tell_left(stay);
                    tell_left = Some(now + LEFT_TIME);
                }
                continue;
            };
            match happening {
                Happening::Received(received) => self.hear(&received, stay, room)?,
                Happening::Ended(end) => {
                    self.tell_unsent(stay);
                    return stay.end(end);
                }
                Happening::Entered => {
                    if self.say(stay) {
                        return Ok(());
                    }
                }
                Happening::Typed(Typed::Unsendable(_, error)) if self.is_interactive => {
                    self.front.refuse(&error);
                }
                Happening::Typed(Typed::Unsendable(number, error)) => {
                    self.is_all_sent = false;
                    self.front
                        .fail(&format!("line {number} is not sent: {error}"));
                }
                // A pipe waits for all that the server has to say, a user does not.
                Happening::Typed(Typed::Over) if self.is_interactive => return Ok(()),
                Happening::Typed(Typed::Over) => stay.input_over = true,
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
    fn show_left(&mut self, stay: &Stay) -> Option<Instant> {
        let left = stay.outgoing.as_ref().and_then(Outgoing::left);
        let show_at = left.map(|(_, said_at)| said_at + SHOW_TIME);
        let is_early = show_at.is_some_and(|at| at > Instant::now());
        let status = left.filter(|_| !is_early).map(|(left, _)| in_words(left));
        self.front.status(status);
        show_at.filter(|_| is_early)
    }

    pub(crate) fn hear(
        &mut self,
        received: &Received,
        stay: &mut Stay,
        room: &mut Room,
    ) -> Result<(), Stop> {
        stay.hear(received, room);
        if let Received::Record(record, _) = received {
            if let Some(hole) = room.hole_before(record) {
                self.front.refuse(&hole);
            }
            if !room.is_new(record) {
                return Ok(());
            }
        }
        self.front.received(received).map_err(Stop::unshown)?;
        self.catch_up(stay, room);
        Ok(())
    }

    /// Where all that a client has missed is there now, it is known what of its own was not said.
    fn catch_up(&mut self, stay: &mut Stay, room: &mut Room) {
        if !room.has_caught_up() {
            return;
        }
        if let Front::Window(window) = &mut self.front {
            window.end_past();
        }
        for Said {
            text, is_private, ..
        } in stay.outgoing.iter_mut().flat_map(Outgoing::lost)
        {
            let what = match is_private {
                true => "it is not known whether this was delivered",
                false => "this was not sent",
            };
            self.front.refuse(&format!("{what}: {text}"));
        }
    }

    /// Sends what was entered in the window; `true` where that is the end.
    fn say(&mut self, stay: &mut Stay) -> bool {
        let (Front::Window(window), Some(outgoing)) = (&mut self.front, &mut stay.outgoing) else {
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
    fn tell_left(&mut self, stay: &Stay) {
        let left = stay.under_way.left();
        if left > 0 {
            let least = if stay.input_over { "" } else { "at least " };
            self.front.notice(&format!("{least}{}", in_words(left)));
        }
    }

    /// Tells a pipe, at the end of the connection, how much of what it brought the room does not have.
    fn tell_unsent(&mut self, stay: &Stay) {
        let left = stay.under_way.left();
        if left == 0 || self.is_interactive {
            return;
        }
        self.is_all_sent = false;
        // It is slowed down, or it would be over: nobody knows what is still in it.
        let least = if stay.input_over { "" } else { "at least " };
        let lines = if left == 1 { "line" } else { "lines" };
        let unsent = match stay.farewell {
            Some(Farewell::ShutDown | Farewell::Kicked) if left == 1 => "is not sent",
            Some(Farewell::ShutDown | Farewell::Kicked) => "are not sent",
            // What came back of them may be lost with the connection.
            Some(Farewell::Cut) | None => "may not have been sent",
        };
        self.front.fail(&format!("{least}{left} {lines} {unsent}"));
    }

    /// Waits for the end of the connection, but not for ever; what comes before it is not shown.
    fn wait_for_end(&self, stay: &mut Stay, room: &Room) -> bool {
        let deadline = Instant::now() + LEAVE_TIME;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            match self.happenings.recv_timeout(left) {
                Ok(Happening::Ended(_)) => return true,
                Ok(Happening::Received(received)) => stay.hear(&received, room),
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

impl Stay {
    fn hear(&mut self, received: &Received, room: &Room) {
        if let Some(outgoing) = &mut self.outgoing {
            outgoing.hear(received, |id| room.is_own(id));
        }
        match received {
            Received::Record(Record { event, .. }, false) => match event {
                Event::Shutdown => self.farewell = Some(Farewell::ShutDown),
                Event::Message { .. }
                | Event::Joined(_)
                | Event::Left { .. }
                | Event::Renamed { .. }
                | Event::Server { .. } => {}
            },
            Received::Answer(Answer::Error(text)) => match self.farewell {
                Some(Farewell::ShutDown) => {}
                Some(Farewell::Kicked | Farewell::Cut) | None => {
                    self.farewell = Farewell::in_error(text.as_str());
                }
            },
            Received::Record(_, true) | Received::Answer(_) | Received::Unknown => {}
        }
        match self.farewell {
            // It answers nothing.
            Some(Farewell::Kicked | Farewell::Cut) => {}
            Some(Farewell::ShutDown) | None => self.under_way.hear(received, self.own),
        }
    }

    /// What the end of the connection means.
    fn end(&self, end: End) -> Result<(), Stop> {
        let closed = Lost {
            what: "the server closed the connection".into(),
            advice: "start chat-client again to come back",
        };
        match (end, self.farewell) {
            (End::Closed | End::Lost(_), Some(Farewell::ShutDown)) => Err(Stop::ShutDown),
            (End::Closed, Some(Farewell::Kicked)) => Err(Stop::Kicked(closed)),
            (End::Closed, None) if self.input_over => Ok(()),
            (End::Closed, None | Some(Farewell::Cut)) => Err(Stop::Lost(closed)),
            (End::Lost(error), None | Some(Farewell::Kicked | Farewell::Cut)) => {
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
