//! The benchmark: its options, and the order of the measurements.

mod dialect;
mod frames;
mod irc;
mod limit;
mod load;
mod measure;
mod observed;
mod peers;
mod picture;
mod report;
mod small;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use clap::builder::PossibleValuesParser;
use clap::{Parser, ValueEnum};

use self::frames::FRAMES;
use self::measure::{MEASURES, Measure};
use self::observed::OBSERVED;
use self::peers::{Peer, Server};
use self::report::{Extra, Report, median};
use self::small::{BUILD, SMALL, Small, WAKE};

/// Number of descriptors that the load or a server needs in addition to one per client.
const OTHER_DESCRIPTORS: u64 = 1024;

/// Number of descriptors that the largest measure needs.
const DESCRIPTORS: u64 = 10_000 + OTHER_DESCRIPTORS;

/// Compares chat-server with other servers
#[derive(Parser)]
#[command(name = "cargo bench --")]
struct Options {
    /// Measure only these
    #[arg(long, value_name = "WHAT", value_delimiter = ',', value_parser = PossibleValuesParser::new(keys()))]
    only: Vec<String>,

    /// Measure only these servers, and chat-server with plain lines
    #[arg(long, value_name = "SERVER", value_delimiter = ',', value_enum)]
    peers: Vec<Peer>,

    /// Number of rounds; the result is their median
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: usize,

    /// Duration of each run's measurement, in seconds
    #[arg(long, value_name = "S", default_value_t = 1.0)]
    seconds: f64,

    /// Write docs/bench.md and docs/bench.svg; the default if neither --only nor --peers is given
    #[arg(long)]
    write: bool,

    /// Passed by Cargo when it runs benchmarks
    #[arg(long, hide = true)]
    bench: bool,

    /// Serve as the limit, on this port
    #[arg(long, hide = true, value_name = "PORT")]
    serve_limit: Option<u16>,
}

/// The names of all measures.
fn keys() -> impl Iterator<Item = &'static str> {
    let measures = MEASURES.iter().map(|measure| measure.key);
    let small = SMALL.iter().map(|small| small.key);
    measures.chain(small).chain([WAKE, OBSERVED, FRAMES, BUILD])
}

impl Options {
    fn wants(&self, key: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == key)
    }

    /// The servers to measure, in the order of the table. chat-server is always included.
    fn peers(&self) -> Vec<Peer> {
        let wanted = |peer: &Peer| {
            self.peers.is_empty() || self.peers.contains(peer) || *peer == Peer::Plain
        };
        let all = Peer::value_variants().iter();
        all.copied().filter(wanted).collect()
    }
}

pub(super) fn main() -> Result<()> {
    let options = Options::parse();
    if let Some(port) = options.serve_limit {
        return limit::serve(port);
    }
    if !options.bench {
        // `cargo test --benches` only checks that the benchmark builds.
        return Ok(());
    }
    let descriptors = load::raise_descriptors(DESCRIPTORS)?;
    let peers = options.peers();
    let mut report = Report::new(peers.clone());
    let measures: Vec<&'static Measure> = MEASURES
        .iter()
        .filter(|measure| options.wants(measure.key))
        .collect();
    let peers = if measures.is_empty() {
        Vec::new()
    } else {
        prepare(&peers, &mut report)
    };
    for measure in measures {
        let needed = measure.clients() as u64 + OTHER_DESCRIPTORS;
        if needed <= descriptors {
            let (peers, crowded): (Vec<Peer>, Vec<Peer>) = peers
                .iter()
                .partition(|peer| measure.clients() <= peer.crowd());
            for peer in crowded {
                report.note(format!(
                    "{}, {peer}: this many joins would take minutes",
                    measure.title
                ));
            }
            compare(&options, measure, peers, &mut report)?;
        } else {
            report.note(format!(
                "{}: needs {needed} descriptors, but `ulimit -Hn` is {descriptors}",
                measure.title
            ));
        }
    }
    for small in SMALL.iter().filter(|small| options.wants(small.key)) {
        match time(small, options.rounds) {
            Ok(extra) => report.add_extra(extra)?,
            Err(error) => report.note(format!("{}: {error:#}", small.what)),
        }
    }
    if options.wants(WAKE) {
        progress("waking a thread");
        let wake = small::wake()?;
        progress("");
        report.add_extra(wake)?;
    }
    if options.wants(OBSERVED) {
        match observed::compare(options.rounds, options.seconds, progress) {
            Ok(extras) => extras
                .into_iter()
                .try_for_each(|extra| report.add_extra(extra))?,
            Err(error) => report.note(format!("observed: {error:#}")),
        }
    }
    if options.wants(FRAMES) {
        progress("the panes of a busy room");
        let measured = frames::measure();
        progress("");
        match measured {
            Ok(extras) => {
                for extra in extras {
                    report.add_extra(extra)?;
                }
            }
            Err(error) => report.note(format!("panes: {error:#}")),
        }
    }
    if options.wants(BUILD) {
        progress("a clean release build");
        let built = small::build()?;
        progress("");
        for extra in built {
            report.add_extra(extra)?;
        }
    }
    report.print_end()?;
    if options.write || (options.only.is_empty() && options.peers.is_empty()) {
        write(&options, &report)?;
    }
    Ok(())
}

