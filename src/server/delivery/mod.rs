//! Delivery, in rounds. Each round takes the pending queue, writes the history, and sends to every
//! member. Delivery is a role that one thread holds at a time; see [`role`].
//!
//! A batch goes to each member in one non-blocking vectored send, however many messages it
//! contains, because a send costs about the same for one line as for a thousand. A member whose
//! socket is full gets a backlog and its own writer thread until it has caught up. If a backlog
//! grows large, the next round is held back for a limited time. Otherwise a member that reads could
//! be disconnected only because many others send at once.
//!
//! Joins and leaves are debounced: they are sent together, after a pause without further events.
//! Otherwise, when a class of n joins at once, each member would be sent n lines one by one. Any
//! other event is sent at once, together with the joins and leaves that came before it.

pub(crate) mod backlog;
pub(crate) mod batch;
pub(crate) mod hold;
pub(crate) mod pacer;
pub(crate) mod recipient;
pub(crate) mod role;
pub(crate) mod sums;

use std::collections::BTreeMap;
use std::net::{Shutdown, TcpStream};
use std::ops::Range;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::net::SharedPayload;
use crate::protocol::event::{Answer, Event, MemberId, Record, Welcome};
use crate::protocol::request::Format;
use crate::protocol::text::Text;
use crate::server::Shared;
use crate::server::delivery::backlog::{
    Backlog, FAREWELL, MAX_BACKLOG, MAX_BACKLOG_OF_READER, MAX_LONG_BACKLOGS,
};
use crate::server::delivery::batch::{Batch, SendPlan};
use crate::server::delivery::hold::Allowance;
use crate::server::delivery::recipient::{DropReason, Recipient};
use crate::server::delivery::sums::Sums;
use crate::server::history::{CHECK_INTERVAL, Change, History};
use crate::server::linger::LINGER;
use crate::server::log::Entry;
use crate::server::members::ConnectionId;
use crate::server::replay::{ReplayBuffer, ReplayRange};
use crate::server::room::{Endpoint, LINE_ENTRIES, Posted};
use crate::server::thread_budget::LEAVING;
use crate::sync::Instant;
use crate::sync::thread::Scope;

/// Limit on the time for which joins and leaves are debounced. A class of thousands joins within
/// this time, so each member gets the joins in a single send.
const MAX_DEBOUNCE: Duration = Duration::from_millis(200);

/// Length of the pause without events after which debounced joins and leaves are sent. A login
/// takes less time than this, even on a busy machine, so the joins of a class that joins at once
/// are sent together.
const DEBOUNCE: Duration = Duration::from_millis(3);

/// Limit on the members that have left but whose backlog is still being sent. Beyond the limit, the
/// member that left first is disconnected. Each of these members still has a reader thread, and
/// there are only [`LEAVING`] threads for members that have left. The limit leaves half of those
/// threads to members without a backlog.
const MAX_RETIRED: usize = LEAVING / 2;

/// Limit on the bytes of a batch that are for one member each (welcomes, replays, answers). Beyond
/// the limit, they are sent before the batch is complete, to save memory.
const MAX_ADDRESSED: usize = 1024 * 1024;

/// Minimum number of recipients of one format for which a [`SharedPayload`] is worth its cost:
/// creating the payload takes about 20 µs, and saves copying the bytes for each recipient.
const SHARED_MIN_RECIPIENTS: usize = 32;

/// Minimum size of a [`SharedPayload`] in bytes. Copying fewer bytes for each recipient is cheaper.
const SHARED_MIN_BYTES: usize = 8 * 1024;

/// The members that a batch is sent to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Audience {
    All,
    /// The batch is sent only to the members for which it has bytes of their own (a welcome, a
    /// replay or an answer), and to those that have left.
    Addressed,
}

