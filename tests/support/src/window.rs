//! The client on a terminal of any size, and its screen without what differs in every run.

use std::process::Command;

use crate::screen::Screen;
use crate::{Server, bin, program};

/// A command that runs `chat-client` against this server.
pub fn chat_client(server: &Server, args: &[&str]) -> Command {
    let mut command = program(&bin("chat-client"));
    command.arg(server.address.to_string()).args(args);
    command
}

/// The client of `ala`, on a terminal of this size, who has been let in.
#[track_caller]
pub fn ala(server: &Server, columns: u16, rows: u16) -> Screen {
    let ala = Screen::start(&chat_client(server, &["-n", "ala"]), columns, rows);
    ala.expect("* welcome, ala");
    ala
}

/// A screen with each time of day as `10:00`.
pub fn at_ten(text: &str) -> String {
    let mut screen = String::new();
    for line in text.split_inclusive('\n') {
        let bytes = line.as_bytes();
        let is_time = bytes.len() > 5
            && bytes[2] == b':'
            && [0, 1, 3, 4].iter().all(|at| bytes[*at].is_ascii_digit());
        screen += if is_time { "10:00" } else { "" };
        screen += if is_time { &line[5..] } else { line };
    }
    screen
}
