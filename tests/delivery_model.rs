//! The delivery as a model, run in thousands of orders: whatever comes first, members read the same conversation.
//!
//! Modelled are the room, the delivery thread, and a slow member's backlog with its writer thread; each part names what
//! in `src/server` it follows step by step, and changes with it. A line is one item, never half sent. Left out are names,
//! encodings, the log, and `Linger`. Where the clock would decide, chance does.
//!
//! The orders are the same in every run; the variable `SHUTTLE_RANDOM_SEED` gives others.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::PoisonError;

use shuttle::rand::Rng;
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::sync::{Arc, Condvar, Mutex, MutexGuard};
use shuttle::thread::{self, Scope};

/// Entries that may be pending before those who post wait.
const MAX_PENDING: usize = 3;

/// Lines that a socket takes before its peer has read one.
const SOCKET: usize = 2;

/// Lines that a member may be behind, beside its welcome and the past.
const MAX_BACKLOG: usize = 3;

const SEED: u64 = 3;

/// What each member sends, in batches as one read brings them.
const PLANS: [&[&[Request]]; 3] = [
    &[&[Say, Say], &[Ask]],
    &[&[Ask], &[Say, Ask], &[Say]],
    &[&[Ask, Say]],
];

/// Is sent its own joining and messages too, and stays until it is sent away; the others leave. Its peer may lose the
/// connection, and comes back on [`BACK`].
const JSON: Id = 1;

/// What is sent after the coming back.
const PLAN_BACK: &[Request] = &[Say, Ask];

/// Place in [`PLANS`].
type Id = usize;

/// A connection: that of each member has its number, and one more is there to come back on.
type Link = usize;

const BACK: Link = PLANS.len();

fn member_on(link: Link) -> Id {
    if link == BACK { JSON } else { link }
}

type Seq = usize;

enum Request {
    Say,
    /// Something that is answered to this member alone.
    Ask,
}
use Request::{Ask, Say};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Event {
    Joined(Id),
    Said(Id),
    Left(Id),
    Shutdown,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Posted {
    Event(Seq, Event),
    /// An answer, and the last event before it.
    Answer(Id, Seq),
    /// The coming back on [`BACK`] after the event `seq`, of who has seen those up to `after`; where it was gone, a joining
    /// is the next event.
    Back {
        after: Seq,
        seq: Seq,
        joins: bool,
    },
}

/// What a peer reads.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Line {
    /// The last event before the joining.
    Welcome(Seq),
    Past(Seq),
    Live(Seq),
    Answer(Seq),
    /// Why it was cut.
    Reason,
}

/// What is wrong on purpose, to see that it is found.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    /// An event gets its number under the lock, and its place when the lock is taken once more.
    SplitSection,
    NoWakeUp,
    /// The first of a batch wakes the delivery thread, and only then takes the lock and posts.
    EarlyWakeUp,
    NoSpaceTold,
    /// A newcomer's thread takes the past from under a lock of its own before it joins.
    PastApart,
    /// After a round for single members, these get what is held once more.
    CursorForgotten,
    /// Whether the writer thread has ended is looked up under the lock, and acted upon when it is taken once more.
    OverApart,
    /// A writer thread that gave up is taken for one that has sent all.
    GivenUpIsCaughtUp,
    /// What a connection's end does is done to its member, wherever that is by now.
    LinkForgotten,
    /// Who comes back gets as live what stood in the round before.
    BackToTheRound,
}

/// `Room`, and what goes with it in `Shared`.
struct Room {
    state: Mutex<State>,
    posted: Condvar,
    taken: Condvar,
    sockets: [Socket; BACK + 1],
    fault: Fault,
    /// For [`Fault::PastApart`]: the past, and what each newcomer took of it.
    past: Mutex<(Vec<Seq>, [Vec<Seq>; PLANS.len()])>,
    /// What happened in all schedules so far, and how often.
    seen: std::sync::Arc<Seen>,
}

type Seen = std::sync::Mutex<BTreeMap<&'static str, usize>>;

#[derive(Default)]
struct State {
    members: BTreeMap<Id, Link>,
    last_seq: Seq,
    pending: Vec<Posted>,
    closed: bool,
    /// For the check: what there was, by its numbers, and whom the server sent away.
    order: Vec<Posted>,
    cut: BTreeSet<Link>,
}

