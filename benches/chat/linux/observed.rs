//! The cost of being observed: a server's throughput while a launcher asks it for four samples a
//! second.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use chat_run::os;
use chat_run::probe::sample::{ASK, Report};

use super::measure::{DELIVERIES, MEASURES, Measure};
use super::peers::{Peer, Server};
use super::report::{Extra, median};

/// Name on the command line.
pub(super) const OBSERVED: &str = "observed";

/// The measures that are run with and without an observer, and the names of their results.
const MEASURED: [(&str, &str); 3] = [
    ("10", "10 clients, deliveries/s while observed"),
    ("100", "100 clients, deliveries/s while observed"),
    ("1000", "1,000 clients, deliveries/s while observed"),
];

/// Time between two samples, as in the launcher's live view.
const INTERVAL: Duration = Duration::from_millis(250);

/// Measures an observed and an unobserved server in turns.
pub(super) fn compare(rounds: usize, seconds: f64, progress: fn(&str)) -> Result<Vec<Extra>> {
    let mut extras = Vec::new();
    for (key, what) in MEASURED {
        let is_wanted = |measure: &&Measure| measure.key == key;
        let measure = MEASURES.iter().find(is_wanted).context("no such measure")?;
        let (mut observed, mut unobserved) = (Vec::new(), Vec::new());
        for round in 1..=rounds {
            progress(&format!("{what}, round {round} of {rounds}"));
            // Alternate the order, so that neither server always runs second.
            let first = round % 2 == 0;
            for is_observed in [first, !first] {
                let (server, values) = if is_observed {
                    (start_observed()?, &mut observed)
                } else {
                    (Server::start(Peer::Plain)?, &mut unobserved)
                };
                values.push(measure.run(&server, seconds)?.values[0]);
            }
        }
        progress("");
        extras.push(Extra {
            what,
            ours: median(observed).context("no rounds")?,
            bare: median(unobserved).map(|value| ("not observed", value)),
            unit: DELIVERIES.unit,
        });
    }
    Ok(extras)
}

/// Starts a server, and a thread that asks for samples until the server ends.
fn start_observed() -> Result<Server> {
    let name = format!("chat-bench-{:016x}", getrandom::u64()?);
    let listener = os::listen_locally(OsStr::new(&name))?;
    let server = Server::start_with(Peer::Plain, &["--sample-socket", &name])?;
    let mut connection = listener.accept()?.0;
    let mut reports = BufReader::new(connection.try_clone()?).lines();
    let mut ask = move || {
        writeln!(connection, "{ASK}")?;
        let report = reports.next().context("the server has ended")??;
        Ok::<Report, anyhow::Error>(serde_json::from_str(&report)?)
    };
    // An error would mean that the server is not observed.
    ask()?;
    thread::spawn(move || {
        while ask().is_ok() {
            thread::sleep(INTERVAL);
        }
    });
    Ok(server)
}
