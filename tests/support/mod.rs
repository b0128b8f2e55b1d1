//! What the tests are written in: programs that run, servers among them, and clients that speak line by line.
//!
//! A test reads like a script: `ala.send("hi"); ola.expect("ala: hi");`. Every wait has a deadline, and what was said
//! until then is printed when a test fails. Whatever was started ends with the test, also where it fails.

#![allow(
    dead_code,
    unused_imports,
    reason = "each test file is a crate of its own, and none uses all of this"
)]
#![allow(
    clippy::print_stderr,
    reason = "the transcript of a test that failed; the test harness shows it with that test"
)]

mod connection;
mod program;
pub(crate) mod proxy;
mod server;
mod terminal;
pub(crate) mod wait;

use std::fmt::Write as _;

pub(crate) use connection::Client;
#[cfg(target_os = "linux")]
pub(crate) use program::memory;
pub(crate) use program::{
    Capture, Exit, Program, after, chat_server, hearing_hangups, program, run,
};
pub(crate) use rustix::process::Signal;
pub(crate) use serde_json::{Value, json};
pub(crate) use server::{Server, taking_apart};
pub(crate) use terminal::Terminal;
pub(crate) use wait::{DEADLINE, wait_until};

/// How many lines of a transcript are printed, first and last: a load test says thousands.
const SHOWN: usize = 40;

/// How much of a line is printed, in characters.
const WIDTH: usize = 120;

/// The greeting of a server without a password.
pub(crate) const GREETING: &str = concat!(
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
