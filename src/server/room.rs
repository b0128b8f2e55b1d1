//! The room: who is here, the order of what happens, and what is still to be delivered.

use std::collections::{BTreeMap, HashMap};
use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::protocol::event::{Answer, Event, Listed, MemberId, Record, Welcome, listed};
use crate::protocol::name::{Group, Name};
use crate::protocol::request::{self, Format, Identity, Request, RequestError};
use crate::protocol::text::Text;

/// Bytes of text that may wait for the delivery thread before those who send must wait too. Well under what a
/// member may be behind (`MAX_BACKLOG`), so that one round never cuts a member that has kept up.
const MAX_PENDING: usize = 128 * 1024;

/// What an entry costs beside its text: about what its name, number and time take when it is encoded.
const ENTRY: usize = 128;

/// The room. Any thread may call any method; those that post on behalf of a client may wait for the
/// delivery thread, and say so.
///
/// There is one lock in here. It is held for the time of a few map operations, never while anything is sent,
/// written or waited for, and no other lock is taken under it.
pub(super) struct Room {
    /// The room's random id.
    id: Text,
    max_members: usize,
    /// Guards who is here, the next number, and what is pending. An event gets its number and its place in
    /// `pending` in one critical section: that is what makes one order for all.
    state: Mutex<State>,
    /// Something is pending, or the room is closed.
    posted: Condvar,
    /// What was pending was taken.
    taken: Condvar,
}

struct State {
    /// Ids rise, so this is the order of joining.
    members: BTreeMap<MemberId, Member>,
    /// Who has which key; a name has both of its keys in here as long as its member is here.
    names: [HashMap<Box<str>, MemberId>; 2],
    next_id: u64,
    next_seq: u64,
    pending: Vec<Posted>,
    pending_bytes: usize,
    closed: bool,
    joined: u64,
    messages: u64,
}

struct Member {
    name: Name,
    group: Option<Group>,
    /// Who last wrote to it in private, with the name it had then.
    correspondent: Option<(MemberId, Text)>,
}

/// What the delivery thread is to do next.
pub(super) enum Posted {
    /// Everybody is told.
    Event(Arc<Record>),
    /// A member came. It gets the welcome, the past, and what follows.
    Join {
        record: Arc<Record>,
        welcome: Box<Welcome>,
        socket: Arc<TcpStream>,
        format: Format,
    },
    /// One member is told.
    Answer(MemberId, Box<Answer>),
}

/// Why somebody cannot join.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The name is taken; one that is free.
    Taken(Name, Option<Name>),
    /// So many members are here already.
    Full(usize),
    /// The server is shutting down.
    Closed,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Taken(name, Some(free)) => write!(f, "the name {name} is taken: try {free}"),
            Self::Taken(name, None) => write!(f, "the name {name} is taken: try another"),
            Self::Full(max) => write!(f, "the room is full ({max})"),
            Self::Closed => f.write_str("the server is shutting down"),
        }
    }
}

/// What a client's thread is told about the requests that it handed in.
#[derive(Debug)]
pub(super) enum Standing {
    /// It is a member still, under a new name where there is one.
    Member(Option<Name>),
    /// It is no member any more: it left, or was cut.
    Gone,
}

/// What was counted since the start.
pub(super) struct Totals {
    pub(super) joined: u64,
    pub(super) messages: u64,
}