impl State {
    /// `Members::on`.
    fn is_on(&self, link: Link, fault: Fault) -> bool {
        let member = self.members.get(&member_on(link));
        member.is_some_and(|on| *on == link || fault == Fault::LinkForgotten)
    }
}

impl Room {
    fn saw(&self, what: &'static str) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        *seen.entry(what).or_default() += 1;
    }

    /// `Room::lock`, where something may be posted.
    fn lock(&self) -> MutexGuard<'_, State> {
        if self.fault == Fault::EarlyWakeUp && lock(&self.state).pending.is_empty() {
            self.posted.notify_one();
        }
        lock(&self.state)
    }

    /// `Room::lock_with_space`.
    fn lock_with_space(&self) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        while state.pending.len() > MAX_PENDING && !state.closed {
            self.saw("waiting for space");
            state = wait(&self.taken, state);
        }
        state
    }

    /// `Room::join`; false where the room is closed.
    fn join(&self, id: Id) -> bool {
        if self.fault == Fault::PastApart {
            let mut past = lock(&self.past);
            past.1[id] = past.0.clone();
        }
        let mut state = self.lock_with_space();
        if state.closed {
            return false;
        }
        state.members.insert(id, id);
        self.post_event(state, Event::Joined(id));
        true
    }

    /// `Room::resume`; false where the room is closed.
    fn resume(&self, after: Seq) -> bool {
        let mut state = self.lock_with_space();
        if state.closed {
            return false;
        }
        let joins = state.members.insert(JSON, BACK).is_none();
        self.saw(match joins {
            true => "a coming back to the room",
            false => "a coming back to another connection",
        });
        // What the old one does not get any more is not lost.
        state.cut.insert(JSON);
        let seq = state.last_seq;
        let back = Posted::Back { after, seq, joins };
        state.order.push(back);
        if joins {
            state.last_seq += 1;
            state
                .order
                .push(Posted::Event(seq + 1, Event::Joined(JSON)));
        }
        self.post(state, back);
        true
    }

    /// `Room::handle`; false where the member is not on `link` any more.
    fn handle(&self, link: Link, requests: &[Request]) -> bool {
        let mut state = self.lock_with_space();
        let id = member_on(link);
        for request in requests {
            if !state.is_on(link, self.fault) || state.closed {
                return false;
            }
            state = match request {
                Say => self.post_event(state, Event::Said(id)),
                Ask => {
                    let answer = Posted::Answer(id, state.last_seq);
                    state.order.push(answer);
                    self.post(state, answer)
                }
            };
        }
        state.is_on(link, self.fault)
    }

    /// `Room::leave`.
    fn leave(&self, link: Link) {
        let mut state = self.lock();
        if !state.closed && state.is_on(link, self.fault) {
            state.members.remove(&member_on(link));
            self.post_event(state, Event::Left(member_on(link)));
        }
    }

    /// `Room::leave` with a reason.
    fn cut(&self, link: Link, why: &'static str) {
        self.saw(why);
        lock(&self.state).cut.insert(link);
        self.leave(link);
    }

    /// `Room::close`.
    fn close(&self) {
        self.post_event(self.lock(), Event::Shutdown).closed = true;
        self.taken.notify_all();
    }

    /// `Room::post_event`.
    fn post_event<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        event: Event,
    ) -> MutexGuard<'a, State> {
        state.last_seq += 1;
        let posted = Posted::Event(state.last_seq, event);
        state.order.push(posted);
        if self.fault == Fault::SplitSection {
            drop(state);
            state = self.lock();
        }
        self.post(state, posted)
    }

    /// `Room::post`.
    fn post<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        posted: Posted,
    ) -> MutexGuard<'a, State> {
        if state.pending.is_empty() && !matches!(self.fault, Fault::NoWakeUp | Fault::EarlyWakeUp) {
            self.posted.notify_one();
        }
        state.pending.push(posted);
        state
    }

    /// `Room::take`, with a patience that never ends, or is over at once.
    fn take(&self, patient: bool) -> Vec<Posted> {
        let mut state = lock(&self.state);
        while patient && state.pending.is_empty() {
            state = wait(&self.posted, state);
        }
        let batch = std::mem::take(&mut state.pending);
        if batch.len() > MAX_PENDING && self.fault != Fault::NoSpaceTold {
            self.taken.notify_all();
        }
        batch
    }
}

