//! Earlier states of the line being edited, for undo.

use crate::tty::editor::buffer::Buffer;

/// Maximum number of changes that can be undone. Each change keeps a copy of the line.
const MAX_CHANGES: usize = 100;

/// Copies of the line from before each change, the oldest first.
#[derive(Default)]
pub(crate) struct Undo {
    before: Vec<Buffer>,
    /// Whether the last change was a typed character. Characters that follow directly belong to the
    /// same change, so that a single undo removes all of them.
    is_typing: bool,
}

impl Undo {
    /// Records that a key changed the line from `before` to `after`. Ignores a key that changed
    /// nothing. `types` is true if the key typed a character.
    pub(crate) fn record(&mut self, before: Buffer, after: &Buffer, types: bool) {
        let has_changed = before.text() != after.text();
        if has_changed && !(types && self.is_typing) {
            if self.before.len() == MAX_CHANGES {
                self.before.remove(0);
            }
            self.before.push(before);
        }
        self.is_typing = has_changed && types;
    }

    /// Removes and returns the line as it was before the last change.
    pub(crate) fn undo(&mut self) -> Option<Buffer> {
        self.is_typing = false;
        self.before.pop()
    }
}
