//! Test support: running programs, servers, and clients that send and expect lines.
//!
//! A test reads like a script: `ala.send("hi"); ola.expect("ala: hi");`. Every wait has a deadline,
//! and a failing test prints the transcripts up to then. Every process that a test starts ends with
//! the test, also when it fails.

pub mod byte_by_byte;
pub mod client;
mod connection;
#[cfg(target_os = "linux")]
pub mod desktop;
pub mod emulation;
pub mod faults;
pub mod hostile;
#[cfg(target_os = "linux")]
pub mod observer;
mod program;
pub mod proxy;
#[cfg(target_os = "linux")]
pub mod sandbox;
pub mod screen;
mod server;
#[cfg(target_os = "linux")]
pub mod session;
#[cfg(target_os = "linux")]
pub mod shell;
mod terminal;
#[cfg(target_os = "linux")]
pub mod test_client;
pub mod wait;

use std::fmt::Write as _;

pub use connection::Client;
#[cfg(target_os = "linux")]
pub use program::memory;
pub use program::{Exit, Program, bin, chat_server, program, run, with_default_sighup, with_setup};
pub use rustix::process::Signal;
pub use serde_json::{Value, json};
pub use server::{Server, reserved_port};
pub use terminal::Terminal;
pub use wait::{DEADLINE, wait_until};

use program::Capture;

/// Number of transcript lines to print from each end: a load test sends thousands.
const SHOWN: usize = 40;

/// Number of characters of a line to print.
const WIDTH: usize = 120;

/// Greeting of a server without a password.
pub const GREETING: &str = concat!(
    "* chat-server ",
    env!("CARGO_PKG_VERSION"),
    ": type your name"
);

/// Truncates a long line.
fn truncate(line: &str) -> String {
    match line.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{}… ({} bytes)", &line[..end], line.len()),
        None => line.to_owned(),
    }
}

/// The first and last lines of a long list, indented for printing.
fn excerpt(lines: &[impl AsRef<str>]) -> String {
    let mut text = String::new();
    for (at, line) in lines.iter().enumerate() {
        if at == SHOWN && lines.len() > 2 * SHOWN {
            let _ = writeln!(text, "    … {} lines …", lines.len() - 2 * SHOWN);
        }
        if at < SHOWN || at + SHOWN >= lines.len() {
            let _ = writeln!(text, "    {}", truncate(line.as_ref()));
        }
    }
    text
}
