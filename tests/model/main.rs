//! The delivery as a model, run in thousands of orders: whatever comes first, members read the same conversation.
//!
//! Modelled are the room, the delivery thread, and a slow member's backlog with its writer thread; each part names what
//! in `src/server` it follows step by step, and changes with it. A line is one item, never half sent. Left out are names,
//! encodings, the log, and `Linger`. Where the clock would decide, chance does.
//!
//! The orders are the same in every run; the variable `SHUTTLE_RANDOM_SEED` gives others.

mod backlog;
mod delivery;
mod room;
mod socket;

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::PoisonError;

use delivery::Delivery;
use room::{Room, Seen, State};
use shuttle::rand::Rng;
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::sync::{Condvar, Mutex, MutexGuard};
use shuttle::thread;

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
    let room = &Room::new(fault, seen);
    let (history, read) = thread::scope(|scope| {
        let delivery = Delivery::new(room, scope);
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
