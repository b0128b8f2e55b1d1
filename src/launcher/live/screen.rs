//! Formats a snapshot as rows of text: for the server's pane, and for the log.
//!
//! A short event must not look like a long one, so the holder of a lock is named only if it has
//! held the lock for [`MIN_NAMED`]. Shorter holds are summarized: their share of the last second,
//! and the longest one since the first sample. If the server does not answer, its values are
//! dimmed, and their age is shown.

use std::time::{Duration, Instant};

use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use crate::launcher::live::snapshot::{LiveClient, MemberConnection, Snapshot};
use crate::os;
use crate::probe::deadlock::Deadlock;
use crate::probe::kernel::{Activity, ThreadSample};
use crate::probe::sample::{BacklogSample, LockSample, LockState, Sample};
use crate::tty::{style, wrap};

/// Minimum time that a thread must have held a lock, or waited for one, to be named.
const MIN_NAMED: Duration = Duration::from_millis(100);

/// Age beyond which the values from the server are dimmed.
const MAX_AGE: Duration = Duration::from_secs(1);

/// Width in columns of the labels at the start of rows.
const LABEL: usize = 9;

/// Minimum width of the view, in terminal columns, at which the threads are listed in two columns
/// and the labels are padded to [`LABEL`].
const TWO_COLUMNS: usize = 72;

/// Minimum number of bytes in the kernel for a connection to be listed. The connection of a frozen
/// client is always listed.
const MIN_IN_KERNEL: u64 = 1024;

/// Limit on the number of listed backlogs, and also on the number of listed connections.
const MAX_LISTED: usize = 4;

/// Width in columns of a processor time, such as `0.80 ms`.
const CPU: usize = 7;

/// Minimum height of a table of threads that has a row of headings.
const MIN_WITH_HEADINGS: usize = 6;

/// Heading of the column with the names of the threads.
const THREAD: &str = "thread";

/// Number of characters in the bar of a backlog.
const BAR: usize = 8;

/// A phrase in a row, and its style.
struct Phrase(String, Style);

/// Style of what needs attention: a wait for a lock or a peer, or a frozen client.
const ALERT: Style = Style::new().fg(Color::Yellow).add_modifier(Modifier::BOLD);

const PLAIN: Style = Style::new();
const DIM: Style = Style::new().add_modifier(Modifier::DIM);
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);

fn phrase(text: impl Into<String>) -> Phrase {
    Phrase(text.into(), PLAIN)
}

fn alert(text: impl Into<String>) -> Phrase {
    Phrase(text.into(), ALERT)
}

/// Formats `snapshot` as at most `height` rows of at most `width` columns. The age of a value is
/// the time from its arrival until `now`.
pub(crate) fn rows(
    snapshot: &Snapshot,
    now: Instant,
    width: usize,
    height: usize,
) -> Vec<Line<'static>> {
    let mut rows = server_rows(snapshot, now, width);
    rows.extend(kernel_rows(snapshot, now, width));
    if rows.len() > height {
        rows.truncate(height.saturating_sub(1));
        rows.push(Line::styled("… F2 shows the rest", DIM));
        rows.truncate(height);
        return rows;
    }
    let space = height - rows.len();
    rows.extend(thread_rows(snapshot, now, width, space));
    rows
}

/// The rows with values from the server.
fn server_rows(snapshot: &Snapshot, now: Instant, width: usize) -> Vec<Line<'static>> {
    let Some((sample, arrived)) = &snapshot.sample else {
        return section(
            "LOCKS",
            vec![phrase("no answer from the server yet")],
            width,
        );
    };
    let mut rows = Vec::new();
    let age = now.saturating_duration_since(*arrived);
    if age > MAX_AGE {
        let text = format!("no answer for {}: the dim values are old", in_words(age));
        rows.extend(section("SERVER", vec![alert(text)], width));
    }
    let mut values = Vec::new();
    if let Some(ring) = snapshot
        .last_sample
        .as_ref()
        .and_then(|last| Deadlock::find(last, sample))
    {
        values.extend(section("DEADLOCK", deadlock(&ring, snapshot), width));
    }
    let before = snapshot.sample_before.as_ref();
    for lock in &sample.locks {
        let old = before.and_then(|sample| sample.locks.iter().find(|old| old.name == lock.name));
        // Show locks other than the room's only if a thread holds or awaits one for long.
        if lock.name == "room" || is_notable(lock) {
            let elapsed = before.map_or(0, |before| sample.at.saturating_sub(before.at));
            let label = format!("LOCK {}", lock.name);
            values.extend(section(
                &label,
                lock_phrases(lock, old, elapsed, snapshot),
                width,
            ));
        }
    }
    values.extend(section("PENDING", pending(sample, before), width));
    for backlog in sample.backlogs.iter().take(MAX_LISTED) {
        values.extend(section("BEHIND", backlog_phrases(backlog), width));
    }
    let more = sample
        .behind
        .saturating_sub(sample.backlogs.len().min(MAX_LISTED));
    if more > 0 {
        values.extend(section(
            "BEHIND",
            vec![phrase(format!("{more} more"))],
            width,
        ));
    }
    if age > MAX_AGE {
        for line in &mut values {
            for span in &mut line.spans {
                span.style = DIM;
            }
        }
    }
    rows.extend(values);
    rows
}

