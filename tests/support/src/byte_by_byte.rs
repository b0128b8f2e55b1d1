//! Second run of a module's tests, with a proxy that sends every byte on its own.

use std::env;
use std::net::SocketAddr;
use std::process::Command;

use crate::proxy::{Plan, Proxy};

/// Environment variable that puts the proxy in front of each server. Set it to debug one test:
/// `CHAT_TEST_BYTE_BY_BYTE=1 cargo test --test server login::`.
const VARIABLE: &str = "CHAT_TEST_BYTE_BY_BYTE";

/// Starts the proxy in front of `server` in the second run; `None` in the first.
#[track_caller]
pub(crate) fn proxy(server: SocketAddr) -> Option<Proxy> {
    env::var_os(VARIABLE).map(|_| Proxy::start(server, Vec::new(), Plan::single_bytes()))
}

/// Runs the tests of these modules of the calling test program again, byte by byte.
///
/// # Panics
/// Panics with the tests' output if a test fails or none matches.
#[track_caller]
pub fn run_again(modules: &[&str]) {
    let mut tests = Command::new(env::current_exe().expect("a test program has a path"));
    let modules = modules.iter().map(|module| format!("{module}::"));
    let output = tests
        .args(modules)
        .env(VARIABLE, "1")
        .output()
        .expect("a test program starts");
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && !shown.contains("running 0 tests"),
        "{shown}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