/// `Delivery`, and its `Round`.
struct Delivery<'scope, 'env> {
    room: &'env Room,
    scope: &'scope Scope<'scope, 'env>,
    outlets: BTreeMap<Id, Outlet>,
    past: Vec<Seq>,
    history: Vec<Posted>,
    common: Vec<Seq>,
    urgent: bool,
    closes: bool,
}

/// `Outlet`, and its `Script`.
#[derive(Default)]
struct Outlet {
    link: Link,
    pieces: Vec<Line>,
    cursor: usize,
    exempt: usize,
    ends: bool,
    backlog: Option<Arc<Backlog>>,
}

enum Cut {
    TooSlow,
    Lost,
}

impl<'scope, 'env> Delivery<'scope, 'env> {
    /// `Delivery::run`; gives the history. Comings and goings are due when nothing came while they were held.
    fn run(mut self) -> Vec<Posted> {
        while !self.closes {
            let batch = self.room.take(self.common.is_empty());
            let waited = batch.is_empty();
            for posted in batch {
                self.encode(posted);
            }
            let notices_are_due = !self.common.is_empty() && (waited || chance(2));
            if self.urgent || notices_are_due {
                self.send(true);
                self.common.clear();
                self.urgent = false;
            } else {
                self.send(false);
            }
        }
        self.history
    }

    /// `Delivery::encode`, `encode_event` and `encode_join`.
    fn encode(&mut self, posted: Posted) {
        let at = self.common.len();
        let (seq, event) = match posted {
            Posted::Event(seq, event) => (seq, event),
            Posted::Answer(id, seq) => {
                if let Some(outlet) = self.outlets.get_mut(&id) {
                    outlet.advance(&self.common, at);
                    outlet
                        .pieces
                        .extend((!outlet.ends).then_some(Line::Answer(seq)));
                }
                return;
            }
            Posted::Back { after, seq, joins } => return self.encode_back(after, seq, joins),
        };
        self.common.push(seq);
        self.history.push(posted);
        match event {
            Event::Joined(id) => {
                let past = match self.room.fault {
                    Fault::PastApart => lock(&self.room.past).1[id].clone(),
                    _ => self.past.clone(),
                };
                if !past.is_empty() {
                    self.room.saw("a past");
                }
                let mut pieces = vec![Line::Welcome(seq - 1)];
                pieces.extend(past.into_iter().map(Line::Past));
                let (exempt, cursor) = (pieces.len(), if id == JSON { at } else { at + 1 });
                self.outlets.insert(
                    id,
                    Outlet {
                        link: id,
                        pieces,
                        cursor,
                        exempt,
                        ..Outlet::default()
                    },
                );
            }
            Event::Said(id) => {
                self.urgent = true;
                self.past.push(seq);
                if self.room.fault == Fault::PastApart {
                    lock(&self.room.past).0.push(seq);
                }
                if let Some(outlet) = self.outlets.get_mut(&id).filter(|_| id != JSON) {
                    outlet.advance(&self.common, at);
                    outlet.cursor = at + 1;
                }
            }
            Event::Left(id) => {
                if let Some(outlet) = self.outlets.get_mut(&id) {
                    outlet.advance(&self.common, at);
                    outlet.ends = true;
                }
            }
            Event::Shutdown => (self.urgent, self.closes) = (true, true),
        }
    }

    /// `Delivery::end_earlier`, and `encode_join` for who comes back.
    fn encode_back(&mut self, after: Seq, seq: Seq, joins: bool) {
        if self.outlets.contains_key(&JSON) {
            self.send(false);
        }
        if let Some(outlet) = self.outlets.remove(&JSON) {
            outlet.cut(self.room);
        }
        let at = self.common.len();
        let mut pieces = vec![Line::Welcome(seq)];
        pieces.extend((after + 1..=seq).map(Line::Past));
        let outlet = Outlet {
            link: BACK,
            exempt: pieces.len(),
            pieces,
            cursor: if self.room.fault == Fault::BackToTheRound {
                0
            } else {
                at
            },
            ..Outlet::default()
        };
        self.outlets.insert(JSON, outlet);
        if joins {
            self.common.push(seq + 1);
            self.history
                .push(Posted::Event(seq + 1, Event::Joined(JSON)));
        }
    }