/// State of the delivery. Only the thread that holds the delivery role writes the history and sends
/// to members, except that writer threads send the backlogs.
struct Delivery<'scope, 'env> {
    shared: &'env Shared,
    scope: &'scope Scope<'scope, 'env>,
    recipients: BTreeMap<MemberId, Recipient>,
    /// Sockets of members that have left, but whose backlog a writer thread is still sending.
    retired: Vec<Weak<TcpStream>>,
    json_recipients: usize,
    replay: ReplayBuffer,
    history: Option<History>,
    /// The entries of the pending queue that this round delivers. Empty between rounds.
    taken: Vec<Posted>,
    /// Whether the last round delivered more than the result of one line. If so, more lines are
    /// likely to follow, and the delivery thread collects them while it wakes.
    was_busy: bool,
    batch: Batch,
    /// Backlogs that were large after the last rounds of sends. They delay the next round of the
    /// delivery thread.
    far_behind: Vec<Arc<Backlog>>,
    allowance: Allowance,
    /// Checksums of the events, if a launcher wants them.
    sums: Option<Sums>,
    /// Time at which debounced joins and leaves are sent at the latest.
    notices_at: Instant,
}

impl<'scope, 'env> Delivery<'scope, 'env> {
    fn new(
        shared: &'env Shared,
        scope: &'scope Scope<'scope, 'env>,
        replay: ReplayBuffer,
        history: Option<History>,
    ) -> Self {
        Self {
            shared,
            scope,
            recipients: BTreeMap::new(),
            retired: Vec::new(),
            json_recipients: 0,
            replay,
            history,
            taken: Vec::new(),
            was_busy: false,
            batch: Batch::default(),
            far_behind: Vec::new(),
            allowance: Allowance::default(),
            sums: shared.gauges.wants_proof().then(Sums::default),
            notices_at: Instant::now(),
        }
    }

    /// Delivers the whole pending queue, in a round of the delivery thread. Then waits, for a
    /// limited time, for recipients that are far behind and for busy readers.
    fn deliver_all(&mut self) {
        let replay = self.replay.size();
        let bytes = self.shared.room.take(&mut self.taken, replay);
        self.round(bytes);
        self.hold_back();
        if self.shared.pacer.end_round() {
            self.shared.pacer.gather();
        }
    }

    /// Delivers the result of one line, in a round of a reader thread. Does nothing if the room is
    /// busy, or if anything else has to be delivered or waited for, which the delivery thread must
    /// do.
    fn deliver_line(&mut self) {
        if self.was_busy || !self.batch.plain.is_empty() || !self.far_behind.is_empty() {
            return;
        }
        let replay = self.replay.size();
        if let Some(bytes) = self.shared.room.take_line(&mut self.taken, replay) {
            self.round(bytes);
            self.shared.pacer.end_round();
            #[cfg(shuttle)]
            crate::server::model::count_reader_round();
        }
    }

    /// Delivers the entries in `taken`, which contain `bytes` bytes of text.
    fn round(&mut self, bytes: usize) {
        self.allowance.earn(bytes);
        let mut taken = std::mem::take(&mut self.taken);
        let is_quiet = taken.is_empty();
        self.was_busy = taken.len() > LINE_ENTRIES;
        self.encode(taken.drain(..));
        self.taken = taken;
        self.write_history();
        // Queue the events for the log before sending them. Otherwise the log could show a
        // recipient's reaction before the event itself.
        self.shared.log.queue(&mut self.batch.records);
        let now = Instant::now();
        let notices_are_due = !self.batch.plain.is_empty() && (is_quiet || self.notices_at <= now);
        if self.batch.urgent || notices_are_due {
            self.send(Audience::All);
            self.notices_at = now + MAX_DEBOUNCE;
            self.batch.clear();
        } else {
            self.send(Audience::Addressed);
            if self.batch.plain.is_empty() {
                self.batch.clear();
            }
        }
        self.shared.log.show_queued();
    }

    /// Discards what is left of a round of a reader thread that has panicked: some members may not
    /// get its line. Such a round begins with an empty batch, so nothing else is lost.
    fn discard_round(&mut self) {
        self.taken.clear();
        self.batch = Batch::default();
        for recipient in self.recipients.values_mut() {
            recipient.plan = SendPlan::default();
        }
    }

