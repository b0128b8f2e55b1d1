//! Measures chat-server next to other servers, in one run: each in turn gets the same messages from
//! the same clients, several times, and the median counts. So whatever slows the machine for a
//! while slows all of them.
//!
//! `cargo bench` runs everything; `cargo bench -- --help` shows how to run a part. Requires Linux:
//! epoll and `/proc`.

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
fn main() -> anyhow::Result<()> {
    linux::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {}
