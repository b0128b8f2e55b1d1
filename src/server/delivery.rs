//! The delivery thread: takes what is pending, writes the history, and sends to every member.
//!
//! One round sends to each member with one vectored send that does not wait, whatever the number of messages in
//! it: a send costs about the same for one line as for a thousand. A member whose socket is full gets a backlog
//! and a writer thread of its own until it has caught up, so nobody waits for it.
//!
//! Comings and goings may wait a moment for more of them: when a class joins at once, each of n members would otherwise
//! be sent n lines one by one. They wait for nothing else: what is said next takes them along, in order.

use std::collections::BTreeMap;
use std::io::{ErrorKind, IoSlice};
use std::net::{Shutdown, TcpStream};
use std::ops::Range;
use std::sync::{Arc, Weak};
use std::thread::{Builder, Scope};
use std::time::{Duration, Instant};

use super::Shared;
use super::backlog::{Append, Backlog, Written};
use super::history::{Change, History};
use super::log::Entry;
use super::past::Past;
use super::room::Posted;
use crate::os;
use crate::protocol::event::{Answer, Event, MemberId, Record, Welcome, write_plain};
use crate::protocol::request::Format;
use crate::protocol::text::Text;

/// How often a history that cannot be written is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Least time between two rounds that bring members nothing but comings and goings.
const HOLD: Duration = Duration::from_millis(50);

/// Stack of a writer thread, in bytes: it calls nothing deep.
const WRITER_STACK: usize = 64 * 1024;

/// What the delivery thread owns: nobody else sends to members, or writes the history.
pub(super) struct Delivery<'scope, 'env> {
    shared: &'env Shared,
    scope: &'scope Scope<'scope, 'env>,
    outlets: BTreeMap<MemberId, Outlet>,
    /// Members that have left, and to which a writer thread still sends what came before.
    retired: Vec<Weak<TcpStream>>,
    json_outlets: usize,
    past: Past,
    history: Option<History>,
    round: Round,
    /// When comings and goings may be sent.
    notices_at: Instant,
}

/// One member, as the delivery thread sees it.
struct Outlet {
    socket: Arc<TcpStream>,
    format: Format,
    name: Text,
    script: Script,
    /// What it has not taken yet, where its socket was full.
    backlog: Option<Arc<Backlog>>,
}

/// What happened since the last round, encoded once for each format.
#[derive(Default)]
struct Round {
    plain: Vec<u8>,
    json: Vec<u8>,
    /// What single members get.
    own: Vec<u8>,
    /// How much of `json` the history has.
    written: usize,
    /// What all get, as it came, for the log.
    records: Vec<Arc<Record>>,
    /// There is something that does not wait for more.
    urgent: bool,
    /// The room was closed: everybody's connection ends with this round.
    closes: bool,
}

/// What one member gets in a round, in order: these pieces, then all that all get from the cursor on.
#[derive(Default)]
struct Script {
    pieces: Vec<Piece>,
    /// Where, in what all get, this member's next piece begins; what is before is sent, in a piece, or not for it.
    cursor: usize,
    /// Bytes that do not count as being behind.
    exempt: usize,
    /// The member has left: nothing follows.
    ends: bool,
}

enum Piece {
    /// Of what all get.
    Common(Range<usize>),
    /// Of what single members get.
    Own(Range<usize>),
}

/// Why a member's connection ends in the middle of a round.
enum Cut {
    TooSlow,
    Lost,
}

impl Script {
    /// Whether there is something for this member alone, or it waits for the end.
    fn is_begun(&self) -> bool {
        !self.pieces.is_empty() || self.ends
    }

    /// Everything up to `at` of what all get.
    fn advance(&mut self, at: usize) {
        if self.cursor < at && !self.ends {
            self.pieces.push(Piece::Common(self.cursor..at));
        }
        self.cursor = at;
    }

