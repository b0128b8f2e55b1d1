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

/// Is sent its own joining and messages too, and stays until it is sent away; the others leave.
const JSON: Id = 1;

/// Place in [`PLANS`].
type Id = usize;

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
}

/// `Room`, and what goes with it in `Shared`.
struct Room {
    state: Mutex<State>,
    posted: Condvar,
    taken: Condvar,
    sockets: [Socket; PLANS.len()],
    fault: Fault,
    /// For [`Fault::PastApart`]: the past, and what each newcomer took of it.
    past: Mutex<(Vec<Seq>, [Vec<Seq>; PLANS.len()])>,
    /// What happened in all schedules so far, and how often.
    seen: std::sync::Arc<Seen>,
}

type Seen = std::sync::Mutex<BTreeMap<&'static str, usize>>;

#[derive(Default)]
struct State {
    members: BTreeSet<Id>,
    last_seq: Seq,
    pending: Vec<Posted>,
    closed: bool,
    /// For the check: what there was, by its numbers, and whom the server sent away.
    order: Vec<Posted>,
    cut: BTreeSet<Id>,
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
        state.members.insert(id);
        self.post_event(state, Event::Joined(id));
        true
    }

    /// `Room::handle`; false where `id` is no member any more.
    fn handle(&self, id: Id, requests: &[Request]) -> bool {
        let mut state = self.lock_with_space();
        for request in requests {
            if !state.members.contains(&id) || state.closed {
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
        state.members.contains(&id)
    }

    /// `Room::leave`.
    fn leave(&self, id: Id) {
        let mut state = self.lock();
        if !state.closed && state.members.remove(&id) {
            self.post_event(state, Event::Left(id));
        }
    }

    /// `Room::leave` with a reason.
    fn cut(&self, id: Id, why: &'static str) {
        self.saw(why);
        lock(&self.state).cut.insert(id);
        self.leave(id);
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

    /// `Delivery::send`, and `Outlet::close` and `Outlet::cut`, which leave a backlog to its writer thread.
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
            let sent = outlet.send(*id, room, self.scope);
            if outlet.ends || self.closes || sent.is_err() {
                ended.push((*id, sent));
            }
        }
        for (id, sent) in ended {
            let outlet = self.outlets.remove(&id).unwrap_or_default();
            let writer_goes_on = match sent {
                Ok(()) => outlet.backlog.is_some_and(|backlog| backlog.close()),
                Err(Cut::TooSlow) => {
                    room.cut(id, "a backlog over its limit");
                    outlet.backlog.is_some_and(|backlog| backlog.cut())
                }
                Err(Cut::Lost) => {
                    room.cut(id, "a connection lost");
                    false
                }
            };
            if !writer_goes_on {
                room.sockets[id].close();
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

    /// `Outlet::send` and `fall_behind`.
    fn send<'scope, 'env>(
        &mut self,
        id: Id,
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
            let sent = room.sockets[id].send(rest)?;
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
                scope.spawn(move || backlog.write(id, room));
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
    fn cut(&self) -> bool {
        let mut queue = lock(&self.0);
        queue.lines.truncate(1);
        queue.lines.push_back(Line::Reason);
        queue.closing = true;
        !queue.over
    }

    /// The body of a writer thread: `Backlog::write`, and what `Outlet::fall_behind` has it do then.
    fn write(&self, id: Id, room: &Room) {
        let socket = &room.sockets[id];
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
        room.cut(id, why);
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
        let mut read = Vec::new();
        let patience = if chance(8) { 2 } else { usize::MAX };
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
        self.close();
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
            .map(|id| scope.spawn(move || room.sockets[id].read()))
            .collect();
        let clients: Vec<_> = ids.map(|id| scope.spawn(move || serve(id, room))).collect();
        // The operator closes the room when all is said, or at any time.
        if chance(2) {
            clients.into_iter().for_each(|client| joined(client.join()));
        }
        room.close();
        let read: Vec<_> = peers.into_iter().map(|peer| joined(peer.join())).collect();
        (joined(deliver.join()), read)
    });
    check(&lock(&room.state), &history, read);
}

/// The promises.
fn check(state: &State, history: &[Posted], read: Vec<(Vec<Line>, bool)>) {
    let mut events = state.order.clone();
    events.retain(|posted| matches!(posted, Posted::Event(..)));
    assert_eq!(
        history, events,
        "promise broken: the history has another order"
    );
    for (id, (mut read, to_the_end)) in read.into_iter().enumerate() {
        let conversation = conversation(&state.order, id);
        let whole = to_the_end && !state.cut.contains(&id);
        if !whole {
            read.pop_if(|last| *last == Line::Reason);
        }
        assert!(
            conversation.starts_with(&read) && (!whole || read.len() == conversation.len()),
            "promise broken: member {id} read {read:?} of {conversation:?}"
        );
    }
}

/// All that member `id` is to read where this is the order.
fn conversation(order: &[Posted], id: Id) -> Vec<Line> {
    let (mut past, mut lines) = (Vec::new(), Vec::new());
    for posted in order {
        match *posted {
            Posted::Event(seq, Event::Joined(who)) if who == id => {
                lines.push(Line::Welcome(seq - 1));
                lines.append(&mut past);
                lines.extend((id == JSON).then_some(Line::Live(seq)));
            }
            Posted::Event(_, Event::Left(who)) if who == id => break,
            Posted::Event(_, Event::Said(who)) if who == id && id != JSON => {}
            Posted::Event(seq, _) if !lines.is_empty() => lines.push(Line::Live(seq)),
            Posted::Event(seq, Event::Said(_)) => past.push(Line::Past(seq)),
            Posted::Answer(who, seq) if who == id => lines.push(Line::Answer(seq)),
            Posted::Event(..) | Posted::Answer(..) => {}
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
    assert_eq!(seen.len(), 9, "something was not tried: {seen:#?}");
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
