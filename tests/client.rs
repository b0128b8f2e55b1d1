//! The client as a user and a script meet it: in a pipe, on a terminal, against the real server and against bad ones.

#![allow(
    clippy::unwrap_used,
    reason = "as in tests, which these functions are parts of"
)]

#[path = "support/client.rs"]
mod helpers;
#[path = "client/pipe.rs"]
mod pipe;
#[cfg(unix)]
#[path = "client/session.rs"]
mod session;
mod support;
#[path = "client/terminal.rs"]
mod terminal;
#[path = "client/untrusted.rs"]
mod untrusted;

use helpers::at_ten;
use support::Exit;

/// Fails unless the client ended so.
#[track_caller]
fn assert_exit(exit: &Exit, code: i32, stdout: &str, stderr: &str) {
    assert_eq!(at_ten(&exit.stdout), stdout, "stdout of {exit:#?}");
    assert_eq!(at_ten(&exit.stderr), stderr, "stderr of {exit:#?}");
    assert_eq!(exit.status.code(), Some(code), "{exit:#?}");
}
