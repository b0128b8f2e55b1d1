//! The model of `src/server/backlog.rs`.

use std::collections::VecDeque;

use shuttle::sync::Mutex;

use super::room::Room;
use super::{Fault, Line, Link, lock};

/// Lines that a member may be behind, beside its welcome and the past.
const MAX_BACKLOG: usize = 3;

/// `Backlog`.
pub(super) struct Backlog(Mutex<Queue>);

struct Queue {
    lines: VecDeque<Line>,
    exempt: usize,
    closing: bool,
    over: bool,
}

pub(super) enum Append {
    Taken,
    CaughtUp,
    TooFar,
}

pub(super) enum Cutting {
    Later,
    CaughtUp,
    GivenUp,
}

impl Backlog {
    pub(super) fn new(lines: &[Line], exempt: usize) -> Self {
        Self(Mutex::new(Queue {
            lines: lines.iter().copied().collect(),
            exempt,
            closing: false,
            over: false,
        }))
    }

    /// `Backlog::append`.
    pub(super) fn append(&self, lines: &[Line], exempt: usize, fault: Fault) -> Append {
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
    pub(super) fn close(&self) -> bool {
        let mut queue = lock(&self.0);
        queue.closing = true;
        !queue.over
    }

    /// `Backlog::cut`.
    pub(super) fn cut(&self) -> Cutting {
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
    pub(super) fn write(&self, link: Link, room: &Room) {
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
