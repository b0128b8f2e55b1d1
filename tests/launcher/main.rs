//! Sessions of the launcher: without windows, in panes, in tmux, and in each terminal emulator.

#![cfg(target_os = "linux")]
#![cfg(test)] // Helpers are test code as well, for Clippy.

mod console;
mod hostile;
mod job_control;
mod panes;
mod pictures;
mod stages;
mod tmux;
mod windowless;
mod windows;