    /// `Delivery::send`, and `Outlet::close`, which leaves a backlog to its writer thread.
    fn send(&mut self, to_all: bool) {
        let room = self.room;
        let mut ended = Vec::new();
        for (id, outlet) in &mut self.outlets {
            if !to_all && outlet.pieces.is_empty() && !outlet.ends {
                continue;
            }
            if !to_all && !self.common.is_empty() {
                room.saw("lines for one while others are held");
            }
            outlet.advance(&self.common, self.common.len());
            if to_all || room.fault == Fault::CursorForgotten {
                outlet.cursor = 0;
            }
            let sent = outlet.send(room, self.scope);
            if outlet.ends || self.closes || sent.is_err() {
                ended.push((*id, sent));
            }
        }
        for (id, sent) in ended {
            let outlet = self.outlets.remove(&id).unwrap_or_default();
            let link = outlet.link;
            match sent {
                Ok(()) => {
                    if !outlet.backlog.is_some_and(|backlog| backlog.close()) {
                        room.sockets[link].close();
                    }
                }
                Err(Cut::TooSlow) => {
                    room.cut(link, "a backlog over its limit");
                    outlet.cut(room);
                }
                Err(Cut::Lost) => {
                    room.cut(link, "a connection lost");
                    room.sockets[link].close();
                }
            }
        }
    }
}

impl Outlet {
    /// `Script::advance`.
    fn advance(&mut self, common: &[Seq], at: usize) {
        if self.cursor < at && !self.ends {
            self.pieces
                .extend(common[self.cursor..at].iter().copied().map(Line::Live));
        }
        self.cursor = at;
    }

    /// `Outlet::cut`, which leaves a backlog to its writer thread.
    fn cut(self, room: &Room) {
        let socket = &room.sockets[self.link];
        match self.backlog.map(|backlog| backlog.cut()) {
            Some(Cutting::Later) => return,
            Some(Cutting::GivenUp) => {}
            None | Some(Cutting::CaughtUp) => drop(socket.send(&[Line::Reason])),
        }
        socket.close();
    }

    /// `Outlet::send` and `fall_behind`.
    fn send<'scope, 'env>(
        &mut self,
        room: &'env Room,
        scope: &'scope Scope<'scope, 'env>,
    ) -> Result<(), Cut> {
        let (lines, exempt) = (
            std::mem::take(&mut self.pieces),
            std::mem::take(&mut self.exempt),
        );
        if let Some(backlog) = &self.backlog {
            match backlog.append(&lines, exempt, room.fault) {
                Append::Taken => return Ok(()),
                Append::CaughtUp => self.backlog = None,
                Append::TooFar => return Err(Cut::TooSlow),
            }
        }
        let mut rest = lines.as_slice();
        while !rest.is_empty() {
            let sent = room.sockets[self.link].send(rest)?;
            rest = &rest[sent..];
            if sent == 0 {
                let lines = rest.iter().copied().collect();
                let queue = Queue {
                    lines,
                    exempt,
                    closing: false,
                    over: false,
                };
                let backlog = Arc::new(Backlog(Mutex::new(queue)));
                self.backlog = Some(Arc::clone(&backlog));
                let link = self.link;
                scope.spawn(move || backlog.write(link, room));
                break;
            }
        }
        Ok(())
    }
}

/// `Backlog`.
struct Backlog(Mutex<Queue>);

struct Queue {
    lines: VecDeque<Line>,
    exempt: usize,
    closing: bool,
    over: bool,
}

enum Append {
    Taken,
    CaughtUp,
    TooFar,
}

enum Cutting {
    Later,
    CaughtUp,
    GivenUp,
}

