//! Measures chat-server beside other servers, in one run: each in turn gets the same messages from the same clients, several
//! times over, and the median counts. So what slows the machine for a while slows all of them.
//!
//! `cargo bench` runs all of it; `cargo bench -- --help` tells how to run a part.

mod irc;
mod limit;
mod load;
mod measure;
mod peers;
mod report;

use std::io::Write;

use anyhow::Result;
use clap::builder::PossibleValuesParser;
use clap::{Parser, ValueEnum};

use crate::measure::MEASURES;
use crate::peers::Peer;
use crate::report::Report;

/// Descriptors that the load, or a server, needs beside those of the clients.
const OTHER_DESCRIPTORS: u64 = 1024;

/// What the largest measure takes.
const DESCRIPTORS: u64 = 10_000 + OTHER_DESCRIPTORS;

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
    let descriptors = load::raise_descriptors(DESCRIPTORS)?;
    let mut peers = options.peers;
    if peers.is_empty() {
        peers = Peer::value_variants().to_vec();
    }
    if !peers.contains(&Peer::Plain) {
        peers.push(Peer::Plain);
    }
    peers.sort();

    let mut report = Report::new(peers.clone());
    peers.retain(|peer| {
        progress(&format!("preparing {peer}"));
        let prepared = peer.prepare();
        prepared
            .map_err(|error| report.note(format!("{peer}: {error:#}")))
            .is_ok()
    });
    for measure in &MEASURES {
        if !options.only.is_empty() && !options.only.iter().any(|key| key == measure.key) {
            continue;
        }
        let needed = measure.clients() as u64 + OTHER_DESCRIPTORS;
        if needed > descriptors {
            report.note(format!(
                "{}: takes {needed} descriptors, and `ulimit -Hn` is {descriptors}",
                measure.title
            ));
            continue;
        }
        let mut running = peers.clone();
        for round in 1..=options.rounds {
            running.retain(|peer| {
                progress(&format!(
                    "{}, round {round} of {}: {peer}",
                    measure.title, options.rounds
                ));
                match measure.run(*peer, options.seconds) {
                    Ok(outcome) => {
                        report.add(measure, *peer, outcome);
                        true
                    }
                    Err(error) => {
                        report.note(format!("{}, {peer}: {error:#}", measure.title));
                        false
                    }
                }
            });
            // Nobody always comes after the same one.
            let next = usize::from(running.len() > 1);
            running.rotate_left(next);
        }
        progress("");
        report.print(measure)?;
    }
    report.print_end()
}

/// What is going on, on a line that is written over and over.
fn progress(what: &str) {
    // Where nobody watches, the benchmark goes on.
    let _ = write!(std::io::stderr(), "\r\x1b[K{what}");
}
