//! Finds the programs that a session starts.

use std::env;
use std::path::PathBuf;

use anyhow::{Result, anyhow};

/// The paths of the programs that a session starts.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) server: PathBuf,
    pub(crate) client: PathBuf,
}

impl Programs {
    /// Finds all programs.
    ///
    /// # Errors
    /// One of the programs is missing.
    pub(crate) fn find() -> Result<Self> {
        Ok(Self {
            server: find("chat-server")?,
            client: find("chat-client")?,
        })
    }
}

/// Finds a program in the directory of `chat-run`, or on PATH.
fn find(name: &str) -> Result<PathBuf> {
    let sibling = chat_run()
        .map(|own| own.with_file_name(name))
        .filter(|path| path.is_file());
    sibling.or_else(|| which::which(name).ok()).ok_or_else(|| {
        anyhow!(
            "cannot find {name}, neither beside chat-run nor on PATH; \
             build it with `cargo build --release`"
        )
    })
}

/// The path of the running `chat-run`. Without /proc, looks up the name on the command line as a
/// shell does.
pub(crate) fn chat_run() -> Option<PathBuf> {
    let from_command_line = || which::which(env::args_os().next()?).ok();
    env::current_exe().ok().or_else(from_command_line)
}
