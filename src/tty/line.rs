//! A colored line that can be wrapped into rows.

use std::io::{self, Write};
use std::ops::Range;

use termcolor::{Buffer, ColorSpec, HyperlinkSpec, WriteColor};

use crate::protocol::text::clean;
use crate::tty::log_wrap;
use crate::tty::style;
use crate::tty::wrap;

/// Maximum length of a hyperlink's address, in bytes. A longer address gets no hyperlink, because
/// each row that shows a part of it would repeat all of it. On a narrow screen, that would multiply
/// the output.
const MAX_LINK: usize = 512;

/// A line of output with its colors.
#[derive(Clone, Debug, Default)]
pub struct Line {
    text: String,
    /// The styles of the parts of the text, each with the byte offset at which it starts.
    styles: Vec<(usize, ColorSpec)>,
    /// Indent of all rows except the first, in columns.
    indent: usize,
    /// Whether text that has no color of its own is gray.
    pub is_dim: bool,
    /// Whether this line is open: a longer version may replace it.
    pub is_open: bool,
    /// Whether this line is a longer version of the line before it, and replaces that line.
    pub replaces: bool,
}

impl Line {
    /// Creates a line from the text and colors that `write` writes to it.
    pub fn new(indent: usize, write: impl FnOnce(&mut Self) -> io::Result<()>) -> Self {
        let mut line = Self {
            indent,
            ..Self::default()
        };
        // Ignore the result, because writing to memory can't fail.
        let _ = write(&mut line);
        line
    }

    /// Creates a line without colors.
    pub fn plain(text: &str) -> Self {
        Self::new(2, |line| line.write_all(clean(text).as_bytes()))
    }

    /// Parses a log line, in which escape sequences set the colors. All rows except the first are
    /// indented to the column of the text after the time.
    pub(crate) fn of_log(line: &str) -> Self {
        let (text, sequences) = log_wrap::split(line);
        let mut style = ColorSpec::new();
        let mut styles = vec![(0, style.clone())];
        for (at, sequence) in sequences {
            style::apply_sgr(sequence, &mut style);
            styles.push((at, style.clone()));
        }
        Self {
            indent: log_wrap::indent(&text),
            text,
            styles,
            ..Self::default()
        }
    }

    /// Removes the colors, but keeps bold text. Gray text becomes dim.
    pub fn remove_colors(&mut self) {
        for (_, style) in &mut self.styles {
            let is_bold = style.bold();
            let is_dim = *style == style::quiet() || self.is_dim && !is_bold;
            *style = ColorSpec::new();
            style.set_bold(is_bold).set_dimmed(is_dim);
        }
        self.is_dim = false;
    }

    pub fn byte_len(&self) -> usize {
        self.text.len()
    }

    /// The rows of the line when it is wrapped at `columns` columns, without colors.
    #[cfg(test)]
    pub fn rows(&self, columns: usize) -> Vec<String> {
        self.painted(columns, &mut Buffer::no_color())
    }

    /// The rows of the line when it is wrapped at `columns` columns, with escape sequences for
    /// their colors. Each part of a link that is split between rows is a hyperlink to the whole
    /// link. `buffer` is used for formatting.
    pub fn painted(&self, columns: usize, buffer: &mut Buffer) -> Vec<String> {
        let links: Vec<Range<usize>> = wrap::links(&self.text)
            .filter(|link| link.len() <= MAX_LINK)
            .collect();
        let painted = self.cut(columns).map(|(indent, row)| {
            buffer.clear();
            let end = row.start + self.text[row.clone()].trim_end().len();
            // Ignore the result, because writing to memory can't fail.
            let _ = self.paint_row(row.start..end, &links, buffer);
            let painted = String::from_utf8_lossy(buffer.as_slice()).replace(wrap::NO_BREAK, " ");
            format!("{:indent$}{painted}", "")
        });
        painted.collect()
    }

    fn paint_row(
        &self,
        row: Range<usize>,
        links: &[Range<usize>],
        out: &mut Buffer,
    ) -> io::Result<()> {
        let mut at = row.start;
        for link in links {
            let part = link.start.max(row.start)..link.end.min(row.end);
            // A link that is in one row needs no escape sequences: terminals recognize it.
            if part.is_empty() || part == *link {
                continue;
            }
            self.paint(at, part.start, out)?;
            out.set_hyperlink(&HyperlinkSpec::open(self.text[link.clone()].as_bytes()))?;
            self.paint(part.start, part.end, out)?;
            out.set_hyperlink(&HyperlinkSpec::close())?;
            at = part.end;
        }
        self.paint(at, row.end, out)
    }

    /// Writes the whole line to a stream, without wrapping it, and without a line ending.
    pub fn write_to(&self, out: &mut dyn WriteColor) -> io::Result<()> {
        self.paint(0, self.text.len(), out)
    }

    /// The number of rows if the line is wrapped at `columns`.
    pub fn height(&self, columns: usize) -> usize {
        self.cut(columns).count()
    }

    /// The width in columns of the widest row if the line is wrapped at `columns`.
    pub fn widest(&self, columns: usize) -> usize {
        let widths = self
            .cut(columns)
            .map(|(indent, row)| indent + wrap::width(self.text[row].trim_end()));
        widths.max().unwrap_or(0)
    }

    /// The rows as byte ranges of the text, each with its indent in columns.
    fn cut(&self, columns: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
        let indent = self.indent.min(columns / 3);
        let rows = wrap::at_words(&self.text, columns, indent).into_iter();
        let indents = std::iter::once(0).chain(std::iter::repeat(indent));
        indents.zip(rows)
    }

    fn paint(&self, start: usize, end: usize, out: &mut dyn WriteColor) -> io::Result<()> {
        let ends = self.styles.iter().skip(1).map(|(from, _)| *from);
        for ((from, style), until) in self.styles.iter().zip(ends.chain([self.text.len()])) {
            let (from, until) = ((*from).max(start), until.min(end));
            if from >= until {
                continue;
            }
            let style = if self.is_dim && style.is_none() {
                style::quiet()
            } else {
                style.clone()
            };
            if style.is_none() {
                out.write_all(&self.text.as_bytes()[from..until])?;
            } else {
                out.set_color(&style)?;
                out.write_all(&self.text.as_bytes()[from..until])?;
                out.reset()?;
            }
        }
        Ok(())
    }
}

/// Appends text in the style that was set last.
impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.styles.is_empty() {
            self.styles.push((0, ColorSpec::new()));
        }
        self.text.push_str(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl WriteColor for Line {
    fn supports_color(&self) -> bool {
        true
    }

    fn set_color(&mut self, style: &ColorSpec) -> io::Result<()> {
        self.styles.push((self.text.len(), style.clone()));
        Ok(())
    }

    fn reset(&mut self) -> io::Result<()> {
        self.set_color(&ColorSpec::new())
    }
}
