//! The client, in a pipe and on a terminal, against the real server and against hostile ones.

#![cfg(test)] // Helpers are test code as well, for Clippy.

mod colors;
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
mod typed_lines;
mod typing;
mod untrusted;

use support::Exit;
use support::client::mask_times;

/// Checks a client's exit code and output, with each message's time replaced by 10:00.
#[track_caller]
fn assert_exit(exit: &Exit, code: i32, stdout: &str, stderr: &str) {
    assert_eq!(mask_times(&exit.stdout), stdout, "stdout of {exit:#?}");
    assert_eq!(mask_times(&exit.stderr), stderr, "stderr of {exit:#?}");
    assert_eq!(exit.status.code(), Some(code), "{exit:#?}");
}

#[test]
fn the_client_tests_also_pass_with_one_byte_per_packet() {
    support::byte_by_byte::run_again(&["pipe", "session", "terminal", "untrusted"]);
}
