//! Tab completion in the launcher's console.

use crate::tty::console;
use crate::tty::editor::Completion;

/// The console's commands: the server's, and `/open`.
const COMMANDS: [&str; 6] = ["/help", "/kick", "/online", "/open", "/quit", "/say"];

/// Completes the word at the end of `before`. `names` are the members known here.
pub(crate) fn complete(before: &str, names: &[String]) -> Option<Completion> {
    console::complete(before, &COMMANDS, names)
}
