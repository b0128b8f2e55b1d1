//! Tab completion in the launcher's console.

use crate::protocol::commands;
use crate::tty::console;
use crate::tty::editor::Completion;

/// Completes the word at the end of `before`. `names` are the members known here.
pub(crate) fn complete(before: &str, names: &[String]) -> Option<Completion> {
    console::complete(before, commands::of_console(), names)
}