fn is_notable(lock: &LockSample) -> bool {
    let is_held = match lock.state {
        LockState::Held { nanoseconds, .. } => is_long(nanoseconds),
        LockState::Free | LockState::Busy => false,
    };
    is_held
        || lock
            .waiters
            .iter()
            .any(|waiter| is_long(waiter.nanoseconds))
}

fn is_long(nanoseconds: u64) -> bool {
    Duration::from_nanos(nanoseconds) >= MIN_NAMED
}

fn lock_phrases(
    lock: &LockSample,
    before: Option<&LockSample>,
    elapsed: u64,
    snapshot: &Snapshot,
) -> Vec<Phrase> {
    let mut phrases = Vec::new();
    let held = before.map_or(0, |before| lock.held.saturating_sub(before.held));
    let share = if elapsed == 0 {
        0.0
    } else {
        held as f64 / elapsed as f64
    };
    match lock.state {
        LockState::Held {
            thread,
            line,
            nanoseconds,
        } if is_long(nanoseconds) => {
            let (name, place) = (snapshot.thread_name(thread), place(lock, line));
            let time = for_ns(nanoseconds);
            phrases.push(alert(format!("HELD {time} by {name} at {place}")));
        }
        LockState::Held { .. } | LockState::Free | LockState::Busy => {
            phrases.push(phrase(if share < 0.5 { "free" } else { "busy" }));
            phrases.push(phrase(format!("held {}", percent(share))));
            phrases.push(phrase(format!("longest {}", for_ns(lock.longest))));
        }
    }
    let waits = lock
        .waiters
        .iter()
        .filter(|waiter| is_long(waiter.nanoseconds));
    let longest = waits.clone().map(|waiter| waiter.nanoseconds).max();
    if let Some(longest) = longest {
        let count = usize::try_from(lock.waiting)
            .unwrap_or(0)
            .max(waits.count());
        let verb = if count == 1 { "WAITS" } else { "WAIT" };
        phrases.push(alert(format!(
            "{count} {verb}, longest {}",
            for_ns(longest)
        )));
    }
    if longest.is_none() && lock.contended > 0 {
        phrases.push(phrase(style::counted(lock.contended, "wait")));
        phrases.push(phrase(format!("longest {}", for_ns(lock.longest_wait))));
    }
    phrases
}

/// Formats the source line at which a thread took a lock, such as `room.rs:41`.
fn place(lock: &LockSample, line: u32) -> String {
    let file = lock.file.as_deref().unwrap_or("line");
    let file = file.rsplit('/').next().unwrap_or(file);
    format!("{file}:{line}")
}

fn deadlock(Deadlock(ring): &Deadlock, snapshot: &Snapshot) -> Vec<Phrase> {
    let link = |link: &crate::probe::deadlock::Link| {
        let name = |tid| snapshot.thread_name(tid);
        let (waiter, holder) = (name(link.thread), name(link.holder));
        alert(format!(
            "{waiter} waits for {}, held by {holder}",
            link.lock
        ))
    };
    ring.iter().map(link).collect()
}

