//! `run.sh`, the archive built by `run.sh dist`, and the README's examples.

#![cfg(target_os = "linux")]
#![cfg(test)] // Helpers are test code as well, for Clippy.

mod dist;
mod readme;
mod script;
