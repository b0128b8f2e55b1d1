//! All that is said of the protocol by the tests of these files, once more, through a proxy that sends each byte alone, both ways.

#![cfg(unix)]
#![allow(
    clippy::duplicate_mod,
    reason = "each of these files is a crate as well, and brings what it needs"
)]

#[path = "client.rs"]
mod client;
#[path = "login.rs"]
mod login;
#[path = "netcat.rs"]
mod netcat;
#[path = "resume.rs"]
mod resume;
#[path = "room.rs"]
mod room;
