//! The proof at the end of a session: compares what the clients have received with what the server
//! has sent.

use std::fmt::{self, Display};

use crate::probe::sample::Proof;
use crate::protocol::name::Name;
use crate::protocol::tally::Tally;
use crate::tty::style;

/// The reports of the session's own clients about the events that they have received. Clients that
/// the session has not started cannot report.
#[derive(Default)]
pub(crate) struct Reports(Vec<Report>);

/// The report of a client about its time as one member.
struct Report {
    /// The member's last name.
    name: Name,
    /// The process ID of the client, until it has reported its tally or exited.
    client: Option<i32>,
    tally: Option<Tally>,
}

impl Reports {
    /// Records that a client has logged in or was renamed.
    pub(crate) fn named(&mut self, client: i32, name: &Name) {
        match self.of(client) {
            Some(report) => report.name = name.clone(),
            None => self.0.push(Report {
                name: name.clone(),
                client: Some(client),
                tally: None,
            }),
        }
    }

    /// Records what a client has received.
    pub(crate) fn saw(&mut self, client: i32, tally: Tally) {
        if let Some(report) = self.of(client) {
            report.client = None;
            report.tally = Some(tally);
        }
    }

    /// Records that a client has exited, so its process ID may be reused.
    pub(crate) fn exited(&mut self, client: i32) {
        if let Some(report) = self.of(client) {
            report.client = None;
        }
    }

    fn of(&mut self, client: i32) -> Option<&mut Report> {
        let mut reports = self.0.iter_mut();
        reports.find(|report| report.client == Some(client))
    }

    /// Compares the reports with what the server has sent. Returns the line to show.
    pub(crate) fn verdict(&self, proof: &Proof) -> String {
        let mut checked = 0;
        let mut deliveries = 0;
        let mut faults = Vec::new();
        let mut notes = Vec::new();
        for Report { name, tally, .. } in &self.0 {
            let Some(tally) = tally else {
                notes.push(format!("not {name}, whose client ended without a report"));
                continue;
            };
            match check(tally, proof) {
                Ok(()) => {}
                Err(Objection::Fault(fault)) => faults.push(format!("{name} {fault}")),
                Err(Objection::Forgotten) => {
                    notes.push(format!("not {name}, who joined too many events ago"));
                    continue;
                }
            }
            deliveries += tally.received;
            if tally.missing == 0 {
                checked += 1;
            } else {
                let missing = tally.missing;
                notes.push(format!(
                    "{name} was away for {missing} events that the server no longer had"
                ));
            }
        }
        let threads = proof.threads;
        let threads_text = format!(
            "{} started, {} ended",
            style::counted(threads.started, "thread"),
            threads.ended
        );
        if threads.started != threads.ended {
            faults.push(threads_text.clone());
        }
        if self.0.is_empty() && proof.members > 0 {
            notes.push("only clients that chat-run starts can be".into());
        }
        let clients = Checked {
            checked,
            members: proof.members,
            notes: &notes,
        };
        if !faults.is_empty() {
            return format!("proof FAILED: {}; {clients}", faults.join("; "));
        }
        if checked == 0 {
            return format!("proof: {clients}; {threads_text}");
        }
        let deliveries = match deliveries {
            1 => "1 delivery".into(),
            count => format!("{count} deliveries"),
        };
        let order = proof.sums.last().copied().unwrap_or_default() >> 48;
        format!(
            "proof: {clients}, {deliveries}: one order ({order:04x}), 0 lost, 0 twice; {threads_text}"
        )
    }
}

/// The number of clients that were checked, such as `1 of 2 clients was checked (not ala, …)`.
struct Checked<'a> {
    checked: u64,
    members: u64,
    notes: &'a [String],
}

impl Display for Checked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.members == 0 {
            return f.write_str("nobody joined");
        }
        let clients = style::counted(self.members, "client");
        let verb = if self.checked == 1 || self.members == 1 {
            "was"
        } else {
            "were"
        };
        write!(f, "{} of {clients} {verb} checked", self.checked)?;
        if self.notes.is_empty() {
            Ok(())
        } else {
            write!(f, " ({})", self.notes.join("; "))
        }
    }
}

/// Reason why a client's tally does not agree with the server.
enum Objection {
    /// A description, which follows the member's name.
    Fault(String),
    /// The server no longer has the checksums of the first events.
    Forgotten,
}

