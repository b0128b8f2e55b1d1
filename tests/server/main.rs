//! Tests of the server: the protocol, the room, the console, and the history file.

#![cfg(test)] // So that Clippy treats the helpers as test code.

mod console;
mod guessing;
mod history;
mod identity;
mod log_file;
mod login;
mod loss;
mod netcat;
#[cfg(target_os = "linux")]
mod observed;
mod operator;
mod ordering;
mod protocol;
mod resume;
mod room;
mod telnet;
mod text_and_names;

#[test]
fn the_server_tests_also_pass_with_one_byte_per_packet() {
    support::byte_by_byte::run_again(&["login", "netcat", "resume", "room", "telnet"]);
}
