//! The server: the protocol, the room, its console, and the history file.

#![cfg(test)] // Helpers are test code as well, for Clippy.

mod console;
mod history;
mod identity;
mod login;
mod loss;
mod netcat;
mod one_order;
mod operator;
mod protocol;
mod resume;
mod room;
mod text_and_names;

#[test]
fn the_server_gets_the_same_lines_however_the_stream_is_cut() {
    support::byte_by_byte::run_again(&["login", "netcat", "resume", "room"]);
}