impl Backlog {
    /// `Backlog::append`.
    fn append(&self, lines: &[Line], exempt: usize, fault: Fault) -> Append {
        let mut queue = lock(&self.0);
        let over = queue.over;
        if fault == Fault::OverApart {
            drop(queue);
            queue = lock(&self.0);
        }
        if over && (queue.lines.is_empty() || fault == Fault::GivenUpIsCaughtUp) {
            return Append::CaughtUp;
        }
        if over {
            return Append::Taken;
        }
        if queue.lines.len() + lines.len() > MAX_BACKLOG + queue.exempt + exempt {
            return Append::TooFar;
        }
        queue.exempt += exempt;
        queue.lines.extend(lines);
        Append::Taken
    }

    /// `Backlog::close`.
    fn close(&self) -> bool {
        let mut queue = lock(&self.0);
        queue.closing = true;
        !queue.over
    }

    /// `Backlog::cut`.
    fn cut(&self) -> Cutting {
        let mut queue = lock(&self.0);
        if queue.over {
            return match queue.lines.is_empty() {
                true => Cutting::CaughtUp,
                false => Cutting::GivenUp,
            };
        }
        queue.lines.truncate(1);
        queue.lines.push_back(Line::Reason);
        queue.closing = true;
        Cutting::Later
    }

    /// The body of a writer thread: `Backlog::write`, and what `Outlet::fall_behind` has it do then.
    fn write(&self, link: Link, room: &Room) {
        let socket = &room.sockets[link];
        let why = loop {
            let stalls = !socket.wait_writable();
            let mut queue = lock(&self.0);
            let failed = match socket.send(queue.lines.make_contiguous()) {
                Ok(0) if stalls => Some("a writer thread that gives up"),
                Ok(sent) => {
                    queue.lines.drain(..sent);
                    None
                }
                Err(_) => Some("a writer thread whose connection is lost"),
            };
            queue.over = failed.is_some() || queue.lines.is_empty();
            match failed {
                Some(why) => break why,
                None if queue.over && queue.closing => {
                    room.saw("the end of a backlog, and of its connection");
                    return socket.close();
                }
                None if queue.over => return room.saw("a member that has caught up"),
                None => {}
            }
        };
        room.cut(link, why);
        socket.close();
    }
}

/// The kernel's side of a connection: what was sent and not read yet.
#[derive(Default)]
struct Socket {
    buffer: Mutex<Buffer>,
    changed: Condvar,
}

#[derive(Default)]
struct Buffer {
    lines: VecDeque<Line>,
    closed: bool,
}

impl Socket {
    /// `os::send_now`: as much as fits.
    fn send(&self, lines: &[Line]) -> Result<usize, Cut> {
        let mut buffer = lock(&self.buffer);
        if buffer.closed {
            return Err(Cut::Lost);
        }
        let sent = lines.len().min(SOCKET - buffer.lines.len());
        buffer.lines.extend(&lines[..sent]);
        self.changed.notify_all();
        Ok(sent)
    }

    /// `os::wait_writable`; false where time has run out.
    fn wait_writable(&self) -> bool {
        let mut buffer = lock(&self.buffer);
        while buffer.lines.len() == SOCKET && !buffer.closed {
            if chance(8) {
                return false;
            }
            buffer = wait(&self.changed, buffer);
        }
        true
    }

    /// Shuts it down, from either side.
    fn close(&self) {
        lock(&self.buffer).closed = true;
        self.changed.notify_all();
    }

    /// A peer: reads to the end, or hangs up before; gives what it read, and whether that was the end.
    fn read(&self) -> (Vec<Line>, bool) {
        let patience = if chance(8) { 2 } else { usize::MAX };
        let (read, to_the_end) = self.read_lines(patience);
        if !to_the_end {
            self.close();
        }
        (read, to_the_end)
    }

    /// So many lines at most, and whether the end came before.
    fn read_lines(&self, patience: usize) -> (Vec<Line>, bool) {
        let mut read = Vec::new();
        while read.len() < patience {
            let mut buffer = lock(&self.buffer);
            while buffer.lines.is_empty() && !buffer.closed {
                buffer = wait(&self.changed, buffer);
            }
            let Some(line) = buffer.lines.pop_front() else {
                return (read, true);
            };
            read.push(line);
            self.changed.notify_all();
        }
        (read, false)
    }
}

/// A client's thread: `session::serve`.
fn serve(id: Id, room: &Room) {
    if !room.join(id) {
        room.sockets[id].close();
    } else if PLANS[id].iter().all(|batch| room.handle(id, batch)) && id != JSON {
        room.leave(id);
    }
}

