//! The room: who is here, the order of what happens, and what is still to be delivered.

use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::protocol::event::{Answer, Event, MemberId, Record, Welcome};
use crate::protocol::name::Name;
use crate::protocol::request::{self, Format, Identity, Request, RequestError};
use crate::protocol::text::Text;
use crate::server::members::{self, Arrival, ConnectionId, Members, Refusal};
use crate::server::replay::{ENTRY, ReplayRange, ReplaySize, size};

/// Bytes of text that may wait for the delivery thread before those who send must wait too. Well under what a
/// member may be behind (`MAX_BACKLOG`), so that one round never cuts a member that has kept up.
const MAX_PENDING: usize = 128 * 1024;

/// The same for what those who come are to be sent of the past. They wait in a line of their own, so that it does not get longer
/// for those who speak: a round takes no more than this and what one more is to be sent.
const MAX_ENTERING: usize = 4 * 1024 * 1024;

/// The room. Any thread may call any method; those that post on behalf of a client may wait for the
/// delivery thread, and say so.
///
/// There is one lock in here. It is held for the time of a few map operations, never while anything is sent,
/// written or waited for, and no other lock is taken under it.
pub(crate) struct Room {
    /// The room's random id.
    id: Text,
    /// Guards who is here, the next number, and what is pending. An event gets its number and its place in
    /// `pending` in one critical section: that is what makes one order for all.
    state: Mutex<State>,
    /// Something is pending, or the room is closed.
    posted: Condvar,
    /// What was pending was taken.
    taken: Condvar,
    /// The same, for those who come.
    entrance: Condvar,
}

struct State {
    members: Members,
    next_seq: u64,
    pending: Vec<Posted>,
    pending_bytes: usize,
    /// Bytes of the past for those who are pending.
    entering: usize,
    /// Bytes that one is to be sent of it.
    past: ReplaySize,
    closed: bool,
    joined: u64,
    messages: u64,
}

/// What the delivery thread is to do next.
pub(crate) enum Posted {
    /// Everybody is told.
    Event(Arc<Record>),
    /// A member came, or came back on another connection. It gets the welcome, this of the past, and what follows.
    Join {
        /// Its joining, where it was not here.
        record: Option<Arc<Record>>,
        welcome: Box<Welcome>,
        past: ReplayRange,
        link: ConnectionId,
        connection: Connection,
    },
    /// One member is told.
    Answer(MemberId, Box<Answer>),
}

/// By what somebody comes.
pub(crate) struct Connection {
    pub(crate) socket: Arc<TcpStream>,
    pub(crate) format: Format,
    /// What it is greeted with, where it was not: one send for that and the welcome.
    pub(crate) greeting: Option<Text>,
}

/// What a client's thread is told about the requests that it handed in.
#[derive(Debug)]
pub(crate) enum Standing {
    /// It is a member still, under a new name where there is one.
    Member(Option<Name>),
    /// It is no member any more: it left, or was cut.
    Gone,
}

/// What was counted since the start.
pub(crate) struct Totals {
    pub(crate) joined: u64,
    pub(crate) messages: u64,
}

impl Room {
    /// A room that goes on after the event `last_seq` and the member `last_id`.
    pub(crate) fn new(id: Text, max_members: usize, last_seq: u64, last_id: u64) -> Self {
        Self {
            id,
            state: Mutex::new(State {
                members: Members::new(max_members, last_id),
                next_seq: last_seq + 1,
                pending: Vec::new(),
                pending_bytes: 0,
                entering: 0,
                past: ReplaySize::default(),
                closed: false,
                joined: 0,
                messages: 0,
            }),
            posted: Condvar::new(),
            taken: Condvar::new(),
            entrance: Condvar::new(),
        }
    }

