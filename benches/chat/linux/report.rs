//! The results: medians, and the ratio of chat-server to each other server.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;

use anyhow::Result;

use super::measure::{Measure, Outcome, Unit};
use super::peers::Peer;

/// Column widths on the terminal.
const LABEL: usize = 30;
const COLUMN: usize = 18;

/// The text below the table.
const EXPLANATION: &str = "\
All servers get the same messages, with 64 bytes of text each, from one thread that plays all clients.
The limit is a bare epoll loop without names or rules, which also sends each message back to its
sender.

- Deliveries: eight clients send (or 50, if the row says so), with at most 256 messages in flight. CPU
  is that of the server's process, including its time in the kernel.
- Latency runs from just before a message is written until a client has read it.
- Joining ends when each client has its welcome and the notice of every client that joined after it.
  The limit, tokio and Python send no such notices. Our server starts the threads of its members
  after that; threads and memory are counted when it has done so.
- Memory is the server's resident memory per idle client, without buffers in the kernel.
- The IRC servers run without fake lag, penalties and limits. Unlike the others, they do not set
  TCP_NODELAY, so a message may wait until the client has acknowledged the previous one.";

/// All values of all runs.
pub(super) struct Report {
    peers: Vec<Peer>,
    measures: Vec<&'static Measure>,
    /// Values of each run, by measure and peer.
    runs: BTreeMap<(&'static str, Peer), Vec<Vec<f64>>>,
    lost: BTreeMap<Peer, u64>,
    extras: Vec<Extra>,
    /// Names of measures that could not be run, with the reason.
    notes: Vec<String>,
}

/// A value of our programs alone, or with one baseline.
pub(super) struct Extra {
    pub(super) what: &'static str,
    pub(super) ours: f64,
    /// The name of the baseline, and its value.
    pub(super) bare: Option<(&'static str, f64)>,
    pub(super) unit: Unit,
}

impl Report {
    pub(super) fn new(peers: Vec<Peer>) -> Self {
        Self {
            peers,
            measures: Vec::new(),
            runs: BTreeMap::new(),
            lost: BTreeMap::new(),
            extras: Vec::new(),
            notes: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, measure: &Measure, peer: Peer, outcome: Outcome) {
        let runs = self.runs.entry((measure.key, peer)).or_default();
        runs.push(outcome.values);
        *self.lost.entry(peer).or_default() += outcome.lost;
    }

    /// Adds a measure after all its rounds, and prints its results.
    pub(super) fn finish(&mut self, measure: &'static Measure) -> Result<()> {
        self.measures.push(measure);
        let mut out = std::io::stdout();
        write!(out, "\n{:LABEL$}", measure.title)?;
        for peer in &self.peers {
            write!(out, "{:>COLUMN$}", peer.to_string())?;
        }
        writeln!(out)?;
        for (index, quantity) in measure.quantities.iter().enumerate() {
            write!(out, "  {:width$}", quantity.what, width = LABEL - 2)?;
            for cell in self.cells(measure, index) {
                write!(out, "{cell:>COLUMN$}")?;
            }
            writeln!(out)?;
        }
        Ok(out.flush()?)
    }

    pub(super) fn add_extra(&mut self, extra: Extra) -> Result<()> {
        writeln!(std::io::stdout(), "{}", extra.cells().join("  "))?;
        self.extras.push(extra);
        Ok(())
    }

    /// Records something that could not be measured.
    pub(super) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Prints the number of lost messages, and what could not be measured.
    pub(super) fn print_end(&self) -> Result<()> {
        let mut out = std::io::stdout();
        write!(out, "\n{:LABEL$}", "messages lost")?;
        for lost in self.losses() {
            write!(out, "{lost:>COLUMN$}")?;
        }
        writeln!(out)?;
        for note in &self.notes {
            writeln!(out, "not measured: {note}")?;
        }
        Ok(out.flush()?)
    }

    /// The whole report as Markdown. `setting` describes where and how it was made.
    pub(super) fn markdown(&self, setting: &str) -> Result<String> {
        let mut out = String::new();
        writeln!(out, "# Comparison with other servers\n\n{setting}\n")?;
        writeln!(
            out,
            "In parentheses: our value divided by theirs. Higher is better for deliveries, lower for everything else.\n"
        )?;
        let titles: Vec<String> = self.peers.iter().map(Peer::to_string).collect();
        writeln!(out, "| | {} |", titles.join(" | "))?;
        writeln!(out, "|---|{}", "---:|".repeat(self.peers.len()))?;
        for measure in &self.measures {
            for (index, quantity) in measure.quantities.iter().enumerate() {
                let cells = self.cells(measure, index).join(" | ");
                writeln!(out, "| {}: {} | {cells} |", measure.title, quantity.what)?;
            }
        }
        let losses: Vec<String> = self.losses().map(|lost| lost.to_string()).collect();
        writeln!(out, "| total deliveries lost | {} |", losses.join(" | "))?;
        writeln!(out, "\n{EXPLANATION}")?;
        if !self.extras.is_empty() {
            writeln!(out, "\n| | ours | baseline |\n|---|---:|---:|")?;
            for extra in &self.extras {
                writeln!(out, "| {} |", extra.cells().join(" | "))?;
            }
        }
        if !self.notes.is_empty() {
            writeln!(out, "\nNot measured:\n")?;
        }
        for note in &self.notes {
            writeln!(out, "- {note}")?;
        }
        Ok(out)
    }

    pub(super) fn peers(&self) -> &[Peer] {
        &self.peers
    }

    pub(super) fn measures(&self) -> &[&'static Measure] {
        &self.measures
    }

    /// The median of a quantity; `None` if no run finished.
    pub(super) fn median(&self, measure: &Measure, quantity: usize, peer: Peer) -> Option<f64> {
        let runs = self.runs.get(&(measure.key, peer))?;
        median(runs.iter().map(|values| values[quantity]).collect())
    }

    fn losses(&self) -> impl Iterator<Item = u64> {
        let lost = |peer| self.lost.get(peer).copied().unwrap_or_default();
        self.peers.iter().map(lost)
    }

    fn cells(&self, measure: &Measure, index: usize) -> Vec<String> {
        let unit = measure.quantities[index].unit;
        let ours = self.median(measure, index, Peer::Plain);
        let cell = |peer: &Peer| match (ours, self.median(measure, index, *peer)) {
            (_, None) => "–".into(),
            (Some(ours), Some(theirs)) if *peer != Peer::Plain && unit != Unit::Count => {
                format!("{}{}", show(theirs, unit), ratio(ours, theirs))
            }
            (_, Some(value)) => show(value, unit),
        };
        self.peers.iter().map(cell).collect()
    }
}

impl Extra {
    fn cells(&self) -> [String; 3] {
        let bare = match self.bare {
            Some((what, value)) => {
                let value_shown = show(value, self.unit);
                format!("{what}: {value_shown}{}", ratio(self.ours, value))
            }
            None => "–".into(),
        };
        [self.what.into(), show(self.ours, self.unit), bare]
    }
}

pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Returns the ratio in parentheses, or an empty string if `theirs` is 0.
fn ratio(ours: f64, theirs: f64) -> String {
    let ratio = ours / theirs;
    if !ratio.is_finite() {
        String::new()
    } else if ratio < 10.0 {
        format!(" (×{ratio:.2})")
    } else {
        format!(" (×{ratio:.0})")
    }
}

/// Formats a value with three significant digits.
pub(super) fn show(value: f64, unit: Unit) -> String {
    let (value, suffix) = match unit {
        Unit::Seconds if value < 1e-6 => (value * 1e9, " ns"),
        Unit::Seconds if value < 1e-3 => (value * 1e6, " µs"),
        Unit::Seconds if value < 1.0 => (value * 1e3, " ms"),
        Unit::Seconds => (value, " s"),
        Unit::PerSecond if value >= 1e6 => (value / 1e6, " M"),
        Unit::PerSecond if value >= 1e3 => (value / 1e3, " k"),
        Unit::Bytes if value >= 1e6 => (value / 1e6, " MB"),
        Unit::Bytes => (value / 1e3, " kB"),
        Unit::PerSecond | Unit::Count => (value, ""),
    };
    let decimals = match value {
        _ if unit == Unit::Count => 0,
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}{suffix}")
}