/// Checks whether a client has received exactly the events that the server has sent in that time.
fn check(tally: &Tally, proof: &Proof) -> Result<(), Objection> {
    if let Some(fault) = tally.fault {
        let (expected, received) = (fault.expected, fault.received);
        return Err(Objection::Fault(if received > expected {
            format!("did not receive event {expected} before event {received}")
        } else {
            format!("received event {received} again or late, when {expected} was due")
        }));
    }
    if tally.received == 0 {
        return Ok(());
    }
    let last = tally.next.saturating_sub(1);
    match proof.sum(tally.first, last) {
        Some(sum) if sum == tally.sum => Ok(()),
        Some(sum) => Err(Objection::Fault(format!(
            "received events {} to {last} with the checksum {:016x}, not {sum:016x}",
            tally.first, tally.sum
        ))),
        None if last > proof.last() => Err(Objection::Fault(format!(
            "received event {last}, but the server's last was {}",
            proof.last()
        ))),
        None => Err(Objection::Forgotten),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::probe::sample::Threads;
    use crate::protocol::event::{Event, Record};
    use crate::protocol::text::Text;

    fn record(seq: u64) -> Record {
        let text = Text::new(&format!("event {seq}"));
        Record {
            seq,
            time: Timestamp::UNIX_EPOCH,
            event: Event::Server { text },
        }
    }

    /// The tally of a client that has joined with event `first` and received these events.
    fn tally(first: u64, seqs: impl IntoIterator<Item = u64>) -> Tally {
        let mut tally = Tally::after(first - 1, 0);
        seqs.into_iter().for_each(|seq| tally.add(&record(seq)));
        tally
    }

    /// The proof of a server that has sent events 1 to 9 and only has the sums from 3 on.
    fn proof() -> Proof {
        let sums = (3..=9).map(|last| tally(1, 1..=last).sum);
        Proof {
            first: 3,
            sums: sums.collect(),
            members: 2,
            threads: Threads {
                started: 7,
                ended: 7,
            },
        }
    }

    fn verdict(reports: impl IntoIterator<Item = (&'static str, Option<Tally>)>) -> String {
        let mut all = Reports::default();
        for (client, (name, tally)) in (1..).zip(reports) {
            all.named(client, &Name::new(name).unwrap());
            if let Some(tally) = tally {
                all.saw(client, tally);
            }
            all.exited(client);
        }
        all.verdict(&proof())
    }

    #[test]
    fn clients_that_have_received_what_was_sent_prove_it() {
        let all = verdict([
            ("ala", Some(tally(4, 4..=9))),
            ("ola", Some(tally(6, 6..=8))),
        ]);
        let order = proof().sums[6] >> 48;
        assert_eq!(
            all,
            format!(
                "proof: 2 of 2 clients were checked, 9 deliveries: one order ({order:04x}), 0 lost, \
                 0 twice; 7 threads started, 7 ended"
            )
        );
    }

    #[test]
    fn a_wrong_event_makes_the_proof_fail_with_member_and_event() {
        let mut forged = tally(4, 4..=9);
        forged.sum += 1;
        for (tally, fault) in [
            (
                tally(4, [4, 6, 7]),
                "did not receive event 5 before event 6",
            ),
            (tally(4, [5, 6]), "did not receive event 4 before event 5"),
            (
                tally(4, [4, 5, 5]),
                "received event 5 again or late, when 6 was due",
            ),
            (
                tally(4, [4, 6, 5]),
                "did not receive event 5 before event 6",
            ),
            (
                tally(4, 4..=10),
                "received event 10, but the server's last was 9",
            ),
            (forged, "received events 4 to 9 with the checksum "),
        ] {
            let line = verdict([("ala", Some(tally))]);
            let begin = format!("proof FAILED: ala {fault}");
            assert!(line.starts_with(&begin), "{line}");
            assert!(line.ends_with("; 1 of 2 clients was checked"), "{line}");
        }
    }

    #[test]
    fn a_thread_that_has_not_ended_makes_the_proof_fail() {
        let mut proof = proof();
        proof.threads.ended = 6;
        assert_eq!(
            Reports::default().verdict(&proof),
            "proof FAILED: 7 threads started, 6 ended; 0 of 2 clients were checked \
             (only clients that chat-run starts can be)"
        );
    }

    #[test]
    fn a_client_that_cannot_be_checked_is_named() {
        let mut after_a_break = tally(8, 8..=9);
        after_a_break.missing = 3;
        let line = verdict([
            ("ala", None),
            ("ola", Some(tally(3, 3..=9))),
            ("jan", Some(tally(4, [4]))),
            ("jan", Some(after_a_break)),
        ]);
        let notes = "proof: 1 of 2 clients was checked (not ala, whose client ended without a \
                     report; not ola, who joined too many events ago; jan was away for 3 events \
                     that the server no longer had), 3 deliveries: ";
        assert!(line.starts_with(notes), "{line}");
    }

    #[test]
    fn a_session_that_nobody_joined_has_only_threads_to_check() {
        let proof = Proof {
            members: 0,
            ..proof()
        };
        let line = Reports::default().verdict(&proof);
        assert_eq!(line, "proof: nobody joined; 7 threads started, 7 ended");
    }

    #[test]
    fn a_client_that_joins_anew_reports_as_two_members() {
        let mut reports = Reports::default();
        for (name, seqs) in [("ala", 4..=5), ("ela", 8..=9)] {
            reports.named(1, &Name::new("ola").unwrap());
            reports.named(1, &Name::new(name).unwrap());
            reports.saw(1, tally(*seqs.start(), seqs));
        }
        let line = reports.verdict(&proof());
        let begin = "proof: 2 of 2 clients were checked, 4 deliveries: ";
        assert!(line.starts_with(begin), "{line}");
    }
}
