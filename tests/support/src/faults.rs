//! A preloaded library that makes a program's calls fail or shortens its connection timeouts.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

use crate::{Server, run};

/// Directory with the library, the calls to fail, and the call counts.
pub struct Faults(TempDir);

impl Faults {
    /// Builds the library with the C compiler that Rust uses to link.
    #[track_caller]
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-Wall", "-Werror", "-o"]);
        compiler.arg(directory.path().join("faults.so"));
        compiler.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/faults.c"));
        run(compiler).expect_code(0);
        Self(directory)
    }

    /// Preloads the library into `command`, so that its calls can be made to fail.
    pub fn in_command(&self, mut command: Command) -> Command {
        command.env("FAULTS", self.0.path());
        command.env("LD_PRELOAD", self.0.path().join("faults.so"));
        command
    }

    /// Starts a server whose calls can be made to fail.
    #[track_caller]
    pub fn server(&self, command: Command) -> Server {
        Server::start_as(self.in_command(command))
    }

    /// Divides the times after which `command`'s connections give up a vanished peer by `factor`.
    pub fn speed_up(&self, command: &mut Command, factor: u32) {
        command.env("SPEEDUP", factor.to_string());
        command.env("LD_PRELOAD", self.0.path().join("faults.so"));
    }

    /// Makes this call fail from now on.
    pub fn fail(&self, call: &str) {
        self.fail_after(call, 0);
    }

    /// Makes this call fail from now on, except for the program's first `count` calls.
    pub fn fail_after(&self, call: &str, count: usize) {
        fs::write(self.0.path().join(call), vec![b'.'; count]).expect("a file can be made");
    }

    /// Lets this call succeed again.
    pub fn stop_failing(&self, call: &str) {
        fs::remove_file(self.0.path().join(call)).expect("it was made to fail");
    }

    /// Number of times this call was made.
    pub fn calls(&self, call: &str) -> u64 {
        let calls = self.0.path().join(format!("{call}.calls"));
        fs::metadata(calls).map_or(0, |calls| calls.len())
    }
}