    /// Ends the delivery after the last round.
    fn finish(&mut self) {
        self.shared.pacer.close();
        if let Some(sums) = self.sums.take() {
            self.shared.gauges.set_sums(sums);
        }
        // Some members that have left may still have a backlog. Give them a limited time to receive
        // it, then disconnect them.
        for socket in self.retired.iter().filter_map(Weak::upgrade) {
            self.shared.linger.add(socket);
        }
        let history = self.history.take();
        for change in history.map(History::close).into_iter().flatten() {
            announce(self.shared, &change);
        }
    }

    /// Delays the next round of sends, for a limited time, until no recipient of the last rounds is
    /// far behind.
    fn hold_back(&mut self) {
        let far_behind = &mut self.far_behind;
        if !far_behind.is_empty() {
            self.allowance.spend(&self.shared.hold, || {
                far_behind.retain(|backlog| backlog.is_far_behind());
                !far_behind.is_empty()
            });
            far_behind.clear();
        }
    }

    /// How long the delivery thread may sleep, so that it is in time to send debounced joins and
    /// leaves and to check the history file.
    fn patience(&self) -> Duration {
        if !self.batch.plain.is_empty() {
            self.notices_at
                .saturating_duration_since(Instant::now())
                .min(DEBOUNCE)
        } else if self.history.is_some() {
            CHECK_INTERVAL
        } else {
            Duration::MAX
        }
    }

    fn encode(&mut self, taken: impl Iterator<Item = Posted>) {
        for posted in taken {
            match posted {
                Posted::Event(record) => self.encode_event(record),
                Posted::Join {
                    record,
                    welcome,
                    replay,
                    connection,
                    endpoint,
                } => {
                    let replaced = self.close_superseded(connection);
                    let Endpoint {
                        socket,
                        format,
                        greeting,
                    } = endpoint;
                    let recipient = Recipient {
                        connection,
                        socket,
                        format,
                        name: welcome.name.clone(),
                        plan: SendPlan::default(),
                        backlog: None,
                        replaced,
                    };
                    self.encode_join(greeting, record, *welcome, replay, recipient);
                    // To save memory, do not collect the replays of all newcomers: if a class joins
                    // at once, each of its members may get a long replay.
                    if self.batch.addressed.len() > MAX_ADDRESSED {
                        self.send_addressed();
                    }
                }
                Posted::Answer(id, answer) => {
                    // The member may have been disconnected while an earlier batch was sent. Then
                    // it gets no answer.
                    let Some(recipient) = self.recipients.get_mut(&id) else {
                        continue;
                    };
                    let addressed = self.batch.write_addressed(recipient.format, &answer);
                    let at = self.batch.common(recipient.format).len();
                    if let Answer::Online { .. } = *answer {
                        recipient.plan.exempt += addressed.len();
                    }
                    recipient.plan.insert(at, addressed);
                }
                Posted::Telnet(id, bytes) => {
                    if let Some(recipient) = self.recipients.get_mut(&id) {
                        let begin = self.batch.addressed.len();
                        self.batch.addressed.extend(bytes);
                        let at = self.batch.common(recipient.format).len();
                        let end = self.batch.addressed.len();
                        recipient.plan.insert(at, begin..end);
                    }
                }
            }
        }
    }

    /// Sends what the batch has for single members (welcomes, replays, answers) before the batch is
    /// complete. First passes the events of the batch to the history and the log.
    fn send_addressed(&mut self) {
        self.write_history();
        self.shared.log.queue(&mut self.batch.records);
        self.send(Audience::Addressed);
    }