    /// The sections under this lock do not panic; if one did all the same, the other members go on.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until not too much is pending: this slows those who send, never those who read.
    fn lock_with_space(&self) -> MutexGuard<'_, State> {
        let state = self.lock();
        self.taken
            .wait_while(state, |state| {
                state.pending_bytes > MAX_PENDING && !state.closed
            })
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The same for those who come, and until not too much of the past is pending.
    fn lock_to_enter(&self) -> MutexGuard<'_, State> {
        let is_full = |state: &mut State| {
            (state.pending_bytes > MAX_PENDING || state.entering > MAX_ENTERING) && !state.closed
        };
        let waited = self.entrance.wait_while(self.lock(), is_full);
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a member of who stands behind `connection`. Only the thread `accept` calls this and [`Room::resume`]. May wait for the delivery thread.
    pub(crate) fn join(
        &self,
        identity: &Identity,
        connection: Connection,
    ) -> Result<ConnectionId, Refusal> {
        let token = match connection.format {
            Format::Plain => None,
            Format::Json => members::token(),
        };
        let mut state = self.lock_to_enter();
        if state.closed {
            return Err(Refusal::Closed);
        }
        let since = state.next_seq - 1;
        let arrival = state.members.enter(identity, token, since)?;
        Ok(self.post_join(&mut state, arrival, 0, connection))
    }

    /// Takes back the member of `token`, whose client has the events up to `after`, and gives the name that it had last.
    /// A connection that it still has is ended: nothing more is taken from it. May wait for the delivery thread.
    ///
    /// No password is asked for, since nobody is given a token who did not give the password.
    pub(crate) fn resume(
        &self,
        token: &str,
        after: u64,
        connection: Connection,
    ) -> Result<(ConnectionId, Text), Refusal> {
        let mut state = self.lock_to_enter();
        if state.closed {
            return Err(Refusal::Closed);
        }
        let arrival = state.members.come_back(token)?;
        let name = arrival.who.name.clone();
        let link = self.post_join(&mut state, arrival, after, connection);
        Ok((link, name))
    }

    /// Posts that somebody came. Who was here all the time has not joined.
    fn post_join(
        &self,
        state: &mut State,
        arrival: Arrival,
        after: u64,
        connection: Connection,
    ) -> ConnectionId {
        let Arrival { link, who, .. } = arrival;
        let online = match connection.format {
            Format::Plain => Vec::new(),
            Format::Json => state.members.list(),
        };
        let listed = online.len();
        let welcome = Box::new(Welcome {
            room: self.id.clone(),
            token: arrival.token,
            id: who.id,
            name: who.name.clone(),
            group: who.group.clone(),
            count: state.members.count(),
            online,
            seq: state.next_seq - 1,
            // The delivery thread has the past, and knows what is missing.
            missing: 0,
        });
        let record = (!arrival.was_here).then(|| {
            state.joined += 1;
            state.record(Event::Joined(who))
        });
        let joined = Posted::Join {
            record,
            welcome,
            past: ReplayRange {
                after,
                since: arrival.since,
            },
            link,
            connection,
        };
        let ReplaySize {
            of_newcomer,
            of_recent,
        } = state.past;
        state.entering += match link.is_first() {
            true => of_newcomer,
            false => of_newcomer + of_recent,
        };
        state.entering += listed * ENTRY / 2;
        self.post(state, ENTRY, joined);
        link
    }

    /// Does what the member on `link` asks for, in this order. May wait for the delivery thread.
    pub(crate) fn handle(
        &self,
        link: ConnectionId,
        requests: impl Iterator<Item = Result<Request, RequestError>>,
    ) -> Standing {
        let mut state = self.lock_with_space();
        let mut renamed = None;
        for request in requests {
            if state.members.on(link).is_none() || state.closed {
                return Standing::Gone;
            }
            match request {
                Ok(request) => self.request(&mut state, link.id, request, &mut renamed),
                Err(error) => self.answer(&mut state, link.id, error_answer(&error)),
            }
        }
        match state.members.on(link) {
            Some(_) => Standing::Member(renamed),
            None => Standing::Gone,
        }
    }

