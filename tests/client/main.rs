//! The client as a user and a script meet it: in a pipe, on a terminal, against the real server and against bad ones.

#![cfg(test)] // Helpers are test code as well, for Clippy.

mod cut_short;
mod evil_server;
mod parting;
mod pipe;
mod reading;
mod reconnect;
mod resize;
mod screens;
mod session;
mod terminal;
mod typing;
mod untrusted;

use support::Exit;
use support::client::at_ten;

/// Fails unless the client ended so.
#[track_caller]
fn assert_exit(exit: &Exit, code: i32, stdout: &str, stderr: &str) {
    assert_eq!(at_ten(&exit.stdout), stdout, "stdout of {exit:#?}");
    assert_eq!(at_ten(&exit.stderr), stderr, "stderr of {exit:#?}");
    assert_eq!(exit.status.code(), Some(code), "{exit:#?}");
}

#[test]
fn the_client_gets_the_same_lines_however_the_stream_is_cut() {
    support::byte_by_byte::run_again(&["pipe", "session", "terminal", "untrusted"]);
}
