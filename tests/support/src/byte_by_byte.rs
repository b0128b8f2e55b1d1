//! Running tests a second time, with a proxy in front of each server that sends every byte alone.

use std::env;
use std::net::SocketAddr;
use std::process::Command;

use crate::proxy::{Plan, Proxy};

/// The environment variable that puts the proxy in front of each server. Set it to debug one test:
/// `CHAT_TEST_BYTE_BY_BYTE=1 cargo test --test server login::`.
const VARIABLE: &str = "CHAT_TEST_BYTE_BY_BYTE";

/// The proxy in front of `server` in the second run; none in the first.
#[track_caller]
pub(crate) fn proxy(server: SocketAddr) -> Option<Proxy> {
    env::var_os(VARIABLE).map(|_| Proxy::start(server, Vec::new(), Plan::apart()))
}

/// Runs the tests of these modules of the calling test program again, byte by byte.
///
/// # Panics
/// A test failed, or there was none; shows the output of the tests.
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
