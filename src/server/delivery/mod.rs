//! The delivery thread: takes what is pending, writes the history, and sends to every member.
//!
//! One round sends to each member with one vectored send that does not wait, whatever the number of messages in
//! it: a send costs about the same for one line as for a thousand. A member whose socket is full gets a backlog
//! and a writer thread of its own until it has caught up, so nobody waits for it.
//!
//! Comings and goings may wait a moment for more of them: when a class joins at once, each of n members would otherwise
//! be sent n lines one by one. They wait for nothing else: what is said next takes them along, in order.

pub(crate) mod backlog;
pub(crate) mod batch;
pub(crate) mod pacer;
pub(crate) mod recipient;

use std::collections::BTreeMap;
use std::net::{Shutdown, TcpStream};
use std::ops::Range;
use std::sync::{Arc, Weak};
use std::thread::Scope;
use std::time::{Duration, Instant};

use crate::net::SharedPayload;
use crate::protocol::event::{Answer, Event, MemberId, Record, Welcome};
use crate::protocol::request::Format;
use crate::protocol::text::Text;
use crate::server::Shared;
use crate::server::delivery::batch::{Batch, SendPlan};
use crate::server::delivery::recipient::{DropReason, Recipient};
use crate::server::history::{Change, History, LOOK};
use crate::server::log::Entry;
use crate::server::members::ConnectionId;
use crate::server::replay::{ReplayBuffer, ReplayRange};
use crate::server::room::{Connection, Posted};
use crate::server::thread_budget::LEAVING;

/// Least time between two rounds that bring members nothing but comings and goings, while more of them come. A class of thousands is in
/// before it is over, and each of them is sent to once.
const HOLD: Duration = Duration::from_millis(200);

/// Time without another event after which no more of them are waited for: longer than one that comes needs to get through the door of a busy
/// machine.
const LULL: Duration = Duration::from_millis(3);

/// Members that have left and take what came before, at once; of more, who left first is cut off. Half of those that have no seat.
const MAX_RETIRED: usize = LEAVING / 2;

/// Bytes for single members that are gathered before they are sent.
const MAX_OWN: usize = 1024 * 1024;

/// From so many members of a format on, and from so many bytes for each, a [`SharedPayload`] is made: it takes some 20 µs, and spares each of them
/// a copy.
const MANY: usize = 32;
const MUCH: usize = 8 * 1024;

/// What the delivery thread owns: nobody else sends to members, or writes the history.
pub(crate) struct Delivery<'scope, 'env> {
    shared: &'env Shared,
    scope: &'scope Scope<'scope, 'env>,
    recipients: BTreeMap<MemberId, Recipient>,
    /// Members that have left, and to which a writer thread still sends what came before.
    retired: Vec<Weak<TcpStream>>,
    json_outlets: usize,
    past: ReplayBuffer,
    history: Option<History>,
    round: Batch,
    /// When comings and goings may be sent.
    notices_at: Instant,
}

impl<'scope, 'env> Delivery<'scope, 'env> {
    pub(crate) fn new(
        shared: &'env Shared,
        scope: &'scope Scope<'scope, 'env>,
        past: ReplayBuffer,
        history: Option<History>,
    ) -> Self {
        Self {
            shared,
            scope,
            recipients: BTreeMap::new(),
            retired: Vec::new(),
            json_outlets: 0,
            past,
            history,
            round: Batch::default(),
            notices_at: Instant::now(),
        }
    }

    /// The body of the thread `deliver`: returns when the room is closed and all is sent.
    pub(crate) fn run(mut self) {
        let mut batch = Vec::new();
        while !self.round.closes {
            let (patience, past) = (self.patience(), self.past.bytes());
            self.shared.room.take(&mut batch, patience, past);
            let is_lull = batch.is_empty();
            self.encode(batch.drain(..));
            self.write_history();
            // Before anyone acts upon it, so that the log has the order in which it happened.
            self.shared.log.queue(&mut self.round.records);
            let now = Instant::now();
            let notices_are_due =
                !self.round.plain.is_empty() && (is_lull || self.notices_at <= now);
            if self.round.urgent || notices_are_due {
                self.send(true);
                self.notices_at = now + HOLD;
                self.round.clear();
            } else {
                self.send(false);
                if self.round.plain.is_empty() {
                    self.round.clear();
                }
            }
            self.shared.log.show_queued();
            self.shared.pacer.end_round();
        }
        self.shared.pacer.close();
        // There is no more time for those that are behind.
        for socket in self.retired.iter().filter_map(Weak::upgrade) {
            self.shared.linger.add(socket);
        }
        for change in self.history.map(History::close).into_iter().flatten() {
            tell(self.shared, &change);
        }
    }