fn pending(sample: &Sample, before: Option<&Sample>) -> Vec<Phrase> {
    let pending = &sample.pending;
    let mut phrases = vec![phrase(pending.entries.to_string())];
    if pending.bytes >= pending.limit / 2 && pending.limit > 0 {
        // Senders wait when the limit is reached.
        let (bytes, limit) = (
            in_bytes(pending.bytes as u64),
            in_bytes(pending.limit as u64),
        );
        phrases.push(alert(format!("{bytes} of {limit}")));
    }
    let delivery = &sample.delivery;
    if delivery.rounds > 0 {
        let (events, members) = (delivery.last_events, delivery.last_recipients);
        phrases.push(phrase(format!("last batch {events} to {members}")));
    }
    if let Some(before) = before {
        let seconds = Duration::from_nanos(sample.at.saturating_sub(before.at)).as_secs_f64();
        let delivered = delivery
            .deliveries
            .saturating_sub(before.delivery.deliveries);
        if seconds > 0.0 {
            let rate = (delivered as f64 / seconds).round() as u64;
            phrases.push(phrase(format!("{rate} deliveries/s")));
        }
    }
    if let Some(bytes) = sample.send_buffer {
        phrases.push(alert(format!("small buffers ({})", in_bytes(bytes as u64))));
    }
    phrases
}

fn backlog_phrases(backlog: &BacklogSample) -> Vec<Phrase> {
    // Round up, so that the bar of a backlog is never empty.
    let filled = (backlog.bytes * BAR)
        .div_ceil(backlog.limit.max(1))
        .min(BAR);
    let bar = format!("{}{}", "#".repeat(filled), ".".repeat(BAR - filled));
    let bytes = in_bytes(backlog.bytes as u64);
    let limit = in_bytes(backlog.limit as u64);
    let mut phrases = vec![alert(format!(
        "{} [{bar}] {bytes} of {limit}",
        backlog.name
    ))];
    if backlog.closing {
        phrases.push(phrase("leaving"));
    } else if is_long(backlog.stalled) {
        let left = backlog.max_stall.saturating_sub(backlog.stalled);
        phrases.push(alert(format!("cut in {}", for_ns(left))));
    } else {
        phrases.push(phrase("sending"));
    }
    phrases
}

/// The rows about the bytes in the kernel's socket buffers.
fn kernel_rows(snapshot: &Snapshot, now: Instant, width: usize) -> Vec<Line<'static>> {
    let client = |member: &MemberConnection| -> Option<&LiveClient> {
        let mut clients = snapshot.clients.iter();
        clients.find(|client| client.name == member.name)
    };
    let is_frozen = |client: &LiveClient| client.frozen_at.is_some();
    let bytes = |member: &MemberConnection| {
        member.connection.unsent + member.connection.unread.unwrap_or(0)
    };
    let mut listed: Vec<&MemberConnection> = snapshot
        .connections
        .iter()
        .filter(|member| bytes(member) >= MIN_IN_KERNEL || client(member).is_some_and(is_frozen))
        .collect();
    listed.sort_by_key(|member| std::cmp::Reverse(bytes(member)));
    let mut rows = Vec::new();
    for member in listed.iter().take(MAX_LISTED) {
        let mut phrases = Vec::new();
        match client(member).and_then(|client| client.frozen_at) {
            Some(at) => {
                let time = in_words(now.saturating_duration_since(at));
                phrases.push(alert(format!("{} FROZEN {time}", member.name)));
            }
            None => phrases.push(phrase(member.name.clone())),
        }
        if let Some(unread) = member.connection.unread {
            phrases.push(phrase(format!("{} unread", in_bytes(unread))));
        }
        let unsent = in_bytes(member.connection.unsent);
        phrases.push(phrase(format!("{unsent} unsent")));
        rows.extend(section("KERNEL", phrases, width));
    }
    // A frozen client that the server has disconnected has no connection in the list.
    for client in snapshot.clients.iter().filter(|client| is_frozen(client)) {
        if !listed.iter().any(|member| member.name == client.name) {
            let phrases = vec![
                alert(format!("{} FROZEN", client.name)),
                phrase("no longer connected"),
            ];
            rows.extend(section("KERNEL", phrases, width));
        }
    }
    if listed.len() > MAX_LISTED {
        let more = format!("{} more", listed.len() - MAX_LISTED);
        rows.extend(section("KERNEL", vec![phrase(more)], width));
    }
    rows
}

/// A thread in the table: its name, activity and processor time.
struct Cell {
    name: String,
    activity: Phrase,
    cpu: String,
    /// Whether the thread is listed before the others if there is too little space.
    is_notable: bool,
}