    fn request(
        &self,
        state: &mut State,
        id: MemberId,
        request: Request,
        renamed: &mut Option<Name>,
    ) {
        // Its caller has looked under the same lock.
        let Some(member) = state.members.get(id) else {
            return;
        };
        let name = member.name.clone();
        match request {
            Request::Nothing => {}
            Request::Say(text) => {
                state.messages += 1;
                self.post_event(
                    state,
                    Event::Message {
                        id,
                        from: name.text().clone(),
                        text,
                    },
                );
            }
            Request::Msg(to, text) => match state.members.holder(&to) {
                Some(to) if to == id => {
                    let error = "that is your own name: /msg takes the name of another member";
                    self.answer(state, id, error_answer(&error));
                }
                Some(to) => self.private(state, (id, name), to, text),
                None => {
                    let error = RequestError::NotHere(to.text().clone());
                    self.answer(state, id, error_answer(&error));
                }
            },
            Request::Reply(text) => match member.correspondent.clone() {
                Some((to, _)) if state.members.get(to).is_some() => {
                    self.private(state, (id, name), to, text);
                }
                Some((_, gone)) => {
                    self.answer(state, id, error_answer(&RequestError::NotHere(gone)));
                }
                None => {
                    let error = "nobody has written to you in private yet: use /msg NAME TEXT";
                    self.answer(state, id, error_answer(&error));
                }
            },
            Request::Rename(new) if new.text() == name.text() => {
                let notice = Text::new(&format!("your name is {name} already"));
                self.answer(state, id, Answer::Notice(notice));
            }
            Request::Rename(new) => match state.members.rename(id, &new) {
                Err(refusal) => self.answer(state, id, error_answer(&refusal)),
                Ok(()) => {
                    let (from, to) = (name.text().clone(), new.text().clone());
                    self.post_event(state, Event::Renamed { id, from, to });
                    *renamed = Some(new);
                }
            },
            Request::Online => {
                let (count, members) = (state.members.count(), state.members.list());
                self.answer(state, id, Answer::Online { count, members });
            }
            Request::Help(language) => {
                let lines = request::help(language).iter().map(|line| Text::new(line));
                self.answer(state, id, Answer::Help(lines.collect()));
            }
            Request::Quit => self.remove(state, id, None, false),
        }
    }

    fn private(&self, state: &mut State, from: (MemberId, Name), to: MemberId, text: Text) {
        let time = now();
        let (id, name) = from;
        let Some(receiver) = state.members.get_mut(to) else {
            return;
        };
        let to_name = receiver.name.text().clone();
        receiver.correspondent = Some((id, name.text().clone()));
        let from = name.text().clone();
        self.answer(
            state,
            to,
            Answer::PrivateFrom {
                time,
                id,
                from,
                text: text.clone(),
            },
        );
        self.answer(
            state,
            id,
            Answer::PrivateTo {
                time,
                id: to,
                to: to_name,
                text,
            },
        );
    }

    /// Takes the member on `link` out of the room, for a reason that the others are told; it may come back. Does nothing
    /// where it has left already, or is on another connection; never waits.
    pub(crate) fn leave(&self, link: ConnectionId, reason: Option<&str>) {
        let mut state = self.lock();
        if state.members.on(link).is_some() {
            self.remove(&mut state, link.id, reason.map(Text::new), true);
        }
    }

    /// Tells the member on `link` that it did something that cannot be done, and takes it out of the room for good.
    pub(crate) fn cut(&self, link: ConnectionId, error: &str, reason: &str) {
        let mut state = self.lock();
        if state.members.on(link).is_some() {
            self.send_away(&mut state, link.id, error, reason);
        }
    }

    fn send_away(&self, state: &mut State, id: MemberId, error: &str, reason: &str) {
        self.answer(state, id, error_answer(&error));
        self.remove(state, id, Some(Text::new(reason)), false);
    }

    fn remove(&self, state: &mut State, id: MemberId, reason: Option<Text>, may_return: bool) {
        if state.closed {
            return;
        }
        if let Some(name) = state.members.remove(id, may_return) {
            let name = name.text().clone();
            self.post_event(state, Event::Left { id, name, reason });
        }
    }

