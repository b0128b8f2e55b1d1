//! What the line that is being typed was before, so that a change can be taken back.

use crate::client::ui::editor::buffer::Buffer;

/// Changes that can be taken back, the last ones. Each is as long as a line may be.
const MAX_CHANGES: usize = 100;

/// The line before each change, the first one first.
#[derive(Default)]
pub(crate) struct Undo {
    before: Vec<Buffer>,
    /// The last change was a typed character: those that follow it are a part of that change.
    is_typing: bool,
}

impl Undo {
    /// Learns that a key that `types` or not made `after` of `before`, perhaps the same.
    pub(crate) fn learn(&mut self, before: Buffer, after: &Buffer, types: bool) {
        let has_changed = before.text() != after.text();
        if has_changed && !(types && self.is_typing) {
            if self.before.len() == MAX_CHANGES {
                self.before.remove(0);
            }
            self.before.push(before);
        }
        self.is_typing = has_changed && types;
    }

    /// What the line was before its last change, which is forgotten.
    pub(crate) fn take_back(&mut self) -> Option<Buffer> {
        self.is_typing = false;
        self.before.pop()
    }
}