/// The table of threads, in at most `height` rows.
fn thread_rows(
    snapshot: &Snapshot,
    now: Instant,
    width: usize,
    height: usize,
) -> Vec<Line<'static>> {
    let Some(threads) = &snapshot.threads else {
        return vec![Line::styled("threads: shown only on Linux", DIM)];
    };
    let mut cells: Vec<Cell> = threads
        .threads
        .iter()
        .map(|each| cell(each, snapshot, now))
        .collect();
    let mut rows = Vec::new();
    let mut space = height;
    if !threads.has_system_calls && space > 0 {
        let note = "the system calls of the threads cannot be read here";
        rows.push(Line::styled(note, DIM));
        space -= 1;
    }
    let columns = if width >= TWO_COLUMNS { 2 } else { 1 };
    let has_headings = space >= MIN_WITH_HEADINGS;
    space -= usize::from(has_headings);
    let mut hidden = threads.total - cells.len();
    if cells.len() + hidden.min(1) > space * columns {
        cells.sort_by_key(Cell::rank);
        let shown = (space * columns).saturating_sub(1);
        hidden += cells.len().saturating_sub(shown);
        cells.truncate(shown);
    }
    let cell_width = (width - (columns - 1) * 3) / columns;
    let names = cells.iter().map(|cell| wrap::width(&cell.name));
    let mut name_width = names.max().unwrap_or(0);
    if has_headings {
        name_width = name_width.max(wrap::width(THREAD));
    }
    let mut texts: Vec<Vec<Span<'static>>> = cells
        .into_iter()
        .map(|cell| cell.spans(cell_width, name_width))
        .collect();
    if hidden > 0 && space > 0 {
        let more = style::counted(hidden as u64, "more thread");
        texts.push(vec![Span::styled(more, DIM)]);
    }
    let mut table = texts.len().div_ceil(columns);
    if has_headings {
        let headings = Cell::headings().spans(cell_width, name_width);
        if texts.len() > table {
            texts.insert(table, headings.clone());
        }
        texts.insert(0, headings);
        table += 1;
    }
    for row in 0..table {
        let mut spans = texts[row].clone();
        if let Some(right) = texts.get(table + row) {
            let used: usize = spans.iter().map(Span::width).sum();
            spans.push(Span::raw(" ".repeat(cell_width.saturating_sub(used))));
            spans.push(Span::styled(" │ ", DIM));
            spans.extend(right.clone());
        }
        rows.push(Line::from(spans));
    }
    rows.truncate(height);
    rows
}

fn cell(thread: &ThreadSample, snapshot: &Snapshot, now: Instant) -> Cell {
    let activity = activity(thread, snapshot, now);
    let frozen = snapshot.client_of_thread(&thread.name);
    let is_frozen = frozen.is_some_and(|client| client.frozen_at.is_some());
    let activity = if is_frozen {
        alert(format!("FROZEN, {}", activity.0))
    } else {
        activity
    };
    Cell {
        name: thread.name.clone(),
        is_notable: activity.1 == ALERT || thread.name.starts_with("w:"),
        activity,
        cpu: for_ns(thread.cpu.as_nanos() as u64),
    }
}

/// The activity of a thread, and for how long it has lasted. Values from the server are used only
/// while they are new: the kernel's are always new, and both are in the same row.
fn activity(thread: &ThreadSample, snapshot: &Snapshot, now: Instant) -> Phrase {
    let is_new = |arrived| now.saturating_duration_since(arrived) <= MAX_AGE;
    let sample = snapshot.sample.as_ref();
    let sample = sample.and_then(|(sample, arrived)| is_new(*arrived).then_some(sample));
    let locks = sample.iter().flat_map(|sample| {
        let of_backlogs = sample.backlogs.iter().map(|backlog| &backlog.lock);
        sample.locks.iter().chain(of_backlogs)
    });
    for lock in locks {
        let mut waiters = lock.waiters.iter();
        let waiter = waiters.find(|waiter| waiter.thread as i32 == thread.tid);
        if let Some(waiter) = waiter.filter(|waiter| is_long(waiter.nanoseconds)) {
            let time = for_ns(waiter.nanoseconds);
            return alert(format!("WAITS: {} {time}", lock.name));
        }
    }
    let mut backlogs = sample.iter().flat_map(|sample| &sample.backlogs);
    let backlog = backlogs.find(|backlog| os::thread_name("w:", &backlog.name) == thread.name);
    if let Some(backlog) = backlog {
        // The thread tries again from time to time, so the kernel would report only short waits.
        return if is_long(backlog.stalled) {
            alert(format!("WAITS {}", for_ns(backlog.stalled)))
        } else {
            phrase("sends")
        };
    }
    let is_writer = thread.name.starts_with("w:");
    let is_long = thread.still >= MIN_NAMED;
    let word = match thread.activity {
        Activity::Runs => {
            let share = snapshot.processor_share(thread.tid).unwrap_or(0.0);
            return phrase(format!("runs {}", percent(share)));
        }
        Activity::Sends(_) if is_long => "SENDS",
        Activity::Polls if is_writer && is_long => "WAITS",
        Activity::Sends(_) => "sends",
        Activity::Polls if is_writer => "sends",
        Activity::Reads(_) => "reads",
        Activity::Polls if thread.name.starts_with("c:") => "reads",
        Activity::Accepts(_) => "accepts",
        Activity::Polls if thread.name == "accept" => "accepts",
        Activity::Disk => "waits for the disk",
        Activity::Stopped => "STOPPED",
        Activity::Polls | Activity::Futex | Activity::Sleeps | Activity::Blocked => "sleeps",
    };
    let is_alert = word.chars().all(char::is_uppercase);
    let text = if thread.still >= MAX_AGE {
        format!("{word} {}", in_words(thread.still))
    } else {
        word.to_owned()
    };
    Phrase(text, if is_alert { ALERT } else { PLAIN })
}

