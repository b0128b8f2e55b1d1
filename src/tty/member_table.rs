//! Members in columns, as many as fit beside each other.

use std::io;

use termcolor::WriteColor;

use crate::protocol::event::Listed;
use crate::tty::name_colors::NameColors;
use crate::tty::style;
use crate::tty::wrap;

/// Writes the members as one line, without a line ending. All members have the same width, so the
/// line wraps into columns: each member is padded with no-break spaces, at which no row ends.
pub(crate) fn write(
    out: &mut dyn WriteColor,
    members: &[Listed],
    colors: &NameColors,
) -> io::Result<()> {
    let group = |member: &Listed| match &member.group {
        Some(group) => format!("{}({group})", wrap::NO_BREAK),
        None => String::new(),
    };
    let width = |member: &Listed| wrap::width(member.name.as_str()) + wrap::width(&group(member));
    let cell = members.iter().map(width).max().unwrap_or_default();
    for (index, member) in members.iter().enumerate() {
        if index > 0 {
            out.write_all(b"  ")?;
        }
        let color = colors.of(member.id, &member.name);
        style::paint(out, color, member.name.as_str())?;
        let padding = wrap::NO_BREAK.repeat(cell - width(member));
        write!(out, "{}{padding}", group(member))?;
    }
    Ok(())
}
