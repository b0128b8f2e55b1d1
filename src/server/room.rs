//! The room: its members, the order of events, and the queue of events to deliver.

use std::net::{IpAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use jiff::Timestamp;

use crate::probe::gauge::LockGauge;
use crate::probe::sample::Pending;
use crate::protocol::commands;
use crate::protocol::event::{Answer, Event, MemberId, Record, Welcome};
use crate::protocol::limits::{MAX_LINE, MAX_LISTED};
use crate::protocol::name::Name;
use crate::protocol::request::{Format, Identity, Request, RequestError};
use crate::protocol::text::Text;
use crate::server::members::{self, Arrival, ConnectionId, Departure, JoinError, Members};
use crate::server::replay::{ENTRY, ReplayRange, ReplaySize, size};
use crate::sync::{Condvar, Instant, Mutex, MutexGuard};

/// Limit on the bytes of text in the pending queue, which holds the events and answers that the
/// delivery has not taken yet. Beyond the limit, senders wait for their turn. Joins block only
/// beyond twice the limit, so that senders that wait for a slow recipient do not keep others from
/// joining.
const MAX_PENDING: usize = if cfg!(shuttle) { 1024 } else { 128 * 1024 };

/// Limit on the bytes of text that a sender posts in one turn while other senders wait for space. A
/// sender that has more to post waits for another turn. Otherwise, a few senders with many lines
/// would fill the queue each time, and a sender with one line would wait for seconds.
const MAX_TURN: usize = MAX_PENDING / TURNS as usize;

/// Limit on the waiting senders that get their turn when the delivery thread has taken the pending
/// queue.
const TURNS: u64 = 32;

/// Limit on the bytes of all the replays that newcomers in the pending queue will get. Beyond the
/// limit, further joins block, so a batch contains at most this many bytes of replays, plus one
/// more replay. Joins wait on a condition variable of their own, so that a long replay does not
/// slow down senders.
const MAX_REPLAY_PENDING: usize = if cfg!(shuttle) { 2048 } else { 4 * 1024 * 1024 };

/// Size of a replay, in bytes, up to which the thread `accept` waits for space when a member
/// resumes, as it does when a newcomer joins. For a longer replay, the login stays pending.
const MAX_SHORT_REPLAY: usize = MAX_REPLAY_PENDING / 16;

/// Approximate size of the longest message of a member, in bytes. Cleaning makes a line at most
/// three times as long.
const MAX_EVENT: usize = ENTRY + 3 * MAX_LINE;

/// Limits on the pending queue for [`Room::take_line`]: the entries that one line posts, and their
/// bytes. A private message posts two entries.
pub(crate) const LINE_ENTRIES: usize = 2;
const LINE_BYTES: usize = LINE_ENTRIES * MAX_EVENT;

/// Number of listed members for which `/online` counts as one more line towards the rate limit.
/// Otherwise a client could flood the server with short lines that get long answers. Ten members
/// take up to 2 KB as JSON, and some 700 bytes with usual names.
const LISTED_PER_LINE: usize = 10;

/// The room. Its methods may be called by any thread, unless their docs name one. A method that
/// posts on behalf of a client may block until the delivery thread catches up; its docs say so.
///
/// One lock guards the state. It is held for a few map operations, and never while a thread sends,
/// writes or waits for a peer. While it is held, no other lock is taken.
pub(crate) struct Room {
    /// The room's random ID.
    id: Text,
    /// The members, the next sequence number and the pending queue. An event gets its number and
    /// its place in `pending` in one critical section, which gives all members the same order.
    state: Mutex<State>,
    /// Copies of values in `state`, for the thread `sampler`.
    gauge: Gauge,
    /// Signals the delivery thread: it has to deliver the pending queue.
    woken: Condvar,
    /// Signals blocked senders: the delivery thread has taken the pending queue, or the room was
    /// closed.
    taken: Condvar,
    /// Signals the next blocked join: the delivery thread has taken the pending queue, or the room
    /// was closed.
    join_allowed: Condvar,
}

/// Values that are readable without the room's lock. Written under the lock.
#[derive(Default)]
struct Gauge {
    members: AtomicUsize,
    entries: AtomicUsize,
    bytes: AtomicUsize,
}

struct State {
    members: Members,
    next_seq: u64,
    pending: Vec<Posted>,
    pending_bytes: usize,
    /// Number of turns that senders have requested because the pending queue had no space, or other
    /// senders were waiting.
    turns_requested: u64,
    /// Number of these turns that were granted, in the order of the requests.
    turns_granted: u64,
    /// Approximate number of bytes of the replays and member lists for the newcomers in `pending`.
    replay_pending: usize,
    /// Size of the replay buffer, from which the size of a newcomer's replay is estimated. Updated
    /// each time the pending queue is taken.
    replay: ReplaySize,
    /// Whether the delivery thread sleeps in [`Room::sleep`], and nothing has woken it. While this
    /// is true, no sender waits for a turn, and [`Posted::is_line`] is true for each entry of
    /// `pending`.
    is_delivery_asleep: bool,
    closed: bool,
    /// Number of members that have joined, without those that have only resumed.
    newcomers: u64,
    joined: u64,
    messages: u64,
}

/// An entry of the pending queue.
pub(crate) enum Posted {
    /// An event for all members.
    Event(Arc<Record>),
    /// A member joined, or resumed on a new connection. The member gets the welcome, then the range
    /// `replay` of the replay buffer, then live events.
    Join {
        /// The event `Joined`. `None` if a member resumed without having left.
        record: Option<Arc<Record>>,
        welcome: Box<Welcome>,
        replay: ReplayRange,
        connection: ConnectionId,
        endpoint: Endpoint,
    },
    /// An answer to one member.
    Answer(MemberId, Box<Answer>),
    /// An answer to one member's telnet commands.
    Telnet(MemberId, Box<[u8]>),
}

impl Posted {
    /// Whether the entry is the result of a member's line, so that a reader thread may deliver it.
    /// All other entries, such as joins and leaves, are left to the delivery thread.
    fn is_line(&self) -> bool {
        match self {
            Self::Event(record) => match record.event {
                Event::Message { .. } | Event::Renamed { .. } => true,
                Event::Joined(_) | Event::Left { .. } | Event::Server { .. } | Event::Shutdown => {
                    false
                }
            },
            Self::Join { .. } => false,
            Self::Answer(..) | Self::Telnet(..) => true,
        }
    }
}

/// The socket and wire format of a newcomer's connection.
pub(crate) struct Endpoint {
    pub(crate) socket: Arc<TcpStream>,
    pub(crate) format: Format,
    /// The greeting, if it has not been sent yet. The welcome is then sent together with it.
    pub(crate) greeting: Option<Text>,
}

/// Result of handling a client's requests.
#[derive(Debug)]
pub(crate) enum Standing {
    /// The client is still a member. Contains its new name if it was renamed.
    Member(Option<Name>),
    /// The client has left or was removed.
    Gone,
}

/// Counters since the server started, for the summary that the server prints when it ends.
pub(crate) struct Totals {
    /// Number of members that have joined, without those that have only resumed.
    pub(crate) newcomers: u64,
    pub(crate) joined: u64,
    pub(crate) messages: u64,
}

impl Room {
    /// Creates a room. The sequence numbers of its events begin after `last_seq`, and its member
    /// IDs after `last_id`.
    pub(crate) fn new(id: Text, max_members: usize, last_seq: u64, last_id: u64) -> Self {
        Self {
            id,
            state: Mutex::new(State {
                members: Members::new(max_members, last_id),
                next_seq: last_seq + 1,
                pending: Vec::new(),
                pending_bytes: 0,
                turns_requested: 0,
                turns_granted: 0,
                replay_pending: 0,
                replay: ReplaySize::default(),
                is_delivery_asleep: false,
                closed: false,
                newcomers: 0,
                joined: 0,
                messages: 0,
            }),
            gauge: Gauge::default(),
            woken: Condvar::new(),
            taken: Condvar::new(),
            join_allowed: Condvar::new(),
        }
    }

    /// Waits for a turn to post, and locks the state. The turn comes at once if the pending queue
    /// has space and no sender waits. Otherwise, senders get their turns in the order of their
    /// calls. Called by reader threads only, and not while they deliver: the thread that delivers,
    /// which empties the queue, must not wait here.
    fn lock_for_turn(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock();
        if state.pending_bytes <= MAX_PENDING && !state.has_waiting_senders() {
            return state;
        }
        let turn = state.turns_requested;
        state.turns_requested += 1;
        self.wake(&mut state);
        self.taken
            .wait_while(state, |state| state.turns_granted <= turn && !state.closed)
    }

    /// Waits until the pending queue has space for another join and its replay, and locks the
    /// state.
    fn lock_for_join(&self) -> MutexGuard<'_, State> {
        let is_full = |state: &mut State| {
            (state.pending_bytes > 2 * MAX_PENDING || state.replay_pending > MAX_REPLAY_PENDING)
                && !state.closed
        };
        self.join_allowed.wait_while(self.state.lock(), is_full)
    }

    /// Adds a member that connects from `peer`. Called by the thread `accept` only, like
    /// [`Room::resume`]. May block until the delivery thread catches up.
    ///
    /// # Errors
    /// The name is taken, the room is full, or the server is shutting down.
    pub(crate) fn join(
        &self,
        identity: &Identity,
        peer: IpAddr,
        endpoint: Endpoint,
    ) -> Result<ConnectionId, JoinError> {
        let token = match endpoint.format {
            Format::Plain => None,
            Format::Json => members::token(),
        };
        let mut state = self.lock_for_join();
        if state.closed {
            return Err(JoinError::Closed);
        }
        let since = state.next_seq - 1;
        let joined = state
            .members
            .join(identity, peer, token, since, Instant::now());
        match joined {
            Ok(arrival) => Ok(self.post_join(&mut state, arrival, 0, endpoint)),
            Err(error) => {
                drop(state);
                Err(self.with_free_name(error))
            }
        }
    }

    /// Whether [`Room::resume`] would not block for long: the replay after event number `after` is
    /// short, or the pending queue has space for another replay.
    pub(crate) fn has_space_for_replay(&self, after: u64) -> bool {
        let state = self.state.lock();
        state.replay_pending <= MAX_REPLAY_PENDING
            || state.replay_size(after) <= MAX_SHORT_REPLAY
            || state.closed
    }

    /// Moves the member with this token to a new connection from `peer`. Returns the member's name.
    /// `after` is the sequence number of the last event that the client has. If the member has an
    /// earlier connection, that connection is closed, and nothing more is read from it. May block
    /// until the delivery thread catches up.
    ///
    /// No password is needed, because the client gave the password before it got the token.
    ///
    /// # Errors
    /// The token is unknown, the member's name is taken, the room is full, or the server is
    /// shutting down.
    pub(crate) fn resume(
        &self,
        token: &str,
        after: u64,
        peer: IpAddr,
        endpoint: Endpoint,
    ) -> Result<(ConnectionId, Text), JoinError> {
        let mut state = self.lock_for_join();
        if state.closed {
            return Err(JoinError::Closed);
        }
        match state.members.resume(token, peer, Instant::now()) {
            Ok(arrival) => {
                let name = arrival.who.name.clone();
                let connection = self.post_join(&mut state, arrival, after, endpoint);
                Ok((connection, name))
            }
            Err(error) => {
                drop(state);
                Err(self.with_free_name(error))
            }
        }
    }

    /// Adds a suggestion to the error for a taken name: a free name, made by appending a number.
    /// Each check takes tens of microseconds, so this is called without the lock, and tries only a
    /// few numbers: small ones, and the number of members plus one.
    fn with_free_name(&self, mut error: JoinError) -> JoinError {
        if let JoinError::Taken { name, free, .. } = &mut error {
            let next = self.state.lock().members.count().saturating_add(1);
            let numbers = [2, 3, u32::try_from(next).unwrap_or(u32::MAX)];
            let mut numbered = numbers.iter().filter_map(|&n| name.with_number(n));
            *free = numbered.find(|name| self.state.lock().members.is_free(name));
        }
        error
    }

    /// Posts that a member has joined or resumed. The other members see a join, unless the member
    /// was present all the time.
    fn post_join(
        &self,
        state: &mut State,
        arrival: Arrival,
        after: u64,
        endpoint: Endpoint,
    ) -> ConnectionId {
        let Arrival {
            connection, who, ..
        } = arrival;
        let online = match endpoint.format {
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
            color: who.color,
            count: state.members.count(),
            online,
            seq: state.next_seq - 1,
            // The delivery thread sets this field, because it owns the replay buffer.
            missing: 0,
        });
        let record = (!arrival.was_present).then(|| {
            state.joined += 1;
            state.record(Event::Joined(who))
        });
        let joined = Posted::Join {
            record,
            welcome,
            replay: ReplayRange {
                after,
                since: arrival.since,
            },
            connection,
            endpoint,
        };
        state.newcomers += u64::from(connection.is_first());
        state.replay_pending += if connection.is_first() {
            state.replay.messages
        } else {
            state.replay_size(after)
        };
        state.replay_pending += listed * ENTRY / 2;
        self.post(state, ENTRY, joined);
        connection
    }

    /// Handles requests of the member on `connection`, in order. Called by the member's reader
    /// thread, which must then call `DeliveryRole::deliver_or_wake`. May block until the delivery
    /// thread catches up.
    pub(crate) fn handle(
        &self,
        connection: ConnectionId,
        requests: impl Iterator<Item = Result<Request, RequestError>>,
    ) -> Standing {
        let mut state = self.lock_for_turn();
        let mut before = state.pending_bytes;
        let mut renamed = None;
        for request in requests {
            if state.is_turn_over(before) {
                drop(state);
                state = self.lock_for_turn();
                before = state.pending_bytes;
            }
            if state.members.on(connection).is_none() || state.closed {
                return Standing::Gone;
            }
            let id = connection.member;
            match request {
                Ok(request) => {
                    if let Err(error) = self.request(&mut state, id, request, &mut renamed) {
                        drop(state);
                        let error = self.with_free_name(error);
                        state = self.state.lock();
                        if state.members.on(connection).is_none() || state.closed {
                            return Standing::Gone;
                        }
                        self.answer(&mut state, id, error_answer(&error));
                    }
                }
                Err(error) => self.answer(&mut state, id, error_answer(&error)),
            }
        }
        match state.members.on(connection) {
            Some(_) => Standing::Member(renamed),
            None => Standing::Gone,
        }
    }

    /// Sends `bytes`, the answer to telnet commands, to the member on `connection`. Called by its
    /// reader thread, in the same way as [`Room::handle`].
    pub(crate) fn answer_telnet(&self, connection: ConnectionId, bytes: &[u8]) {
        let mut state = self.lock_for_turn();
        if state.members.on(connection).is_some() && !state.closed {
            let answer = Posted::Telnet(connection.member, bytes.into());
            self.post(&mut state, ENTRY + bytes.len(), answer);
        }
    }

    /// Handles a request. If the member's new name is taken, returns an error, which the caller
    /// must send to the member.
    fn request(
        &self,
        state: &mut State,
        id: MemberId,
        request: Request,
        renamed: &mut Option<Name>,
    ) -> Result<(), JoinError> {
        // The member is always present, because the caller has checked that under the same lock.
        let Some(member) = state.members.get(id) else {
            return Ok(());
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
            Request::Reply(text) => match member.correspondent {
                Some(to) if state.members.get(to).is_some() => {
                    self.private(state, (id, name), to, text);
                }
                Some(_) => self.answer(state, id, error_answer(&RequestError::CorrespondentLeft)),
                None => self.answer(state, id, error_answer(&RequestError::NoCorrespondent)),
            },
            Request::Rename(new) if new.text() == name.text() => {
                let notice = Text::new(&format!("your name is {name} already"));
                self.answer(state, id, Answer::Notice(notice));
            }
            Request::Rename(new) => {
                state.members.rename(id, &new, Instant::now())?;
                let (from, to) = (name.text().clone(), new.text().clone());
                self.post_event(state, Event::Renamed { id, from, to });
                *renamed = Some(new);
            }
            Request::Online => {
                let (count, members) = (state.members.count(), state.members.list());
                self.answer(state, id, Answer::Online { count, members });
            }
            Request::Help(language) => {
                self.answer(state, id, Answer::Help(commands::member_help(language)));
            }
            Request::Quit => self.remove(state, id, None, Departure::Final),
        }
        Ok(())
    }

    fn private(&self, state: &mut State, from: (MemberId, Name), to: MemberId, text: Text) {
        let time = now();
        let (id, name) = from;
        let Some(receiver) = state.members.get_mut(to) else {
            return;
        };
        let to_name = receiver.name.text().clone();
        receiver.correspondent = Some(id);
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

    /// Removes the member on `connection`, but lets the member resume later. If the connection was
    /// lost or cut, there is a `reason`, which the other members see, and the member's name is kept
    /// for it. Does nothing if the member has left or has resumed on another connection. Never
    /// blocks.
    pub(crate) fn leave(&self, connection: ConnectionId, reason: Option<&str>) {
        let mut state = self.state.lock();
        if state.members.on(connection).is_some() {
            let departure = match reason {
                Some(_) => Departure::Lost,
                None => Departure::InputOver,
            };
            let reason = reason.map(Text::new);
            self.remove(&mut state, connection.member, reason, departure);
        }
    }

    /// Sends `error` to the member on `connection` and removes the member, which cannot resume. The
    /// other members see the `reason`.
    pub(crate) fn cut(&self, connection: ConnectionId, error: &str, reason: &str) {
        let mut state = self.state.lock();
        if state.members.on(connection).is_some() {
            self.send_away(&mut state, connection.member, error, reason);
        }
    }

    fn send_away(&self, state: &mut State, id: MemberId, error: &str, reason: &str) {
        self.answer(state, id, error_answer(&error));
        self.remove(state, id, Some(Text::new(reason)), Departure::Final);
    }

    fn remove(&self, state: &mut State, id: MemberId, reason: Option<Text>, departure: Departure) {
        if state.closed {
            return;
        }
        if let Some(name) = state.members.remove(id, departure, Instant::now()) {
            let name = name.text().clone();
            self.post_event(state, Event::Left { id, name, reason });
        }
    }

    /// Removes the member called `name`, for the operator's `/kick`. If there is none, but the name
    /// is kept for an absent member, makes the name free and returns it.
    ///
    /// # Errors
    /// The name is neither taken nor kept.
    pub(crate) fn kick(&self, name: &Name, reason: &str) -> Result<Option<Name>, RequestError> {
        let mut state = self.state.lock();
        let Some(id) = state.members.holder(name) else {
            let kept = state.members.forget_kept(name, Instant::now());
            let error = || RequestError::NotHere(name.text().clone());
            return kept.map(Some).ok_or_else(error);
        };
        if reason.is_empty() {
            self.send_away(&mut state, id, "you were kicked", "kicked");
        } else {
            let reason = format!("kicked: {reason}");
            self.send_away(&mut state, id, &format!("you were {reason}"), &reason);
        }
        Ok(None)
    }

    /// Posts a message from the server. Never blocks.
    pub(crate) fn say(&self, text: Text) {
        let mut state = self.state.lock();
        if !state.closed {
            self.post_event(&mut state, Event::Server { text });
        }
    }

    /// Returns the number of lines that one `/online` counts as towards the rate limit of a client.
    pub(crate) fn online_cost(&self) -> u32 {
        let listed = self.state.lock().members.count().min(MAX_LISTED);
        // At most 500 members are listed, so `/online` counts as at most 51 lines.
        u32::try_from(1 + listed / LISTED_PER_LINE).unwrap_or(u32::MAX)
    }

    /// Returns the number of members, and the list of members up to `MAX_LISTED`.
    pub(crate) fn online(&self) -> Answer {
        let state = self.state.lock();
        Answer::Online {
            count: state.members.count(),
            members: state.members.list(),
        }
    }

    /// Posts the shutdown event, after which nothing more can be posted.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        if !state.closed {
            self.post_event(&mut state, Event::Shutdown);
            state.closed = true;
        }
        self.taken.notify_all();
        self.join_allowed.notify_all();
    }

    /// Whether the member of `connection` has since resumed on a later connection.
    pub(crate) fn is_superseded(&self, connection: ConnectionId) -> bool {
        let state = self.state.lock();
        state.members.get(connection.member).is_some() && state.members.on(connection).is_none()
    }

    /// The gauge of the room's lock.
    pub(crate) fn lock_gauge(&self) -> &LockGauge {
        self.state.gauge()
    }

    /// Calls `run` while the calling thread holds the room's lock. Passes the line at which it took
    /// the lock.
    #[cfg(test)]
    pub(crate) fn while_locked<T>(&self, run: impl FnOnce(u32) -> T) -> T {
        let (_state, line) = (self.state.lock(), line!());
        run(line)
    }

    /// The length of the pending queue. Takes no lock.
    pub(crate) fn pending(&self) -> Pending {
        Pending {
            entries: self.gauge.entries.load(Relaxed),
            bytes: self.gauge.bytes.load(Relaxed),
            limit: MAX_PENDING,
        }
    }

    /// The number of members. Takes no lock.
    pub(crate) fn members_present(&self) -> usize {
        self.gauge.members.load(Relaxed)
    }

    pub(crate) fn totals(&self) -> Totals {
        let state = self.state.lock();
        Totals {
            newcomers: state.newcomers,
            joined: state.joined,
            messages: state.messages,
        }
    }

    /// Waits up to `patience` to be woken. Does not wait if the pending queue has entries, or
    /// senders wait for a turn. Called by the delivery thread, while it does not hold the delivery
    /// role.
    pub(crate) fn sleep(&self, patience: Duration) {
        let mut state = self.state.lock();
        state.is_delivery_asleep = state.pending.is_empty() && !state.has_waiting_senders();
        let is_asleep = |state: &mut State| state.is_delivery_asleep;
        let mut state = self.woken.wait_timeout_while(state, patience, is_asleep);
        state.is_delivery_asleep = false;
    }

    /// Whether the delivery thread sleeps, and nothing has woken it.
    #[cfg(test)]
    pub(crate) fn is_delivery_asleep(&self) -> bool {
        self.state.lock().is_delivery_asleep
    }

    /// Wakes the delivery thread if the pending queue has entries. Called by a reader thread after
    /// it has given the delivery role back.
    pub(crate) fn wake_delivery(&self) {
        let mut state = self.state.lock();
        if !state.pending.is_empty() {
            self.wake(&mut state);
        }
    }

    fn wake(&self, state: &mut State) {
        if std::mem::take(&mut state.is_delivery_asleep) {
            self.woken.notify_one();
        }
    }

    /// Moves the whole pending queue into `taken`, which must be empty, and grants the next
    /// [`TURNS`] waiting senders their turns. Returns the number of bytes of text in the queue.
    /// `replay` is the current size of the replay buffer, which limits how many newcomers can then
    /// join at once. Called by the delivery thread.
    pub(crate) fn take(&self, taken: &mut Vec<Posted>, replay: ReplaySize) -> usize {
        self.take_all(&mut self.state.lock(), taken, replay)
    }

    /// Takes the pending queue like [`Room::take`], for a reader thread that holds the delivery
    /// role. Takes nothing and returns `None` if the queue is empty or has more than the result of
    /// one line, or if the delivery thread is awake and will take the queue.
    pub(crate) fn take_line(&self, taken: &mut Vec<Posted>, replay: ReplaySize) -> Option<usize> {
        let mut state = self.state.lock();
        let is_line = state.is_delivery_asleep
            && (1..=LINE_ENTRIES).contains(&state.pending.len())
            && state.pending_bytes <= LINE_BYTES;
        is_line.then(|| self.take_all(&mut state, taken, replay))
    }

    fn take_all(&self, state: &mut State, taken: &mut Vec<Posted>, replay: ReplaySize) -> usize {
        state.replay = replay;
        std::mem::swap(&mut state.pending, taken);
        let bytes = std::mem::take(&mut state.pending_bytes);
        self.show(state);
        let was_full = bytes > MAX_PENDING;
        // Wake a blocked join before the blocked senders: the join blocks the thread `accept`, and
        // with it all pending logins.
        if std::mem::take(&mut state.replay_pending) > MAX_REPLAY_PENDING || was_full {
            self.join_allowed.notify_one();
        }
        if state.has_waiting_senders() {
            state.turns_granted = state.turns_requested.min(state.turns_granted + TURNS);
            self.taken.notify_all();
        }
        bytes
    }

    fn post(&self, state: &mut State, bytes: usize, posted: Posted) {
        // A reader thread that posts a line then delivers the line or wakes the delivery thread.
        if !posted.is_line() {
            self.wake(state);
        }
        state.pending_bytes += bytes;
        state.pending.push(posted);
        self.show(state);
    }

    /// Updates the gauge. Called after each post and each take, one of which comes with every
    /// change of the members or of the queue.
    fn show(&self, state: &State) {
        let Gauge {
            members,
            entries,
            bytes,
        } = &self.gauge;
        members.store(state.members.count(), Relaxed);
        entries.store(state.pending.len(), Relaxed);
        bytes.store(state.pending_bytes, Relaxed);
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
    /// Whether senders are waiting for a turn that has not been granted yet.
    fn has_waiting_senders(&self) -> bool {
        self.turns_granted < self.turns_requested
    }

    /// Whether a sender must wait for another turn before it posts more. `before` is the value of
    /// `pending_bytes` at the beginning of its turn. False until the sender has posted something.
    fn is_turn_over(&self, before: usize) -> bool {
        let posted = self.pending_bytes.saturating_sub(before);
        let is_full = self.pending_bytes > MAX_PENDING;
        posted > 0 && (is_full || posted > MAX_TURN && self.has_waiting_senders())
    }

    /// Approximate size, in bytes, of the largest replay that a member can get if it resumes after
    /// event number `after`.
    fn replay_size(&self, after: u64) -> usize {
        let missed = (self.next_seq - 1).saturating_sub(after);
        let missed = usize::try_from(missed).unwrap_or(usize::MAX);
        let ReplaySize { messages, events } = self.replay;
        missed.saturating_mul(MAX_EVENT).min(messages + events)
    }

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

/// The current time, truncated to milliseconds, the precision of the protocol.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};
    use std::thread;

    use super::*;

    const SENDERS: usize = 40;
    const LINES: usize = 64;

    fn say(text: &str) -> Request {
        Request::Say(Text::new(text))
    }

    /// Waits until `count` senders wait for their turn, or `is_done` returns true.
    fn wait_for_senders(room: &Room, count: usize, is_done: impl Fn() -> bool) {
        let waiting = || {
            let state = room.state.lock();
            state.turns_requested - state.turns_granted
        };
        while waiting() < count as u64 && !is_done() {
            thread::yield_now();
        }
    }

    fn take_lines(room: &Room, lines: &mut Vec<Text>) {
        let mut taken = Vec::new();
        room.sleep(Duration::MAX);
        room.take(&mut taken, ReplaySize::default());
        lines.extend(taken.into_iter().filter_map(|posted| match posted {
            Posted::Event(record) => record.event.text().cloned(),
            Posted::Join { .. } | Posted::Answer(..) | Posted::Telnet(..) => None,
        }));
    }

    #[test]
    fn a_sender_of_one_line_does_not_wait_until_others_have_sent_all_their_lines() {
        let room = Room::new(Text::new("r"), SENDERS + 1, 0, 0);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let socket = Arc::new(socket);
        let join = |number: usize| {
            let identity = Identity {
                name: Name::new(&format!("m{number}")).unwrap(),
                group: None,
            };
            let endpoint = Endpoint {
                socket: Arc::clone(&socket),
                format: Format::Plain,
                greeting: None,
            };
            let peer = Ipv4Addr::LOCALHOST.into();
            room.join(&identity, peer, endpoint).unwrap()
        };
        let connections: Vec<ConnectionId> = (0..=SENDERS).map(join).collect();
        let long = "x".repeat(MAX_PENDING / LINES);
        let said = thread::scope(|scope| {
            let (room, long) = (&room, long.as_str());
            let send = |connection, lines: usize, text| {
                room.handle(connection, (0..lines).map(|_| Ok(say(text))));
                room.wake_delivery();
            };
            for connection in connections[..SENDERS].iter().copied() {
                scope.spawn(move || send(connection, LINES, long));
            }
            wait_for_senders(room, SENDERS, || false);
            let last = connections[SENDERS];
            let sender = scope.spawn(move || send(last, 1, "hi"));
            let mut said = Vec::new();
            while !sender.is_finished() {
                wait_for_senders(room, SENDERS + 1, || sender.is_finished());
                take_lines(room, &mut said);
            }
            while said.len() < SENDERS * LINES + 1 {
                take_lines(room, &mut said);
            }
            said
        });
        let before = said.iter().position(|text| text.as_str() == "hi").unwrap();
        // `hi` comes after a queue full of long lines, and after at most two turns of each sender.
        assert!(before < SENDERS * LINES / 5, "{before} lines came first");
    }
}