impl Cell {
    fn headings() -> Self {
        Self {
            name: THREAD.into(),
            activity: Phrase("state and time".into(), DIM),
            cpu: "CPU".into(),
            is_notable: false,
        }
    }

    /// Sort key of the thread if there is too little space for all threads: those with the lowest
    /// ranks are listed.
    fn rank(&self) -> u32 {
        match &*self.name {
            _ if self.is_notable => 0,
            name if name.starts_with("c:") => 1,
            "deliver" | "accept" => 2,
            // Threads such as the main thread, which mostly sleep.
            _ => 3,
        }
    }

    /// Formats the cell in `width` columns: the name in `name_width` columns, the activity, and the
    /// processor time on the right.
    fn spans(self, width: usize, name_width: usize) -> Vec<Span<'static>> {
        let space = width.saturating_sub(name_width + 1 + 1 + CPU);
        vec![
            Span::styled(fitted(&self.name, name_width), BOLD),
            Span::raw(" "),
            Span::styled(
                fitted(&whole_words(&self.activity.0, space), space),
                self.activity.1,
            ),
            Span::styled(format!(" {:>CPU$}", self.cpu), DIM),
        ]
    }
}

/// Cuts `text` to at most `columns` columns between two words, since a number without its unit
/// could be misread. Keeps the first word.
fn whole_words(text: &str, columns: usize) -> String {
    let mut shown = String::new();
    for word in words(text) {
        if shown.is_empty() {
            shown.push_str(word);
        } else if wrap::width(&shown) + 1 + wrap::width(word) <= columns {
            shown.push(' ');
            shown.push_str(word);
        } else {
            break;
        }
    }
    shown
}

/// Pads or truncates `text` to `columns` columns.
fn fitted(text: &str, columns: usize) -> String {
    let mut shown = String::new();
    if columns > 0
        && let Some(row) = wrap::at_characters(text, columns).first()
    {
        shown.push_str(&text[row.clone()]);
    }
    let padding = columns.saturating_sub(wrap::width(&shown));
    shown.push_str(&" ".repeat(padding));
    shown
}

/// Formats a label and phrases, separated by commas, in rows of at most `width` columns. Breaks
/// rows between words, but not between a number and its unit.
fn section(label: &str, phrases: Vec<Phrase>, width: usize) -> Vec<Line<'static>> {
    let label_width = if width < TWO_COLUMNS { 0 } else { LABEL };
    let label = fitted(label, label_width.max(wrap::width(label)));
    let mut used = wrap::width(&label);
    let mut spans = vec![Span::styled(label, BOLD)];
    let mut rows = Vec::new();
    let last = phrases.len().saturating_sub(1);
    for (index, Phrase(text, style)) in phrases.into_iter().enumerate() {
        let text = if index < last {
            format!("{text},")
        } else {
            text
        };
        for word in words(&text) {
            let columns = wrap::width(word);
            if used + 1 + columns > width {
                rows.push(Line::from(std::mem::take(&mut spans)));
                spans.push(Span::raw(" "));
                used = 1;
            }
            spans.push(Span::styled(format!(" {word}"), style));
            used += 1 + columns;
        }
    }
    rows.push(Line::from(spans));
    rows
}

