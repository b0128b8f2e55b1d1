//! The history: earlier lines, which Up and Down show again and Ctrl+R searches.

/// Maximum number of lines in a history. Beyond it, each new line replaces the oldest.
pub(crate) const MAX_LINES: usize = 1000;

/// Function that saves a new line.
type Save = Box<dyn FnMut(&str) + Send>;

/// The lines submitted earlier, the oldest first.
#[derive(Default)]
pub(crate) struct History {
    lines: Vec<String>,
    /// Function that is called with each new line.
    save: Option<Save>,
}

impl History {
    /// Creates a history that starts with `lines` and passes each new line to `save`.
    pub(crate) fn new(lines: Vec<String>, save: impl FnMut(&str) + Send + 'static) -> Self {
        Self {
            lines,
            save: Some(Box::new(save)),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }

    /// The line at `index`, or an empty line if `index` is past the end.
    pub(crate) fn line(&self, index: usize) -> &str {
        self.lines.get(index).map_or("", String::as_str)
    }

    /// The index of the newest line that contains `part`, among the lines before index `end`.
    pub(crate) fn find(&self, part: &str, end: usize) -> Option<usize> {
        let lines = self.lines.iter().take(end);
        lines.into_iter().rposition(|line| line.contains(part))
    }

    /// Adds a line, unless the line is blank or equal to the newest line.
    pub(crate) fn push(&mut self, line: &str) {
        if line.trim().is_empty() || self.lines.last().is_some_and(|last| last == line) {
            return;
        }
        if self.lines.len() == MAX_LINES {
            self.lines.remove(0);
        }
        self.lines.push(line.to_owned());
        if let Some(save) = &mut self.save {
            save(line);
        }
    }
}