    /// Closes the previous connection of a member that resumes, after sending what the batch has
    /// for this member alone, such as answers. No event is lost, because the replay on the new
    /// connection starts after the sequence number that the client gave. Returns the closed
    /// connection, which lingers. If the member's connection before that one still lingers,
    /// resets it, so that a client that resumes again and again keeps few connections open.
    fn close_superseded(&mut self, connection: ConnectionId) -> Weak<TcpStream> {
        if self.recipients.contains_key(&connection.member) {
            self.send_addressed();
        }
        let Some(recipient) = self.remove(connection.member) else {
            return Weak::new();
        };
        if let Some(earlier) = recipient.replaced.upgrade() {
            self.shared.linger.reset(&earlier);
        }
        let replaced = Arc::downgrade(&recipient.socket);
        let reason = "you came back on another connection";
        recipient.cut(reason, LINGER, self.shared);
        replaced
    }

    fn encode_event(&mut self, record: Arc<Record>) {
        let (plain, json) = self.write_common(&record);
        match &record.event {
            Event::Message { id, .. } => {
                self.batch.urgent = true;
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
                self.batch.urgent = true;
                if let Some(recipient) = self.recipients.get_mut(id) {
                    recipient.name = to.clone();
                }
            }
            Event::Server { .. } => self.batch.urgent = true,
            Event::Shutdown => {
                self.batch.urgent = true;
                self.batch.closes = true;
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
        range: ReplayRange,
        mut recipient: Recipient,
    ) {
        let format = recipient.format;
        if format == Format::Json {
            self.json_recipients += 1;
        }
        welcome.missing = self.replay.missing(range);
        let begin = self.batch.addressed.len();
        if let Some(greeting) = greeting {
            self.batch
                .write_addressed(Format::Plain, &Answer::Notice(greeting));
        }
        let mut addressed = self
            .batch
            .write_addressed(format, &Answer::Welcome(welcome));
        addressed.start = begin;
        if !self.shared.room.is_superseded(recipient.connection) {
            self.replay.write(range, format, &mut self.batch.addressed);
        }
        addressed.end = self.batch.addressed.len();
        // The member gets all events after this position of the batch. For a JSON client, they
        // include its own join; for a plain client, they do not.
        let live = match &record {
            None => self.batch.common(format).len(),
            Some(record) => {
                let (plain, json) = self.write_common(record);
                match format {
                    Format::Plain => plain.end,
                    Format::Json => json.start,
                }
            }
        };
        recipient.plan = SendPlan::messages(addressed, live);
        self.recipients
            .insert(recipient.connection.member, recipient);
        if let Some(record) = record {
            self.finish_event(record);
        }
    }

    /// Encodes an event for all members. Encodes JSON only if a JSON client or the history needs
    /// it.
    fn write_common(&mut self, record: &Record) -> (Range<usize>, Range<usize>) {
        let with_json = self.history.is_some() || self.json_recipients > 0;
        self.batch.write_common(record, with_json)
    }

    fn finish_event(&mut self, record: Arc<Record>) {
        if let Some(sums) = &mut self.sums {
            sums.add(&record);
        }
        self.replay.push(Arc::clone(&record));
        self.batch.records.push(record);
    }

    /// Appends new events to the history. Called before the events are sent, so that every event
    /// that a member has seen is in the file, unless the file cannot be written.
    fn write_history(&mut self) {
        let Some(history) = &mut self.history else {
            return;
        };
        let events = self.batch.records.len();
        if events > 0 {
            let lines = &self.batch.json[self.batch.written..];
            self.batch.written = self.batch.json.len();
            history.append(lines, events as u64);
        }
        for change in history.check() {
            announce(self.shared, &change);
        }
    }

    /// Sends the batch to the given recipients.
    fn send(&mut self, audience: Audience) {
        let mut parts = Vec::new();
        let mut ended = Vec::new();
        let to_all = audience == Audience::All;
        let payloads = if to_all {
            [self.payload(Format::Plain), self.payload(Format::Json)]
        } else {
            [None, None]
        };
        let (mut sends, mut long_backlogs) = (0, 0);
        for (id, recipient) in &mut self.recipients {
            if !to_all && !recipient.plan.has_addressed() {
                continue;
            }
            let plan = std::mem::take(&mut recipient.plan);
            parts.clear();
            self.batch.parts(&plan, recipient.format, &mut parts);
            if !to_all {
                recipient.plan.cursor = self.batch.common(recipient.format).len();
            }
            let [plain, json] = &payloads;
            let payload = match recipient.format {
                Format::Plain => plain,
                Format::Json => json,
            };
            let rest = self.batch.common(recipient.format).len() - plan.cursor;
            let payload = payload.as_ref().map(|payload| (payload, plan.cursor));
            let payload = payload.filter(|_| plan.is_common_only() && rest >= SHARED_MIN_BYTES);
            let max_backlog = if long_backlogs < MAX_LONG_BACKLOGS {
                MAX_BACKLOG_OF_READER
            } else {
                MAX_BACKLOG
            };
            let sent = recipient.send(
                &mut parts,
                payload,
                plan.exempt,
                max_backlog,
                self.shared,
                self.scope,
            );
            sends += 1;
            if plan.ends || self.batch.closes || sent.is_err() {
                ended.push((*id, sent));
            } else if let Some(backlog) = &recipient.backlog
                && backlog.is_far_behind()
            {
                long_backlogs += usize::from(backlog.len() > MAX_BACKLOG);
                self.far_behind.push(Arc::clone(backlog));
            }
        }
        self.shared.gauges.count_sends(sends);
        if to_all {
            self.shared.gauges.count_round(self.batch.events, sends);
        }
        self.batch.addressed.clear();
        for (id, sent) in ended {
            let Some(recipient) = self.remove(id) else {
                continue;
            };
            match sent {
                Ok(()) => {
                    if let Some(socket) = recipient.close(self.shared) {
                        self.retired.retain(|socket| socket.strong_count() > 0);
                        self.retired.push(Arc::downgrade(&socket));
                        if self.retired.len() > MAX_RETIRED
                            && let Some(oldest) = self.retired.remove(0).upgrade()
                        {
                            self.shared.linger.reset(&oldest);
                        }
                    }
                }
                Err(DropReason::TooSlow) => {
                    self.shared
                        .room
                        .leave(recipient.connection, Some("too slow"));
                    let reason =
                        "you were cut: your connection takes messages too slowly; join again";
                    recipient.cut(reason, FAREWELL, self.shared);
                }
                Err(DropReason::Torn) => {
                    self.shared
                        .room
                        .leave(recipient.connection, Some("too slow"));
                    recipient.close(self.shared);
                }
                Err(DropReason::Lost) => {
                    self.shared
                        .room
                        .leave(recipient.connection, Some("connection lost"));
                    // Wake the member's reader thread. An error means that the thread has ended
                    // already.
                    let _ = recipient.socket.shutdown(Shutdown::Both);
                }
            }
        }
    }

    /// Returns the common bytes of a format as a shared payload, if that is cheaper than copying
    /// them for each recipient.
    fn payload(&self, format: Format) -> Option<SharedPayload> {
        let common = self.batch.common(format);
        let members = match format {
            Format::Plain => self.recipients.len() - self.json_recipients,
            Format::Json => self.json_recipients,
        };
        let is_worth_it = members >= SHARED_MIN_RECIPIENTS && common.len() >= SHARED_MIN_BYTES;
        // If the payload cannot be created, the bytes are copied for each recipient.
        is_worth_it
            .then(|| SharedPayload::new(common).ok())
            .flatten()
    }

    fn remove(&mut self, id: MemberId) -> Option<Recipient> {
        let recipient = self.recipients.remove(&id)?;
        if recipient.format == Format::Json {
            self.json_recipients -= 1;
        }
        Some(recipient)
    }
}

/// Tells the members and the operator about a change in the history's state.
fn announce(shared: &Shared, change: &Change) {
    let said = change.to_string();
    shared.room.say(Text::new(&said));
    shared.log.post(Entry::Error(said));
}