    /// How long to wait for more, where there is something to do without it.
    fn patience(&self) -> Duration {
        if !self.round.plain.is_empty() {
            self.notices_at
                .saturating_duration_since(Instant::now())
                .min(LULL)
        } else if self.history.is_some() {
            LOOK
        } else {
            Duration::MAX
        }
    }

    fn encode(&mut self, batch: impl Iterator<Item = Posted>) {
        for posted in batch {
            match posted {
                Posted::Event(record) => self.encode_event(record),
                Posted::Join {
                    record,
                    welcome,
                    past,
                    link,
                    connection,
                } => {
                    self.end_earlier(link);
                    let Connection {
                        socket,
                        format,
                        greeting,
                    } = connection;
                    let recipient = Recipient {
                        link,
                        socket,
                        format,
                        name: welcome.name.clone(),
                        plan: SendPlan::default(),
                        backlog: None,
                    };
                    self.encode_join(greeting, record, *welcome, past, recipient);
                    // A long past, for each of a class that joins at once.
                    if self.round.own.len() > MAX_OWN {
                        self.send_own();
                    }
                }
                Posted::Answer(id, answer) => {
                    // A member that was cut in an earlier round gets no answers.
                    let Some(recipient) = self.recipients.get_mut(&id) else {
                        continue;
                    };
                    let own = self.round.write_own(recipient.format, &answer);
                    let at = self.round.common(recipient.format).len();
                    if let Answer::Online { .. } = *answer {
                        recipient.plan.exempt += own.len();
                    }
                    recipient.plan.insert(at, own);
                }
            }
        }
    }

    /// Sends what there is for single members.
    fn send_own(&mut self) {
        self.write_history();
        self.shared.log.queue(&mut self.round.records);
        self.send(false);
    }

    /// Ends the connection on which a member was here that comes back on another one, after what it was to get: the new
    /// one continues from what the client says that it has.
    fn end_earlier(&mut self, link: ConnectionId) {
        if self.recipients.contains_key(&link.id) {
            self.send_own();
        }
        if let Some(recipient) = self.remove(link.id) {
            recipient.cut("you came back on another connection", self.shared);
        }
    }

    fn encode_event(&mut self, record: Arc<Record>) {
        let (plain, json) = self.write_common(&record);
        match &record.event {
            Event::Message { id, .. } => {
                self.round.urgent = true;
                if let Some(recipient) = self.recipients.get_mut(id)
                    && recipient.format == Format::Plain
                {
                    recipient.plan.skip(plain);
                }
            }
            Event::Left { id, .. } => {
                if let Some(recipient) = self.recipients.get_mut(id) {
                    let at = match recipient.format {
                        Format::Plain => plain.start,
                        Format::Json => json.start,
                    };
                    recipient.plan.end(at);
                }
            }
            Event::Renamed { id, to, .. } => {
                self.round.urgent = true;
                if let Some(recipient) = self.recipients.get_mut(id) {
                    recipient.name = to.clone();
                }
            }
            Event::Server { .. } => self.round.urgent = true,
            Event::Shutdown => {
                self.round.urgent = true;
                self.round.closes = true;
            }
            Event::Joined(_) => {}
        }
        self.finish_event(record);
    }

    fn encode_join(
        &mut self,
        greeting: Option<Text>,
        record: Option<Arc<Record>>,
        mut welcome: Welcome,
        past: ReplayRange,
        mut recipient: Recipient,
    ) {
        let format = recipient.format;
        if format == Format::Json {
            self.json_outlets += 1;
        }
        welcome.missing = self.past.missing(past);
        let begin = self.round.own.len();
        if let Some(greeting) = greeting {
            self.round
                .write_own(Format::Plain, &Answer::Notice(greeting));
        }
        let mut own = self.round.write_own(format, &Answer::Welcome(welcome));
        own.start = begin;
        if !self.shared.room.is_superseded(recipient.link) {
            self.past.write(past, format, &mut self.round.own);
        }
        own.end = self.round.own.len();
        // Live begins where the past ends: a plain client does not get its own joining, a JSON client does.
        let live = match &record {
            None => self.round.common(format).len(),
            Some(record) => {
                let (plain, json) = self.write_common(record);
                match format {
                    Format::Plain => plain.end,
                    Format::Json => json.start,
                }
            }
        };
        recipient.plan = SendPlan::of_newcomer(own, live);
        self.recipients.insert(recipient.link.id, recipient);
        if let Some(record) = record {
            self.finish_event(record);
        }
    }

