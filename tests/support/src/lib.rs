//! What the tests are written in: programs that run, servers among them, and clients that speak line by line.
//!
//! A test reads like a script: `ala.send("hi"); ola.expect("ala: hi");`. Every wait has a deadline, and what was said
//! until then is printed when a test fails. Whatever was started ends with the test, also where it fails.

pub mod byte_by_byte;
pub mod client;
mod connection;
#[cfg(target_os = "linux")]
pub mod desktop;
pub mod emulation;
pub mod faults;
pub mod hostile;
#[cfg(target_os = "linux")]
pub mod place;
mod program;
pub mod proxy;
pub mod screen;
mod server;
#[cfg(target_os = "linux")]
pub mod session;
#[cfg(target_os = "linux")]
pub mod shell;
mod terminal;
#[cfg(target_os = "linux")]
pub mod victim;
pub mod wait;
pub mod window;

use std::fmt::Write as _;

pub use connection::Client;
#[cfg(target_os = "linux")]
pub use program::memory;
pub use program::{Exit, Program, after, bin, chat_server, hearing_hangups, program, run};
pub use rustix::process::Signal;
pub use serde_json::{Value, json};
pub use server::Server;
pub use terminal::Terminal;
pub use wait::{DEADLINE, wait_until};

use program::Capture;

/// How many lines of a transcript are printed, first and last: a load test says thousands.
const SHOWN: usize = 40;

/// How much of a line is printed, in characters.
const WIDTH: usize = 120;

/// The greeting of a server without a password.
pub const GREETING: &str = concat!(
    "* chat-server ",
    env!("CARGO_PKG_VERSION"),
    ": type your name"
);

/// The beginning of a long line.
fn cut(line: &str) -> String {
    match line.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{}… ({} bytes)", &line[..end], line.len()),
        None => line.to_owned(),
    }
}

/// The beginning and the end of a long list of lines.
fn excerpt(lines: &[impl AsRef<str>]) -> String {
    let mut text = String::new();
    for (at, line) in lines.iter().enumerate() {
        if at == SHOWN && lines.len() > 2 * SHOWN {
            let _ = writeln!(text, "    … {} lines …", lines.len() - 2 * SHOWN);
        }
        if at < SHOWN || at + SHOWN >= lines.len() {
            let _ = writeln!(text, "    {}", cut(line.as_ref()));
        }
    }
    text
}