    /// After everything up to `at`, bytes for this member alone.
    fn insert(&mut self, at: usize, own: Range<usize>) {
        self.advance(at);
        if !self.ends {
            self.pieces.push(Piece::Own(own));
        }
    }

    /// Everything up to `range`, and not `range`.
    fn skip(&mut self, range: Range<usize>) {
        self.advance(range.start);
        self.cursor = range.end;
    }

    /// Everything up to `at`, and nothing more.
    fn end(&mut self, at: usize) {
        self.advance(at);
        self.ends = true;
    }
}

impl Round {
    fn clear(&mut self) {
        for buffer in [&mut self.plain, &mut self.json, &mut self.own] {
            buffer.clear();
            // A long past, or a class that comes at once, may have made it large.
            buffer.shrink_to(256 * 1024);
        }
        self.written = 0;
        self.urgent = false;
    }

    /// What all members of a format get.
    fn common(&self, format: Format) -> &[u8] {
        match format {
            Format::Plain => &self.plain,
            Format::Json => &self.json,
        }
    }

    /// Writes something for one member.
    fn write_own(&mut self, format: Format, answer: &Answer) -> Range<usize> {
        let start = self.own.len();
        write_answer(format, answer, &mut self.own);
        start..self.own.len()
    }
}

pub(super) fn write_answer(format: Format, answer: &Answer, out: &mut Vec<u8>) {
    match format {
        Format::Plain => write_plain(answer, out),
        Format::Json => answer.write_json(out),
    }
}

impl<'scope, 'env> Delivery<'scope, 'env> {
    pub(super) fn new(
        shared: &'env Shared,
        scope: &'scope Scope<'scope, 'env>,
        past: Past,
        history: Option<History>,
    ) -> Self {
        Self {
            shared,
            scope,
            outlets: BTreeMap::new(),
            retired: Vec::new(),
            json_outlets: 0,
            past,
            history,
            round: Round::default(),
            notices_at: Instant::now(),
        }
    }

    /// The body of the thread `deliver`: returns when the room is closed and all is sent.
    pub(super) fn run(mut self) {
        let mut batch = Vec::new();
        while !self.round.closes {
            self.shared.room.take(&mut batch, self.patience());
            self.encode(batch.drain(..));
            self.write_history();
            // Before anyone acts upon it, so that the log has the order in which it happened.
            self.shared.log.queue(&mut self.round.records);
            let now = Instant::now();
            let notices_are_due = !self.round.plain.is_empty() && self.notices_at <= now;
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
        }
        // There is no more time for those that are behind.
        for socket in self.retired.iter().filter_map(Weak::upgrade) {
            self.shared.linger.add(socket);
        }
        if let Some(Err(error)) = self.history.map(History::close) {
            self.shared.log.post(Entry::Error(format!(
                "the history is not safe on the disk: {error}"
            )));
        }
    }

