//! Measures chat-server beside other servers, in one run: each in turn gets the same messages from the same clients, several
//! times over, and the median counts. So what slows the machine for a while slows all of them.
//!
//! `cargo bench` runs all of it; `cargo bench -- --help` tells how to run a part.

mod limit;
mod load;
mod measure;
mod peers;
mod report;

use std::io::Write;

use anyhow::Result;
use clap::Parser;
use clap::builder::PossibleValuesParser;

use crate::measure::MEASURES;
use crate::peers::Peer;
use crate::report::Report;

/// Descriptors that the load and each server need: a client each, and some more.
const DESCRIPTORS: u64 = 10_000 + 1024;

/// Measures chat-server beside other servers
#[derive(Parser)]
#[command(name = "cargo bench --")]
struct Options {
    /// Measure only these
    #[arg(long, value_delimiter = ',', value_parser = PossibleValuesParser::new(MEASURES.iter().map(|measure| measure.key)))]
    only: Vec<String>,

    /// Measure only these servers, beside chat-server with plain lines
    #[arg(long, value_delimiter = ',', value_enum)]
    peers: Vec<Peer>,

    /// How many times each is measured; the median counts
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: usize,

    /// How long each run measures
    #[arg(long, value_name = "S", default_value_t = 1.0)]
    seconds: f64,

    /// Cargo says so when it runs benchmarks
    #[arg(long, hide = true)]
    bench: bool,

    /// Be the limit
    #[arg(long, hide = true, value_name = "PORT")]
    serve_limit: Option<u16>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    if let Some(port) = options.serve_limit {
        return limit::serve(port);
    }
    if !options.bench {
        // `cargo test --benches` is no time to measure.
        return Ok(());
    }
    load::raise_descriptors(DESCRIPTORS)?;
    let mut peers = options.peers;
    if peers.is_empty() {
        peers = vec![
            Peer::Json,
            Peer::History,
            Peer::Limit,
            Peer::Tokio,
            Peer::Python,
        ];
    }
    peers.push(Peer::Plain);
    peers.sort();
    peers.dedup();
    for peer in &peers {
        peer.prepare()?;
    }

    let mut report = Report::new(peers.clone());
    for measure in &MEASURES {
        if !options.only.is_empty() && !options.only.iter().any(|key| key == measure.key) {
            continue;
        }
        for round in 1..=options.rounds {
            for peer in &peers {
                progress(&format!(
                    "{}, round {round} of {}: {peer}",
                    measure.title, options.rounds
                ));
                match measure.run(*peer, options.seconds) {
                    Ok(outcome) => report.add(measure, *peer, outcome),
                    Err(error) => report.fail(measure, *peer, &error),
                }
            }
        }
        progress("");
        report.print(measure)?;
    }
    report.print_lost()
}

/// What is going on, on a line that is written over and over.
fn progress(what: &str) {
    // Where nobody watches, the benchmark goes on.
    let _ = write!(std::io::stderr(), "\r\x1b[K{what}");
}