/// Splits `text` into words. A number and its unit count as one word.
fn words(text: &str) -> Vec<&str> {
    const UNITS: [&str; 6] = ["s", "ms", "%", "B", "KiB", "MiB"];
    let mut words: Vec<&str> = Vec::new();
    let (mut start, mut end) = (0, 0);
    for word in text.split(' ') {
        let is_unit = end > start && UNITS.contains(&word.trim_end_matches([',', ')']));
        if !is_unit {
            words.extend(text.get(start..end).filter(|word| !word.is_empty()));
            start = if end == 0 { 0 } else { end + 1 };
        }
        end = if end == 0 {
            word.len()
        } else {
            end + 1 + word.len()
        };
    }
    words.push(&text[start..end]);
    words
}

/// Formats a time in nanoseconds, rounded to a few digits, such as `0.18 ms` or `7.3 s`.
fn for_ns(nanoseconds: u64) -> String {
    let ms = nanoseconds as f64 / 1e6;
    if ms < 1.0 {
        format!("{ms:.2} ms")
    } else if ms < 10.0 {
        format!("{ms:.1} ms")
    } else if ms < 1000.0 {
        format!("{ms:.0} ms")
    } else if ms < 100_000.0 {
        format!("{:.1} s", ms / 1e3)
    } else {
        format!("{:.0} s", ms / 1e3)
    }
}

