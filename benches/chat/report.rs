//! What was found: medians, and their ratios.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::Result;

use crate::measure::{Measure, Outcome, Unit};
use crate::peers::Peer;

/// Every value of every run.
pub(crate) struct Report {
    peers: Vec<Peer>,
    /// By measure and peer: the values of each run.
    runs: BTreeMap<(&'static str, Peer), Vec<Vec<f64>>>,
    lost: BTreeMap<Peer, u64>,
    /// What could not be measured, and why.
    notes: Vec<String>,
}

const LABEL: usize = 30;
const COLUMN: usize = 16;

impl Report {
    pub(crate) fn new(peers: Vec<Peer>) -> Self {
        Self {
            peers,
            runs: BTreeMap::new(),
            lost: BTreeMap::new(),
            notes: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, measure: &Measure, peer: Peer, outcome: Outcome) {
        let runs = self.runs.entry((measure.key, peer)).or_default();
        runs.push(outcome.values);
        *self.lost.entry(peer).or_default() += outcome.lost;
    }

    /// Something could not be measured.
    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// The median of a quantity; none where no run came to an end.
    fn median(&self, measure: &Measure, quantity: usize, peer: Peer) -> Option<f64> {
        let mut values: Vec<f64> = self
            .runs
            .get(&(measure.key, peer))?
            .iter()
            .map(|values| values[quantity])
            .collect();
        values.sort_unstable_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }

    /// Shows a measure on the terminal: beside each value, by how much ours is more.
    pub(crate) fn print(&self, measure: &Measure) -> Result<()> {
        let mut out = std::io::stdout();
        write!(out, "\n{:LABEL$}", measure.title)?;
        for peer in &self.peers {
            write!(out, "{peer:>COLUMN$}")?;
        }
        writeln!(out)?;
        for (index, quantity) in measure.quantities.iter().enumerate() {
            write!(out, "  {:width$}", quantity.what, width = LABEL - 2)?;
            let ours = self.median(measure, index, Peer::Plain);
            for peer in &self.peers {
                let value = self.median(measure, index, *peer);
                let mut cell = value.map_or_else(|| "-".into(), |value| show(value, quantity.unit));
                if *peer != Peer::Plain
                    && let (Some(ours), Some(value)) = (ours, value)
                {
                    cell.push_str(&format!(" x{:.2}", ours / value));
                }
                write!(out, "{cell:>COLUMN$}")?;
            }
            writeln!(out)?;
        }
        Ok(out.flush()?)
    }

    /// Shows what stands at the end: losses, and what could not be measured.
    pub(crate) fn print_end(&self) -> Result<()> {
        let mut out = std::io::stdout();
        write!(out, "\n{:LABEL$}", "messages lost")?;
        for peer in &self.peers {
            let lost = self.lost.get(peer).copied().unwrap_or_default();
            write!(out, "{lost:>COLUMN$}")?;
        }
        writeln!(out)?;
        for note in &self.notes {
            writeln!(out, "not measured: {note}")?;
        }
        Ok(out.flush()?)
    }
}

/// A value as people read it, with three digits that count.
fn show(value: f64, unit: Unit) -> String {
    let (value, suffix) = match unit {
        Unit::Seconds if value < 1e-6 => (value * 1e9, " ns"),
        Unit::Seconds if value < 1e-3 => (value * 1e6, " us"),
        Unit::Seconds if value < 1.0 => (value * 1e3, " ms"),
        Unit::Seconds => (value, " s"),
        Unit::PerSecond if value >= 1e6 => (value / 1e6, " M"),
        Unit::PerSecond if value >= 1e3 => (value / 1e3, " k"),
        Unit::Bytes => (value / 1e3, " kB"),
        Unit::PerSecond | Unit::Count => (value, ""),
    };
    if value >= 100.0 || unit == Unit::Count {
        format!("{value:.0}{suffix}")
    } else if value >= 10.0 {
        format!("{value:.1}{suffix}")
    } else {
        format!("{value:.2}{suffix}")
    }
}