impl Room {
    /// A room that goes on after the event `last_seq` and the member `last_id`.
    pub(super) fn new(id: Text, max_members: usize, last_seq: u64, last_id: u64) -> Self {
        Self {
            id,
            max_members,
            state: Mutex::new(State {
                members: BTreeMap::new(),
                names: Default::default(),
                next_id: last_id + 1,
                next_seq: last_seq + 1,
                pending: Vec::new(),
                pending_bytes: 0,
                closed: false,
                joined: 0,
                messages: 0,
            }),
            posted: Condvar::new(),
            taken: Condvar::new(),
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

    /// Makes a member of who stands behind `socket`. May wait for the delivery thread.
    pub(super) fn join(
        &self,
        identity: &Identity,
        format: Format,
        socket: &Arc<TcpStream>,
    ) -> Result<MemberId, Refusal> {
        let mut state = self.lock_with_space();
        if state.closed {
            return Err(Refusal::Closed);
        }
        if state.members.len() >= self.max_members {
            return Err(Refusal::Full(self.max_members));
        }
        let name = &identity.name;
        if state.holder(name).is_some() {
            return Err(Refusal::Taken(name.clone(), state.free_name(name)));
        }
        let id = MemberId(state.next_id);
        state.next_id += 1;
        state.joined += 1;
        state.take_name(id, name);
        let group = identity.group.clone();
        state.members.insert(
            id,
            Member {
                name: name.clone(),
                group,
                correspondent: None,
            },
        );

        let group = identity.group.as_ref().map(|group| group.text().clone());
        let welcome = Box::new(Welcome {
            room: self.id.clone(),
            id,
            name: name.text().clone(),
            group: group.clone(),
            count: state.members.len(),
            online: match format {
                Format::Plain => Vec::new(),
                Format::Json => state.list(),
            },
            seq: state.next_seq - 1,
        });
        let record = state.record(Event::Joined(Listed {
            id,
            name: name.text().clone(),
            group,
        }));
        let socket = Arc::clone(socket);
        self.post(
            &mut state,
            ENTRY,
            Posted::Join {
                record,
                welcome,
                socket,
                format,
            },
        );
        Ok(id)
    }

    /// Does what member `id` asks for, in this order. May wait for the delivery thread.
    pub(super) fn handle(
        &self,
        id: MemberId,
        requests: impl Iterator<Item = Result<Request, RequestError>>,
    ) -> Standing {
        let mut state = self.lock_with_space();
        let mut renamed = None;
        for request in requests {
            if !state.members.contains_key(&id) || state.closed {
                return Standing::Gone;
            }
            match request {
                Ok(request) => self.request(&mut state, id, request, &mut renamed),
                Err(error) => self.answer(&mut state, id, error_answer(&error)),
            }
        }
        if state.members.contains_key(&id) {
            Standing::Member(renamed)
        } else {
            Standing::Gone
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
        let Some(member) = state.members.get(&id) else {
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
            Request::Msg(to, text) => match state.holder(&to) {
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
                Some((to, _)) if state.members.contains_key(&to) => {
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
            Request::Rename(new) => {
                if state.holders(&new).any(|holder| holder != id) {
                    let free = state.free_name(&new);
                    self.answer(state, id, error_answer(&Refusal::Taken(new, free)));
                } else if new.text() == name.text() {
                    let notice = Text::new(&format!("your name is {name} already"));
                    self.answer(state, id, Answer::Notice(notice));
                } else {
                    state.release_name(&name);
                    state.take_name(id, &new);
                    if let Some(member) = state.members.get_mut(&id) {
                        member.name = new.clone();
                    }
                    let (from, to) = (name.text().clone(), new.text().clone());
                    self.post_event(state, Event::Renamed { id, from, to });
                    *renamed = Some(new);
                }
            }
            Request::Online => {
                let (count, members) = (state.members.len(), state.list());
                self.answer(state, id, Answer::Online { count, members });
            }
            Request::Help(language) => {
                let lines = request::help(language).iter().map(|line| Text::new(line));
                self.answer(state, id, Answer::Help(lines.collect()));
            }
            Request::Quit => self.remove(state, id, None),
        }
    }

    fn private(&self, state: &mut State, from: (MemberId, Name), to: MemberId, text: Text) {
        let time = now();
        let (id, name) = from;
        let Some(receiver) = state.members.get_mut(&to) else {
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

    /// Takes `id` out of the room, for a reason that the others are told. Does nothing where it has left
    /// already; never waits.
    pub(super) fn leave(&self, id: MemberId, reason: Option<&str>) {
        self.remove(&mut self.lock(), id, reason.map(Text::new));
    }

    /// Tells member `id` that it did something that cannot be done, and takes it out of the room.
    pub(super) fn cut(&self, id: MemberId, error: &str, reason: Option<&str>) {
        let mut state = self.lock();
        if state.members.contains_key(&id) {
            self.answer(&mut state, id, error_answer(&error));
            self.remove(&mut state, id, reason.map(Text::new));
        }
    }

    fn remove(&self, state: &mut State, id: MemberId, reason: Option<Text>) {
        if state.closed {
            return;
        }
        if let Some(member) = state.members.remove(&id) {
            state.release_name(&member.name);
            self.post_event(
                state,
                Event::Left {
                    id,
                    name: member.name.text().clone(),
                    reason,
                },
            );
        }
    }

    /// Takes the member called `name` out of the room; the operator's `/kick`.
    pub(super) fn kick(&self, name: &Name, reason: &str) -> Result<(), RequestError> {
        let holder = self.lock().holder(name);
        let id = holder.ok_or_else(|| RequestError::NotHere(name.text().clone()))?;
        if reason.is_empty() {
            self.cut(id, "you were kicked", Some("kicked"));
        } else {
            let reason = format!("kicked: {reason}");
            self.cut(id, &format!("you were {reason}"), Some(&reason));
        }
        Ok(())
    }

    /// Says something in the server's name. Never waits.
    pub(super) fn say(&self, text: Text) {
        let mut state = self.lock();
        if !state.closed {
            self.post_event(&mut state, Event::Server { text });
        }
    }

    /// Who is here: how many, and the first of them.
    pub(super) fn online(&self) -> Answer {
        let state = self.lock();
        Answer::Online {
            count: state.members.len(),
            members: state.list(),
        }
    }

    /// Posts the room's last event: nothing can be posted after it.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        if !state.closed {
            self.post_event(&mut state, Event::Shutdown);
            state.closed = true;
        }
        self.taken.notify_all();
    }

    /// What was counted since the start.
    pub(super) fn totals(&self) -> Totals {
        let state = self.lock();
        Totals {
            joined: state.joined,
            messages: state.messages,
        }
    }

    /// For the delivery thread: all that is pending, in order, into the empty `batch`. Waits until there is
    /// something, `patience` at most.
    pub(super) fn take(&self, batch: &mut Vec<Posted>, patience: Duration) {
        let state = self.lock();
        let waited = self
            .posted
            .wait_timeout_while(state, patience, |state| state.pending.is_empty());
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut state.pending, batch);
        if std::mem::take(&mut state.pending_bytes) > MAX_PENDING {
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
        let bytes = match &event {
            Event::Message { text, .. } | Event::Server { text } => text.as_str().len(),
            Event::Joined(_) | Event::Left { .. } | Event::Renamed { .. } | Event::Shutdown => 0,
        };
        let record = state.record(event);
        self.post(state, ENTRY + bytes, Posted::Event(record));
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

    /// Who has this name, or one that looks the same.
    fn holder(&self, name: &Name) -> Option<MemberId> {
        self.holders(name).next()
    }

    /// As [`State::holder`], all of them: a name may look like one member's in capitals and like another's in small
    /// letters.
    fn holders(&self, name: &Name) -> impl Iterator<Item = MemberId> {
        let keys = name.keys();
        let each = self.names.iter().zip(keys);
        each.filter_map(|(names, key)| names.get(key).copied())
    }

    fn take_name(&mut self, id: MemberId, name: &Name) {
        for (names, key) in self.names.iter_mut().zip(name.keys()) {
            names.insert(key.into(), id);
        }
    }

    fn release_name(&mut self, name: &Name) {
        for (names, key) in self.names.iter_mut().zip(name.keys()) {
            names.remove(key);
        }
    }

    fn free_name(&self, name: &Name) -> Option<Name> {
        let mut numbered = (2..100).filter_map(|number| name.with_number(number));
        numbered.find(|name| self.holder(name).is_none())
    }

    fn list(&self) -> Vec<Listed> {
        listed(self.members.iter().map(|(id, member)| Listed {
            id: *id,
            name: member.name.text().clone(),
            group: member.group.as_ref().map(|group| group.text().clone()),
        }))
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
