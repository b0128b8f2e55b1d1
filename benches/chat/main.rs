//! Measures chat-server beside other servers, in one run: each in turn gets the same messages from the same clients, several
//! times over, and the median counts. So what slows the machine for a while slows all of them.
//!
//! `cargo bench` runs all of it; `cargo bench -- --help` tells how to run a part. It takes Linux: epoll and `/proc`.

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
fn main() -> anyhow::Result<()> {
    linux::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {}