    /// Takes the member called `name` out of the room; the operator's `/kick`.
    pub(crate) fn kick(&self, name: &Name, reason: &str) -> Result<(), RequestError> {
        let mut state = self.lock();
        let holder = state.members.holder(name);
        let id = holder.ok_or_else(|| RequestError::NotHere(name.text().clone()))?;
        if reason.is_empty() {
            self.send_away(&mut state, id, "you were kicked", "kicked");
        } else {
            let reason = format!("kicked: {reason}");
            self.send_away(&mut state, id, &format!("you were {reason}"), &reason);
        }
        Ok(())
    }

    /// Says something in the server's name. Never waits.
    pub(crate) fn say(&self, text: Text) {
        let mut state = self.lock();
        if !state.closed {
            self.post_event(&mut state, Event::Server { text });
        }
    }

    /// Who is here: how many, and the first of them.
    pub(crate) fn online(&self) -> Answer {
        let state = self.lock();
        Answer::Online {
            count: state.members.count(),
            members: state.members.list(),
        }
    }

    /// Posts the room's last event: nothing can be posted after it.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        if !state.closed {
            self.post_event(&mut state, Event::Shutdown);
            state.closed = true;
        }
        self.taken.notify_all();
        self.entrance.notify_all();
    }

    /// Whether the member of `link` has come back on a later connection, so that nobody reads what this one is sent.
    pub(crate) fn is_superseded(&self, link: ConnectionId) -> bool {
        let state = self.lock();
        state.members.get(link.id).is_some() && state.members.on(link).is_none()
    }

    /// What was counted since the start.
    pub(crate) fn totals(&self) -> Totals {
        let state = self.lock();
        Totals {
            joined: state.joined,
            messages: state.messages,
        }
    }

    /// For the delivery thread: all that is pending, in order, into the empty `batch`. Waits until there is
    /// something, `patience` at most. It has so much of a `past`.
    pub(crate) fn take(&self, batch: &mut Vec<Posted>, patience: Duration, past: ReplaySize) {
        let mut state = self.lock();
        state.past = past;
        let waited = self
            .posted
            .wait_timeout_while(state, patience, |state| state.pending.is_empty());
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut state.pending, batch);
        let was_full = std::mem::take(&mut state.pending_bytes) > MAX_PENDING;
        // Before those who send: all who have no name yet wait behind the one that enters.
        if std::mem::take(&mut state.entering) > MAX_ENTERING || was_full {
            self.entrance.notify_one();
        }
        if was_full {
            self.taken.notify_all();
        }
    }

    fn post(&self, state: &mut State, bytes: usize, posted: Posted) {
        // The delivery thread takes all there is, so only the first of a batch has to wake it.
        if state.pending.is_empty() {
            self.posted.notify_one();
        }
        state.pending_bytes += bytes;
        state.pending.push(posted);
    }

    fn post_event(&self, state: &mut State, event: Event) {
        let bytes = size(&event);
        let record = state.record(event);
        self.post(state, bytes, Posted::Event(record));
    }

    fn answer(&self, state: &mut State, id: MemberId, answer: Answer) {
        let bytes = match &answer {
            Answer::PrivateFrom { text, .. } | Answer::PrivateTo { text, .. } => {
                text.as_str().len()
            }
            Answer::Online { members, .. } => members.len() * ENTRY,
            Answer::Welcome(_)
            | Answer::PastBegins(_)
            | Answer::PastEnds
            | Answer::Help(_)
            | Answer::Error(_)
            | Answer::Notice(_) => 0,
        };
        self.post(state, ENTRY + bytes, Posted::Answer(id, Box::new(answer)));
    }
}

impl State {
    fn record(&mut self, event: Event) -> Arc<Record> {
        let seq = self.next_seq;
        self.next_seq += 1;
        Arc::new(Record {
            seq,
            time: now(),
            event,
        })
    }
}

fn error_answer(error: &impl std::fmt::Display) -> Answer {
    Answer::Error(Text::new(&error.to_string()))
}

/// The clock, to the millisecond that goes over the wire.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}