    /// How long to wait for more, where there is something to do without it.
    fn patience(&self) -> Duration {
        if !self.round.plain.is_empty() {
            self.notices_at.saturating_duration_since(Instant::now())
        } else if self.history.as_ref().is_some_and(History::is_waiting) {
            RETRY
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
                    socket,
                    format,
                } => {
                    self.encode_join(record, *welcome, socket, format);
                }
                Posted::Answer(id, answer) => {
                    // A member that was cut in an earlier round gets no answers.
                    let Some(outlet) = self.outlets.get_mut(&id) else {
                        continue;
                    };
                    let own = self.round.write_own(outlet.format, &answer);
                    let at = self.round.common(outlet.format).len();
                    if let Answer::Online { .. } = *answer {
                        outlet.script.exempt += own.len();
                    }
                    outlet.script.insert(at, own);
                }
            }
        }
    }

    fn encode_event(&mut self, record: Arc<Record>) {
        let (plain, json) = self.write_common(&record);
        match &record.event {
            Event::Message { id, .. } => {
                self.round.urgent = true;
                if let Some(outlet) = self.outlets.get_mut(id)
                    && outlet.format == Format::Plain
                {
                    outlet.script.skip(plain);
                }
            }
            Event::Left { id, .. } => {
                if let Some(outlet) = self.outlets.get_mut(id) {
                    let at = match outlet.format {
                        Format::Plain => plain.start,
                        Format::Json => json.start,
                    };
                    outlet.script.end(at);
                }
            }
            Event::Renamed { id, to, .. } => {
                self.round.urgent = true;
                if let Some(outlet) = self.outlets.get_mut(id) {
                    outlet.name = to.clone();
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
        record: Arc<Record>,
        welcome: Welcome,
        socket: Arc<TcpStream>,
        format: Format,
    ) {
        if format == Format::Json {
            self.json_outlets += 1;
        }
        let (id, name) = (welcome.id, welcome.name.clone());
        let mut own = self.round.write_own(format, &Answer::Welcome(welcome));
        self.past.write(format, &mut self.round.own);
        own.end = self.round.own.len();
        let (plain, json) = self.write_common(&record);
        let mut script = Script {
            exempt: own.len(),
            ..Script::default()
        };
        script.pieces.push(Piece::Own(own));
        // Live begins where the past ends: a plain client does not get its own joining, a JSON client does.
        script.cursor = match format {
            Format::Plain => plain.end,
            Format::Json => json.start,
        };
        self.outlets.insert(
            id,
            Outlet {
                socket,
                format,
                name,
                script,
                backlog: None,
            },
        );
        self.finish_event(record);
    }

    /// Encodes an event for all members; JSON only where somebody gets it.
    fn write_common(&mut self, record: &Record) -> (Range<usize>, Range<usize>) {
        let Round { plain, json, .. } = &mut self.round;
        let (plain_start, json_start) = (plain.len(), json.len());
        write_plain(&record.event, plain);
        if self.history.is_some() || self.json_outlets > 0 {
            record.write_json(false, json);
        }
        (plain_start..plain.len(), json_start..json.len())
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
        let change = match self.round.records.len() {
            0 if history.is_waiting() => history.retry(),
            0 => None,
            events => {
                let lines = &self.round.json[self.round.written..];
                self.round.written = self.round.json.len();
                history.append(lines, events as u64)
            }
        };
        let Some(change) = change else { return };
        let said = match change {
            Change::Failed(error) => {
                format!("the history cannot be written: {error}; the chat goes on without it")
            }
            Change::Recovered => "the history is written again".into(),
        };
        self.shared.room.say(Text::new(&said));
        self.shared.log.post(Entry::Error(said));
    }

    /// Sends to all members, or to those for whom there is something special, what has happened in this round.
    fn send(&mut self, to_all: bool) {
        let mut parts = Vec::new();
        let mut ended = Vec::new();
        for (id, outlet) in &mut self.outlets {
            if !to_all && !outlet.script.is_begun() {
                continue;
            }
            let common = self.round.common(outlet.format);
            let script = std::mem::take(&mut outlet.script);
            outlet.script.cursor = if to_all { 0 } else { common.len() };
            parts.clear();
            parts.extend(script.pieces.into_iter().map(|piece| {
                IoSlice::new(match piece {
                    Piece::Common(range) => &common[range],
                    Piece::Own(range) => &self.round.own[range],
                })
            }));
            if !script.ends {
                parts.push(IoSlice::new(&common[script.cursor..]));
            }
            let sent = outlet.send(*id, &mut parts, script.exempt, self.shared, self.scope);
            if script.ends || self.round.closes || sent.is_err() {
                ended.push((*id, sent));
            }
        }
        for (id, sent) in ended {
            // It was there a moment ago.
            let Some(outlet) = self.outlets.remove(&id) else {
                continue;
            };
            if outlet.format == Format::Json {
                self.json_outlets -= 1;
            }
            match sent {
                Ok(()) => {
                    if let Some(socket) = outlet.close(self.shared) {
                        self.retired.retain(|socket| socket.strong_count() > 0);
                        self.retired.push(Arc::downgrade(&socket));
                    }
                }
                Err(Cut::TooSlow) => {
                    self.shared.room.leave(id, Some("too slow"));
                    outlet.cut(self.shared);
                }
                Err(Cut::Lost) => {
                    self.shared.room.leave(id, Some("connection lost"));
                    // Wakes its thread; where that fails, nobody is there to be woken.
                    let _ = outlet.socket.shutdown(Shutdown::Both);
                }
            }
        }
    }
}

impl Outlet {
    fn send<'scope, 'env>(
        &mut self,
        id: MemberId,
        parts: &mut Vec<IoSlice<'_>>,
        exempt: usize,
        shared: &'env Shared,
        scope: &'scope Scope<'scope, 'env>,
    ) -> Result<(), Cut> {
        parts.retain(|part| !part.is_empty());
        if let Some(backlog) = &self.backlog {
            match backlog.append(parts, exempt) {
                Append::Taken => return Ok(()),
                Append::CaughtUp => self.backlog = None,
                Append::TooFar => return Err(Cut::TooSlow),
            }
        }
        let mut rest = parts.as_mut_slice();
        while !rest.is_empty() {
            match os::send_now(&self.socket, rest) {
                Ok(sent) => IoSlice::advance_slices(&mut rest, sent),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return self.fall_behind(id, rest, exempt, shared, scope);
                }
                Err(_) => return Err(Cut::Lost),
            }
        }
        Ok(())
    }

    /// The socket is full: the rest goes to a thread of its own.
    fn fall_behind<'scope, 'env>(
        &mut self,
        id: MemberId,
        rest: &[IoSlice<'_>],
        exempt: usize,
        shared: &'env Shared,
        scope: &'scope Scope<'scope, 'env>,
    ) -> Result<(), Cut> {
        let backlog = Arc::new(Backlog::new(rest, exempt));
        let (queue, socket) = (Arc::clone(&backlog), Arc::clone(&self.socket));
        let write = move || match queue.write(&socket) {
            Written::CaughtUp => {}
            Written::Closed => finish(socket, shared),
            Written::Stalled => {
                shared.room.leave(id, Some("too slow"));
                let _ = socket.shutdown(Shutdown::Both);
            }
            Written::Lost => {
                shared.room.leave(id, Some("connection lost"));
                let _ = socket.shutdown(Shutdown::Both);
            }
        };
        let builder = Builder::new().name(os::thread_name("w:", self.name.as_str()));
        match builder.stack_size(WRITER_STACK).spawn_scoped(scope, write) {
            Ok(_) => {
                self.backlog = Some(backlog);
                Ok(())
            }
            // There is no thread to be had.
            Err(_) => Err(Cut::TooSlow),
        }
    }

    /// Ends the connection once all is sent; gives the socket where a writer thread has to do that.
    fn close(self, shared: &Shared) -> Option<Arc<TcpStream>> {
        match &self.backlog {
            Some(backlog) if backlog.close() => Some(self.socket),
            Some(_) | None => {
                finish(self.socket, shared);
                None
            }
        }
    }

    /// Ends the connection of a member that is too far behind, after the line that is half sent.
    fn cut(self, shared: &Shared) {
        let mut reason = Vec::new();
        let text = Text::new("you were cut: your connection takes messages too slowly; join again");
        write_answer(self.format, &Answer::Error(text), &mut reason);
        match &self.backlog {
            Some(backlog) if backlog.cut(&reason) => shared.linger.add(self.socket),
            Some(_) | None => finish(self.socket, shared),
        }
    }
}

/// Everything is sent: the peer reads it, closes, and its thread ends.
fn finish(socket: Arc<TcpStream>, shared: &Shared) {
    // Where it fails, the peer has closed.
    let _ = socket.shutdown(Shutdown::Write);
    shared.linger.add(socket);
}