/// The peer of [`JSON`], which may lose its connection, with or without the server's knowing, and comes back.
fn read_and_come_back(room: &Room) -> [(Vec<Line>, bool); 2] {
    let (first, back) = (&room.sockets[JSON], &room.sockets[BACK]);
    if chance(2) {
        return [first.read(), (Vec::new(), true)];
    }
    let (read, to_the_end) = first.read_lines(if chance(2) { 1 } else { 4 });
    if chance(2) {
        first.close();
    }
    // Who was shown nothing live asks for what came after the welcome.
    let after = read.iter().rev().find_map(|line| match line {
        Line::Live(seq) | Line::Welcome(seq) => Some(*seq),
        Line::Past(_) | Line::Answer(_) | Line::Reason => None,
    });
    let second = match after.filter(|after| room.resume(*after)) {
        Some(_) => {
            room.handle(BACK, PLAN_BACK);
            back.read()
        }
        None => (Vec::new(), true),
    };
    // The time is over in which the server waits for it.
    first.close();
    [(read, to_the_end), second]
}

/// One schedule, from the first member to the last thread's end.
fn chat(fault: Fault, seen: &std::sync::Arc<Seen>) {
    let room = Room {
        state: Mutex::default(),
        posted: Condvar::new(),
        taken: Condvar::new(),
        sockets: Default::default(),
        fault,
        past: Mutex::default(),
        seen: std::sync::Arc::clone(seen),
    };
    let room = &room;
    let (history, read) = thread::scope(|scope| {
        let delivery = Delivery {
            room,
            scope,
            outlets: BTreeMap::new(),
            past: Vec::new(),
            history: Vec::new(),
            common: Vec::new(),
            urgent: false,
            closes: false,
        };
        let deliver = scope.spawn(move || delivery.run());
        let ids = 0..PLANS.len();
        let peers: Vec<_> = ids
            .clone()
            .filter(|id| *id != JSON)
            .map(|id| (id, scope.spawn(move || room.sockets[id].read())))
            .collect();
        let json = scope.spawn(move || read_and_come_back(room));
        let clients: Vec<_> = ids.map(|id| scope.spawn(move || serve(id, room))).collect();
        // The operator closes the room when all is said, or at any time.
        if chance(2) {
            clients.into_iter().for_each(|client| joined(client.join()));
        }
        room.close();
        let mut read: BTreeMap<Link, _> = peers
            .into_iter()
            .map(|(link, peer)| (link, joined(peer.join())))
            .collect();
        read.extend([JSON, BACK].into_iter().zip(joined(json.join())));
        (joined(deliver.join()), read)
    });
    check(&lock(&room.state), &history, read);
}

/// The promises.
fn check(state: &State, history: &[Posted], read: BTreeMap<Link, (Vec<Line>, bool)>) {
    let mut events = state.order.clone();
    events.retain(|posted| matches!(posted, Posted::Event(..)));
    assert_eq!(
        history, events,
        "promise broken: the history has another order"
    );
    for (link, (mut read, to_the_end)) in read {
        let conversation = conversation(state, link);
        let whole = to_the_end && !state.cut.contains(&link);
        if !whole {
            read.pop_if(|last| *last == Line::Reason);
        }
        assert!(
            conversation.starts_with(&read) && (!whole || read.len() == conversation.len()),
            "promise broken: on connection {link} came {read:?} of {conversation:?}"
        );
    }
}

