//! A library that makes calls of a program fail, as they do on a machine that has run out of something, or time pass faster for it.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

use crate::{Server, run};

/// The calls that fail, and how often each was made.
pub struct Faults(TempDir);

impl Faults {
    /// Builds the library, with the C compiler that Rust links by.
    #[track_caller]
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder for temporary files");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-Wall", "-Werror", "-o"]);
        compiler.arg(folder.path().join("faults.so"));
        compiler.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/faults.c"));
        run(compiler).expect_code(0);
        Self(folder)
    }

    /// `command`, in which calls can be made to fail.
    pub fn in_command(&self, mut command: Command) -> Command {
        command.env("FAULTS", self.0.path());
        command.env("LD_PRELOAD", self.0.path().join("faults.so"));
        command
    }

    /// A server in which calls can be made to fail.
    #[track_caller]
    pub fn server(&self, command: Command) -> Server {
        Server::start_as(self.in_command(command))
    }

    /// Has the connections of what `command` starts find out so many times as fast as usual that their peers have vanished.
    pub fn hasten(&self, command: &mut Command, haste: u32) {
        command.env("HASTE", haste.to_string());
        command.env("LD_PRELOAD", self.0.path().join("faults.so"));
    }

    /// From now on this call fails.
    pub fn begin(&self, call: &str) {
        self.begin_after(call, 0);
    }

    /// From now on this call fails, but for the first `count` of all.
    pub fn begin_after(&self, call: &str, count: usize) {
        fs::write(self.0.path().join(call), vec![b'.'; count]).expect("a file can be made");
    }

    /// It does not fail any more.
    pub fn end(&self, call: &str) {
        fs::remove_file(self.0.path().join(call)).expect("it has begun");
    }

    /// How often it was made.
    pub fn calls(&self, call: &str) -> u64 {
        let calls = self.0.path().join(format!("{call}.calls"));
        fs::metadata(calls).map_or(0, |calls| calls.len())
    }
}
