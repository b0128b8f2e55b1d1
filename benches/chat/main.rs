//! Compares chat-server with other servers in one run. The servers take turns: in each round, each
//! of them gets the same messages from the same clients. The result is the median of all rounds. So
//! anything that slows the machine down for a while affects all servers.
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
