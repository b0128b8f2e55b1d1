//! The model of `src/server/room.rs`, and of what of `members.rs` it needs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use shuttle::sync::{Condvar, Mutex, MutexGuard};

use super::Request::{self, Ask, Say};
use super::socket::Socket;
use super::{BACK, Event, Fault, Id, JSON, Link, PLANS, Posted, Seq, lock, member_on, wait};

/// Entries that may be pending before those who post wait.
const MAX_PENDING: usize = 3;

/// `Room`, and what goes with it in `Shared`.
pub(super) struct Room {
    pub(super) state: Mutex<State>,
    posted: Condvar,
    taken: Condvar,
    pub(super) sockets: [Socket; BACK + 1],
    pub(super) fault: Fault,
    /// For [`Fault::PastApart`]: the past, and what each newcomer took of it.
    pub(super) past: Mutex<(Vec<Seq>, [Vec<Seq>; PLANS.len()])>,
    /// What happened in all schedules so far, and how often.
    seen: std::sync::Arc<Seen>,
}

pub(super) type Seen = std::sync::Mutex<BTreeMap<&'static str, usize>>;

#[derive(Default)]
pub(super) struct State {
    members: BTreeMap<Id, Link>,
    last_seq: Seq,
    pending: Vec<Posted>,
    closed: bool,
    /// For the check: what there was, by its numbers, and whom the server sent away.
    pub(super) order: Vec<Posted>,
    pub(super) cut: BTreeSet<Link>,
}

impl State {
    /// `Members::on`.
    fn is_on(&self, link: Link, fault: Fault) -> bool {
        let member = self.members.get(&member_on(link));
        member.is_some_and(|on| *on == link || fault == Fault::LinkForgotten)
    }
}

impl Room {
    pub(super) fn new(fault: Fault, seen: &std::sync::Arc<Seen>) -> Self {
        Self {
            state: Mutex::default(),
            posted: Condvar::new(),
            taken: Condvar::new(),
            sockets: Default::default(),
            fault,
            past: Mutex::default(),
            seen: std::sync::Arc::clone(seen),
        }
    }

    pub(super) fn saw(&self, what: &'static str) {
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
    pub(super) fn join(&self, id: Id) -> bool {
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
    pub(super) fn resume(&self, after: Seq) -> bool {
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
    pub(super) fn handle(&self, link: Link, requests: &[Request]) -> bool {
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
    pub(super) fn leave(&self, link: Link) {
        let mut state = self.lock();
        if !state.closed && state.is_on(link, self.fault) {
            state.members.remove(&member_on(link));
            self.post_event(state, Event::Left(member_on(link)));
        }
    }

    /// `Room::leave` with a reason.
    pub(super) fn cut(&self, link: Link, why: &'static str) {
        self.saw(why);
        lock(&self.state).cut.insert(link);
        self.leave(link);
    }

    /// `Room::close`.
    pub(super) fn close(&self) {
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
    pub(super) fn take(&self, patient: bool) -> Vec<Posted> {
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