    /// Encodes an event for all members; JSON only where somebody gets it.
    fn write_common(&mut self, record: &Record) -> (Range<usize>, Range<usize>) {
        let with_json = self.history.is_some() || self.json_outlets > 0;
        self.round.write_common(record, with_json)
    }

    fn finish_event(&mut self, record: Arc<Record>) {
        self.past.push(Arc::clone(&record));
        self.round.records.push(record);
    }

    /// Before anyone is sent a line: what a member has seen is in the file.
    fn write_history(&mut self) {
        let Some(history) = &mut self.history else {
            return;
        };
        let events = self.round.records.len();
        if events > 0 {
            let lines = &self.round.json[self.round.written..];
            self.round.written = self.round.json.len();
            history.append(lines, events as u64);
        }
        for change in history.look() {
            tell(self.shared, &change);
        }
    }

    /// Sends to all members, or to those for whom there is something special, what has happened in this round.
    fn send(&mut self, to_all: bool) {
        let mut parts = Vec::new();
        let mut ended = Vec::new();
        let sheets = match to_all {
            true => [self.payload(Format::Plain), self.payload(Format::Json)],
            false => [None, None],
        };
        for (id, recipient) in &mut self.recipients {
            if !to_all && !recipient.plan.is_begun() {
                continue;
            }
            let plan = std::mem::take(&mut recipient.plan);
            parts.clear();
            self.round.parts(&plan, recipient.format, &mut parts);
            if !to_all {
                recipient.plan.cursor = self.round.common(recipient.format).len();
            }
            let [plain, json] = &sheets;
            let payload = match recipient.format {
                Format::Plain => plain,
                Format::Json => json,
            };
            let rest = self.round.common(recipient.format).len() - plan.cursor;
            let payload = payload.as_ref().map(|payload| (payload, plan.cursor));
            let payload = payload.filter(|_| plan.only_listens() && rest >= MUCH);
            let sent = recipient.send(&mut parts, payload, plan.exempt, self.shared, self.scope);
            if plan.ends || self.round.closes || sent.is_err() {
                ended.push((*id, sent));
            }
        }
        self.round.own.clear();
        for (id, sent) in ended {
            // It was there a moment ago.
            let Some(recipient) = self.remove(id) else {
                continue;
            };
            match sent {
                Ok(()) => {
                    if let Some(socket) = recipient.close(self.shared) {
                        self.retired.retain(|socket| socket.strong_count() > 0);
                        self.retired.push(Arc::downgrade(&socket));
                        if self.retired.len() > MAX_RETIRED {
                            let longest = self.retired.remove(0).upgrade();
                            // Its threads end with it; where it fails, they have ended.
                            drop(longest.map(|socket| socket.shutdown(Shutdown::Both)));
                        }
                    }
                }
                Err(DropReason::TooSlow) => {
                    self.shared.room.leave(recipient.link, Some("too slow"));
                    let reason =
                        "you were cut: your connection takes messages too slowly; join again";
                    recipient.cut(reason, self.shared);
                }
                Err(DropReason::Torn) => {
                    self.shared.room.leave(recipient.link, Some("too slow"));
                    recipient.close(self.shared);
                }
                Err(DropReason::Lost) => {
                    self.shared
                        .room
                        .leave(recipient.link, Some("connection lost"));
                    // Wakes its thread; where that fails, nobody is there to be woken.
                    let _ = recipient.socket.shutdown(Shutdown::Both);
                }
            }
        }
    }

    /// What all members of a format get, where it is much and they are many.
    fn payload(&self, format: Format) -> Option<SharedPayload> {
        let common = self.round.common(format);
        let members = match format {
            Format::Plain => self.recipients.len() - self.json_outlets,
            Format::Json => self.json_outlets,
        };
        let is_worth_it = members >= MANY && common.len() >= MUCH;
        // Without one, it is copied for each.
        is_worth_it
            .then(|| SharedPayload::new(common).ok())
            .flatten()
    }

    fn remove(&mut self, id: MemberId) -> Option<Recipient> {
        let recipient = self.recipients.remove(&id)?;
        if recipient.format == Format::Json {
            self.json_outlets -= 1;
        }
        Some(recipient)
    }
}

/// Tells members, as long as the room is open, and the operator.
fn tell(shared: &Shared, change: &Change) {
    let said = change.to_string();
    shared.room.say(Text::new(&said));
    shared.log.post(Entry::Error(said));
}