fn in_words(time: Duration) -> String {
    for_ns(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

/// Formats a number of bytes, rounded to a few digits, such as `79 KiB` or `2.9 MiB`.
fn in_bytes(bytes: u64) -> String {
    const UNIT: f64 = 1024.0;
    let kib = bytes as f64 / UNIT;
    if bytes < 1024 {
        format!("{bytes} B")
    } else if kib < 10.0 {
        format!("{kib:.1} KiB")
    } else if kib < 1000.0 {
        format!("{kib:.0} KiB")
    } else {
        format!("{:.1} MiB", kib / UNIT)
    }
}

/// Formats a share as a percentage with at most two decimals.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent < 0.005 {
        "0 %".into()
    } else if percent < 1.0 {
        format!("{percent:.2} %")
    } else {
        format!("{percent:.0} %")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::kernel::{Connection, ThreadSamples};
    use crate::probe::sample::{Delivery, Pending, Waiter};

    const MS: u64 = 1_000_000;

    fn room() -> LockSample {
        LockSample {
            name: "room".into(),
            file: Some("src/server/room.rs".into()),
            ..LockSample::default()
        }
    }

    fn thread(tid: i32, name: &str, activity: Activity) -> ThreadSample {
        ThreadSample {
            tid,
            name: name.into(),
            activity,
            cpu: Duration::from_micros(800),
            still: Duration::ZERO,
        }
    }

    fn snapshot(now: Instant, sample: Sample, threads: Vec<ThreadSample>) -> Snapshot {
        Snapshot {
            sample: Some((sample, now)),
            threads: Some(ThreadSamples {
                total: threads.len(),
                threads,
                has_system_calls: true,
            }),
            ..Snapshot::default()
        }
    }

    fn shown(snapshot: &Snapshot, now: Instant, width: usize, height: usize) -> Vec<String> {
        let rows = rows(snapshot, now, width, height);
        assert!(rows.len() <= height, "{rows:?}");
        let rows: Vec<String> = rows
            .iter()
            .map(|row| row.to_string().trim_end().into())
            .collect();
        assert!(
            rows.iter().all(|row| wrap::width(row) <= width),
            "{rows:#?}"
        );
        rows
    }

    /// A server whose member `ola` is frozen and behind.
    fn behind(now: Instant) -> Snapshot {
        let sample = Sample {
            at: 2000 * MS,
            locks: vec![LockSample {
                taken: 90,
                held: 5 * MS,
                longest: MS / 5,
                contended: 3,
                longest_wait: MS / 4,
                ..room()
            }],
            pending: Pending {
                entries: 0,
                bytes: 0,
                limit: 1 << 20,
            },
            delivery: Delivery {
                rounds: 40,
                deliveries: 1000,
                last_events: 12,
                last_recipients: 14,
                ..Delivery::default()
            },
            backlogs: vec![BacklogSample {
                name: "ola".into(),
                bytes: 86 * 1024,
                limit: 512 * 1024,
                stalled: 3100 * MS,
                max_stall: 10_000 * MS,
                ..BacklogSample::default()
            }],
            behind: 1,
            send_buffer: Some(9216),
            ..Sample::default()
        };
        let mut before = sample.clone();
        before.at = 1000 * MS;
        before.locks[0].held = 2 * MS;
        before.delivery.deliveries = 832;
        let mut reader = thread(12, "c:ola", Activity::Polls);
        reader.still = Duration::from_secs(9);
        let threads = vec![
            thread(10, "chat-server", Activity::Futex),
            thread(11, "accept", Activity::Polls),
            reader,
            thread(13, "c:jan", Activity::Polls),
            thread(14, "deliver", Activity::Futex),
            thread(15, "w:ola", Activity::Polls),
        ];
        Snapshot {
            sample_before: Some(before),
            connections: vec![MemberConnection {
                name: "ola".into(),
                connection: Connection {
                    peer: ([127, 0, 0, 1], 5).into(),
                    unsent: 3 << 20,
                    unread: Some(79 * 1024),
                },
            }],
            clients: vec![LiveClient {
                name: "ola".into(),
                pid: 7,
                frozen_at: Some(now - Duration::from_secs(12)),
            }],
            ..snapshot(now, sample, threads)
        }
    }

    #[test]
    fn a_frozen_member_is_shown_on_a_wide_screen() {
        let now = Instant::now();
        let expected = "\
LOCK room free, held 0.30 %, longest 0.20 ms, 3 waits, longest 0.25 ms
PENDING   0, last batch 12 to 14, 168 deliveries/s, small buffers (9.0 KiB)
BEHIND    ola [##......] 86 KiB of 512 KiB, cut in 6.9 s
KERNEL    ola FROZEN 12.0 s, 79 KiB unread, 3.0 MiB unsent
thread      state and time        CPU │ thread      state and time        CPU
chat-server sleeps            0.80 ms │ c:jan       reads             0.80 ms
accept      accepts           0.80 ms │ deliver     sleeps            0.80 ms
c:ola       FROZEN, reads     0.80 ms │ w:ola       WAITS 3.1 s       0.80 ms";
        let shown = shown(&behind(now), now, 78, 20);
        assert_eq!(shown.join("\n"), expected);
    }

    #[test]
    fn the_most_important_rows_are_shown_on_a_small_screen() {
        let now = Instant::now();
        let expected = "\
LOCK room free, held 0.30 %, longest
  0.20 ms, 3 waits, longest 0.25 ms
PENDING 0, last batch 12 to 14, 168
  deliveries/s, small buffers
  (9.0 KiB)
BEHIND ola [##......] 86 KiB of
  512 KiB, cut in 6.9 s
KERNEL ola FROZEN 12.0 s, 79 KiB
  unread, 3.0 MiB unsent
c:ola FROZEN, reads 9.0 s      0.80 ms
w:ola WAITS 3.1 s              0.80 ms
4 more threads";
        assert_eq!(shown(&behind(now), now, 38, 12).join("\n"), expected);
        let few = shown(&behind(now), now, 38, 3);
        assert_eq!(few.last().unwrap(), "… F2 shows the rest");
    }

    #[test]
    fn a_long_hold_of_a_lock_is_shown_with_its_thread_source_line_and_waiters() {
        let now = Instant::now();
        let lock = LockSample {
            state: LockState::Held {
                thread: 14,
                line: 41,
                nanoseconds: 7300 * MS,
            },
            longest: 7300 * MS,
            waiting: 2,
            waiters: vec![Waiter {
                thread: 15,
                line: 50,
                nanoseconds: 7100 * MS,
            }],
            ..room()
        };
        let sample = Sample {
            locks: vec![lock],
            ..Sample::default()
        };
        let mut sender = thread(14, "c:ala", Activity::Sends(3));
        sender.still = Duration::from_millis(7300);
        let threads = vec![sender, thread(15, "c:ola", Activity::Futex)];
        let shown = shown(&snapshot(now, sample, threads), now, 78, 20);
        assert_eq!(
            shown[0],
            "LOCK room HELD 7.3 s by c:ala at room.rs:41, 2 WAIT, longest 7.1 s"
        );
        assert!(
            shown
                .iter()
                .any(|row| row.contains("c:ola  WAITS: room 7.1 s"))
        );
        assert!(shown.iter().any(|row| row.contains("c:ala  SENDS 7.3 s")));
    }

    #[test]
    fn a_short_hold_names_no_thread() {
        let now = Instant::now();
        let lock = LockSample {
            state: LockState::Held {
                thread: 14,
                line: 41,
                nanoseconds: 2_000,
            },
            waiting: 1,
            waiters: vec![Waiter {
                thread: 15,
                line: 50,
                nanoseconds: 1_000,
            }],
            ..room()
        };
        let sample = Sample {
            locks: vec![lock],
            ..Sample::default()
        };
        let threads = vec![
            thread(14, "c:ala", Activity::Runs),
            thread(15, "c:ola", Activity::Futex),
        ];
        let shown = shown(&snapshot(now, sample, threads), now, 78, 20);
        assert!(shown[0].starts_with("LOCK room free, "), "{shown:?}");
        assert!(!shown.concat().contains("WAIT"), "{shown:?}");
    }

    #[test]
    fn values_older_than_a_second_are_dimmed_and_show_their_age() {
        let then = Instant::now();
        let now = then + Duration::from_millis(3200);
        let snapshot = behind(then);
        let rows = rows(&snapshot, now, 78, 20);
        assert!(rows[0].to_string().contains("no answer for 3.2 s"));
        let lock = rows
            .iter()
            .find(|row| row.to_string().starts_with("LOCK"))
            .unwrap();
        let is_dim = |span: &Span<'_>| span.style.add_modifier.contains(Modifier::DIM);
        assert!(lock.spans.iter().all(is_dim));
        // The rows about the kernel are never old, because they need no answer from the server.
        let kernel = rows
            .iter()
            .find(|row| row.to_string().starts_with("KERNEL"))
            .unwrap();
        assert!(!kernel.spans.iter().all(is_dim));
    }

    #[test]
    fn a_thread_that_sends_for_a_short_time_is_not_notable() {
        let now = Instant::now();
        let mut snapshot = behind(now);
        let (sample, _) = snapshot.sample.as_mut().unwrap();
        sample.backlogs[0].stalled = 2 * MS;
        let all = snapshot.threads.as_mut().unwrap();
        all.threads.push(thread(16, "w:jan", Activity::Polls));
        all.threads.push(thread(17, "c:ela", Activity::Sends(3)));
        all.total = all.threads.len();
        let rows = shown(&snapshot, now, 38, 40);
        for name in ["w:ola", "w:jan", "c:ela"] {
            let row = rows.iter().find(|row| row.starts_with(name)).unwrap();
            assert!(
                row[name.len()..].trim_start().starts_with("sends "),
                "{row}"
            );
        }
    }

    #[test]
    fn the_row_of_a_thread_has_no_old_values_from_the_server() {
        let then = Instant::now();
        let snapshot = behind(then);
        let now = then + Duration::from_secs(2);
        assert!(
            shown(&snapshot, then, 78, 20)
                .concat()
                .contains("WAITS 3.1 s")
        );
        assert!(
            !shown(&snapshot, now, 78, 20)
                .concat()
                .contains("WAITS 3.1 s")
        );
    }

    #[test]
    fn the_time_of_an_activity_is_shown_with_its_unit_or_not_at_all() {
        let cut: Vec<String> = [8, 13, 17, 18, 19]
            .iter()
            .map(|columns| whole_words("FROZEN, reads 9.0 s", *columns))
            .collect();
        assert_eq!(
            cut,
            [
                "FROZEN,",
                "FROZEN, reads",
                "FROZEN, reads",
                "FROZEN, reads",
                "FROZEN, reads 9.0 s"
            ]
        );
    }

    #[test]
    fn the_rows_fit_into_a_view_of_any_size() {
        let now = Instant::now();
        for width in 24..100 {
            for height in 0..30 {
                shown(&behind(now), now, width, height);
            }
        }
    }

    #[test]
    fn times_and_sizes_are_rounded_to_a_few_digits() {
        for (ns, expected) in [
            (0, "0.00 ms"),
            (180_000, "0.18 ms"),
            (2_300_000, "2.3 ms"),
            (180 * MS, "180 ms"),
            (7_300 * MS, "7.3 s"),
            (123_400 * MS, "123 s"),
        ] {
            assert_eq!(for_ns(ns), expected);
        }
        for (bytes, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (2048, "2.0 KiB"),
            (79 * 1024, "79 KiB"),
            (3_040_870, "2.9 MiB"),
        ] {
            assert_eq!(in_bytes(bytes), expected);
        }
    }
}
