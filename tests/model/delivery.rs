//! The model of `src/server/delivery.rs`, `round.rs` and `outlet.rs`.

use std::collections::BTreeMap;

use shuttle::sync::Arc;
use shuttle::thread::Scope;

use super::backlog::{Append, Backlog, Cutting};
use super::room::Room;
use super::{BACK, Event, Fault, Id, JSON, Line, Link, Posted, Seq, chance, lock};

/// `Delivery`, and its `Round`.
pub(super) struct Delivery<'scope, 'env> {
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

pub(super) enum Cut {
    TooSlow,
    Lost,
}

impl<'scope, 'env> Delivery<'scope, 'env> {
    pub(super) fn new(room: &'env Room, scope: &'scope Scope<'scope, 'env>) -> Self {
        Self {
            room,
            scope,
            outlets: BTreeMap::new(),
            past: Vec::new(),
            history: Vec::new(),
            common: Vec::new(),
            urgent: false,
            closes: false,
        }
    }

    /// `Delivery::run`; gives the history. Comings and goings are due when nothing came while they were held.
    pub(super) fn run(mut self) -> Vec<Posted> {
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
                let backlog = Arc::new(Backlog::new(rest, exempt));
                self.backlog = Some(Arc::clone(&backlog));
                let link = self.link;
                scope.spawn(move || backlog.write(link, room));
                break;
            }
        }
        Ok(())
    }
}