/// All that is to be read on `link` where this is the order.
fn conversation(state: &State, link: Link) -> Vec<Line> {
    let id = member_on(link);
    let (mut past, mut lines) = (Vec::new(), Vec::new());
    for posted in &state.order {
        match *posted {
            Posted::Back { after, seq, .. } if link == BACK => {
                lines.push(Line::Welcome(seq));
                lines.extend((after + 1..=seq).map(Line::Past));
            }
            Posted::Back { .. } if link == JSON => break,
            Posted::Event(seq, Event::Joined(who)) if who == link => {
                lines.push(Line::Welcome(seq - 1));
                lines.append(&mut past);
                lines.extend((id == JSON).then_some(Line::Live(seq)));
            }
            Posted::Event(_, Event::Left(who)) if who == id && !lines.is_empty() => {
                assert!(
                    id != JSON || state.cut.contains(&link),
                    "promise broken: nobody sent away who was on connection {link}"
                );
                break;
            }
            Posted::Event(_, Event::Said(who)) if who == id && id != JSON => {}
            Posted::Event(seq, _) if !lines.is_empty() => lines.push(Line::Live(seq)),
            Posted::Event(seq, Event::Said(_)) => past.push(Line::Past(seq)),
            Posted::Answer(who, seq) if who == id && !lines.is_empty() => {
                lines.push(Line::Answer(seq));
            }
            Posted::Event(..) | Posted::Answer(..) | Posted::Back { .. } => {}
        }
    }
    lines
}

/// Whether something happens, once in `of` times.
fn chance(of: u32) -> bool {
    shuttle::rand::thread_rng().gen_ratio(1, of)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wait<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condvar.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

fn joined<T>(result: std::thread::Result<T>) -> T {
    result.unwrap_or_else(|panic| resume_unwind(panic))
}

/// Runs the schedules that `scheduler` chooses, to the first that fails; gives how often what was seen.
fn run(
    scheduler: impl Scheduler + 'static,
    fault: Fault,
) -> Result<BTreeMap<&'static str, usize>, Box<dyn Any + Send>> {
    let seen = std::sync::Arc::<Seen>::default();
    let body = {
        let seen = std::sync::Arc::clone(&seen);
        move || chat(fault, &seen)
    };
    let runner = shuttle::Runner::new(scheduler, shuttle::Config::default());
    catch_unwind(AssertUnwindSafe(|| runner.run(body)))?;
    Ok(seen.lock().unwrap_or_else(PoisonError::into_inner).clone())
}

/// Asserts that a model with this fault fails: a promise is broken, or all that are left wait for ever.
fn assert_found(fault: Fault) {
    match run(RandomScheduler::new_from_seed(SEED, 5_000), fault) {
        Ok(seen) => panic!("{fault:?} was not found; seen was {seen:?}"),
        Err(panic) => {
            let said = panic.downcast_ref::<String>().map_or("", String::as_str);
            let found = ["promise broken", "deadlock"]
                .iter()
                .any(|how| said.contains(how));
            assert!(found, "{fault:?}: {said}");
        }
    }
}

#[test]
fn members_read_the_same_conversation_whatever_comes_first() {
    let seen = joined(run(
        RandomScheduler::new_from_seed(SEED, 5_000),
        Fault::None,
    ));
    println!("{seen:#?}");
    assert_eq!(seen.len(), 11, "something was not tried: {seen:#?}");
}

#[test]
fn members_read_the_same_conversation_when_some_threads_rarely_get_their_turn() {
    joined(run(
        PctScheduler::new_from_seed(SEED, 4, 3_000),
        Fault::None,
    ));
}

#[test]
fn a_number_taken_apart_from_its_place_is_found() {
    assert_found(Fault::SplitSection);
}

#[test]
fn a_first_post_that_does_not_wake_the_delivery_thread_is_found() {
    assert_found(Fault::NoWakeUp);
}

#[test]
fn a_wake_up_before_the_post_is_found() {
    assert_found(Fault::EarlyWakeUp);
}

#[test]
fn space_of_which_nobody_is_told_is_found() {
    assert_found(Fault::NoSpaceTold);
}

#[test]
fn a_past_taken_apart_from_the_joining_is_found() {
    assert_found(Fault::PastApart);
}

#[test]
fn held_lines_that_are_sent_twice_are_found() {
    assert_found(Fault::CursorForgotten);
}

#[test]
fn a_backlog_that_ends_between_looking_and_appending_is_found() {
    assert_found(Fault::OverApart);
}

#[test]
fn lines_sent_after_others_were_given_up_are_found() {
    assert_found(Fault::GivenUpIsCaughtUp);
}

#[test]
fn an_earlier_connection_that_counts_still_is_found() {
    assert_found(Fault::LinkForgotten);
}

#[test]
fn a_round_that_who_comes_back_gets_twice_is_found() {
    assert_found(Fault::BackToTheRound);
}