/// Prepares the servers, and returns those that can be started.
fn prepare(peers: &[Peer], report: &mut Report) -> Vec<Peer> {
    let mut ready = Vec::new();
    for peer in peers {
        progress(&format!("preparing {peer}"));
        match peer.prepare() {
            Ok(()) => ready.push(*peer),
            Err(error) => report.note(format!("{peer}: {error:#}")),
        }
    }
    ready
}

/// Measures all servers in turns. A server that fails is not measured again.
fn compare(
    options: &Options,
    measure: &'static Measure,
    mut peers: Vec<Peer>,
    report: &mut Report,
) -> Result<()> {
    let (title, rounds) = (measure.title, options.rounds);
    for round in 1..=rounds {
        peers.retain(|peer| {
            progress(&format!("{title}, round {round} of {rounds}: {peer}"));
            let run = |server| measure.run(&server, options.seconds);
            match Server::start(*peer).and_then(run) {
                Ok(outcome) => {
                    report.add(measure, *peer, outcome);
                    true
                }
                Err(error) => {
                    report.note(format!("{title}, {peer}: {error:#}"));
                    false
                }
            }
        });
        // The order changes, so that no server always follows the same one.
        peers.reverse();
        let next = usize::from(peers.len() > 1);
        peers.rotate_left(next);
    }
    progress("");
    report.finish(measure)
}

/// Measures a small time and its baseline in turns.
fn time(small: &Small, rounds: usize) -> Result<Extra> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        progress(&format!("{}, round {round} of {rounds}", small.what));
        ours.push((small.ours)()?);
        theirs.push((small.theirs)()?);
    }
    progress("");
    Ok(Extra {
        what: small.what,
        ours: median(ours).context("no rounds")?,
        bare: median(theirs).map(|theirs| (small.bare, theirs)),
        unit: measure::Unit::Seconds,
    })
}

/// Writes the report and its diagram.
fn write(options: &Options, report: &Report) -> Result<()> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/docs"));
    fs::create_dir_all(folder)?;
    let page = report.markdown(&setting(options)?)?;
    fs::write(folder.join("bench.md"), page)?;
    fs::write(folder.join("bench.svg"), picture::draw(report)?)?;
    Ok(())
}

/// The command `cargo`.
fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The paragraph about the setting: the command, the day and the machine.
fn setting(options: &Options) -> Result<String> {
    use procfs::{CpuInfo, Current, Meminfo};

    const GIB: u64 = 1 << 30;
    let processors = CpuInfo::current()?;
    let model = processors.model_name(0).unwrap_or("an unknown processor");
    let cores = processors.num_cores();
    let memory = Meminfo::current()?.mem_total.div_ceil(GIB);
    let system = rustix::system::uname();
    let release = system.release().to_string_lossy();
    // Without the distribution's suffix.
    let kernel = release.split('-').next().unwrap_or_default();
    let day = jiff::Zoned::now().date();
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let command = if arguments.is_empty() {
        "cargo bench".into()
    } else {
        format!("cargo bench -- {}", arguments.join(" "))
    };
    let (rounds, seconds) = (options.rounds, options.seconds);
    Ok(format!(
        "![Deliveries per second, latency, and CPU per delivery](bench.svg)\n\n`{command}` on {day}: {model}, {cores} processors, {memory} GB, Linux {kernel}. \
         Medians of {rounds} runs of {seconds} s; the servers take turns."
    ))
}

/// Shows the progress, on a line that is overwritten.
fn progress(what: &str) {
    // If stderr is gone, the benchmark continues without it.
    let _ = write!(std::io::stderr(), "\r\x1b[K{what}");
}
