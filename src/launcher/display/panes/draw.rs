//! What a frame looks like: panes with their titles, the status line, and the list of keys.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::border;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Padding, Paragraph, Widget};

use crate::launcher::display::panes::Look;
use crate::launcher::display::panes::keys;
use crate::launcher::display::panes::layout::{self, Tile};
use crate::launcher::display::panes::pane::Pane;
use crate::launcher::display::panes::state::{SERVER, State};
use crate::tty::wrap;

/// From so many columns on, a pane says in words how to get back to its last line.
const WIDE: u16 = 60;

/// Of the focused pane. It can be read on a dark and on a light background.
const ACCENT: Color = Color::Indexed(33);

/// A frame where the locale has nothing but ASCII.
const ASCII: border::Set = border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};

/// The same, of the focused pane.
const ASCII_FOCUSED: border::Set = border::Set {
    top_left: "#",
    top_right: "#",
    bottom_left: "#",
    bottom_right: "#",
    vertical_left: "#",
    vertical_right: "#",
    horizontal_top: "=",
    horizontal_bottom: "=",
};

impl Look {
    /// Text of ours as it can be shown here.
    fn text(self, text: &str) -> String {
        if self.unicode {
            return text.to_owned();
        }
        let mut plain = text.to_owned();
        for (mark, ascii) in [("▶", ">"), ("·", "-"), ("↑", "^"), ("•", "*"), ("…", "..")]
        {
            plain = plain.replace(mark, ascii);
        }
        plain
    }

    fn frame(self, is_focused: bool) -> border::Set<'static> {
        match (self.unicode, is_focused) {
            (true, true) => border::THICK,
            (true, false) => border::ROUNDED,
            (false, true) => ASCII_FOCUSED,
            (false, false) => ASCII,
        }
    }
}

/// Draws all of it; gives where the cursor is, where it is to be seen. Every pane has the size of its place.
pub(crate) fn draw(state: &mut State, buffer: &mut Buffer) -> Option<Position> {
    let (area, status) = layout::split(*buffer.area());
    let tiles = state.tiles(area);
    let mut cursor = None;
    for tile in &tiles {
        let in_pane = draw_pane(state, *tile, buffer);
        if tile.pane == state.focus {
            cursor = in_pane;
        }
    }
    draw_status(state, &tiles, status, buffer);
    if state.help {
        draw_help(state.look, area, buffer);
        cursor = None;
    }
    if !state.look.coloured {
        for cell in &mut buffer.content {
            (cell.fg, cell.bg) = (Color::Reset, Color::Reset);
        }
    }
    cursor
}

fn draw_pane(state: &State, tile: Tile, buffer: &mut Buffer) -> Option<Position> {
    let look = state.look;
    let is_focused = tile.pane == state.focus;
    let pane = state.panes.get(tile.pane)?;
    let mut inner = layout::inside(tile.area);
    let mut inside = pane.lock();
    if inner != tile.area {
        let style = if is_focused {
            Style::new().fg(ACCENT).add_modifier(Modifier::BOLD)
        } else {
            Style::new().add_modifier(Modifier::DIM)
        };
        let mark = match (is_focused, inside.calls) {
            (true, _) => "▶ ",
            (false, true) => "! ",
            (false, false) => "",
        };
        let scrolled = inside.emulation.scrolled();
        let note = match (scrolled, tile.area.width) {
            (0, _) => String::new(),
            (_, WIDE..) => format!(" ↑ {scrolled} · End: last line "),
            (_, _) => format!(" ↑ {scrolled} · End "),
        };
        // Beside the corners, and a blank at each end.
        let taken = 4 + wrap::width(mark) + wrap::width(&note);
        let room = usize::from(tile.area.width).saturating_sub(taken);
        let title = shortened(pane.titles(&inside), room);
        let title = look.text(&format!(" {mark}{title} "));
        // The title is read, the frame is not.
        let mut title_style = style.remove_modifier(Modifier::DIM);
        if inside.calls {
            title_style = title_style.fg(Color::Yellow).add_modifier(Modifier::BOLD);
        }
        let mut block = Block::bordered()
            .border_set(look.frame(is_focused))
            .border_style(style)
            .title(Span::styled(title, title_style));
        if !note.is_empty() {
            let note = look.text(&note);
            block = block.title(Line::styled(note, title_style).right_aligned());
        }
        if pane.refuses() {
            let note = " does not read: keys are not taken ";
            block = block.title_bottom(Span::styled(note, title_style));
        }
        block.render(tile.area, buffer);
    }
    let mut typed_at = None;
    if tile.pane == SERVER {
        let (log, line) = layout::log_and_line(inner);
        inner = log;
        typed_at = draw_line(state, line, buffer);
    }
    let cursor = inside.emulation.draw(inner, buffer);
    if tile.pane == SERVER {
        typed_at
    } else {
        cursor
    }
}

/// The longest of these titles, which stand in that order, that fits in so many columns; or the beginning of the shortest.
fn shortened(titles: Vec<String>, room: usize) -> String {
    let fitting = titles.iter().find(|title| wrap::width(title) <= room);
    if let Some(title) = fitting {
        return title.clone();
    }
    let shortest = titles.last().map_or("", String::as_str);
    let rows = wrap::at_characters(shortest, room.saturating_sub(1).max(1));
    let start = rows.first().map_or(0, |row| row.end);
    format!("{}…", &shortest[..start])
}

/// The line that is typed in the server's pane; gives the cursor's place.
fn draw_line(state: &State, area: Rect, buffer: &mut Buffer) -> Option<Position> {
    if area.is_empty() {
        return None;
    }
    let row = state.line.row(area.width.into());
    let column = wrap::width(&row.label) + row.column;
    let line = Line::from(vec![
        Span::styled(row.label, Style::new().add_modifier(Modifier::DIM)),
        Span::raw(row.text),
    ]);
    line.render(area, buffer);
    let column = u16::try_from(column)
        .ok()
        .filter(|column| *column < area.width)?;
    Some(Position {
        x: area.x + column,
        y: area.y,
    })
}

/// The keys, as many as there is room for, and the panes that are not shown. Which keys are there depends on the width and on which panes are
/// shown alone, so that none comes and goes.
fn draw_status(state: &State, tiles: &[Tile], area: Rect, buffer: &mut Buffer) {
    let width = usize::from(area.width);
    let (hidden, widest) = hidden(state, tiles, width / 3);
    // In the order in which they stand, each with its rank among those that are to have room.
    let mut items = vec![
        (3, "Alt+1…9", "chat"),
        (5, "Alt+0", "server"),
        (4, "F6", "next"),
        (2, "F2", "zoom"),
        (6, "PgUp", "scroll"),
        (0, "F1", "keys"),
        (1, "Ctrl+C", "end"),
    ];
    let line = loop {
        let mut spans = Vec::new();
        for (_, key, what) in &items {
            spans.push(Span::styled(
                look_key(state.look, key),
                Style::new().add_modifier(Modifier::BOLD),
            ));
            spans.push(Span::styled(
                format!(" {what} "),
                Style::new().add_modifier(Modifier::DIM),
            ));
        }
        let line = Line::from(spans);
        if line.width() + widest <= width || items.len() == 1 {
            break line;
        }
        let last = items.iter().map(|(rank, _, _)| *rank).max();
        items.retain(|(rank, _, _)| Some(*rank) != last);
    };
    line.render(area, buffer);
    Line::raw(hidden).right_aligned().render(area, buffer);
}

fn look_key(look: Look, key: &str) -> String {
    format!(" {}", look.text(key))
}

/// What a hidden pane is marked with: it calls, something new came in it, or neither.
fn mark(pane: &Pane) -> &'static str {
    let inside = pane.lock();
    match (inside.calls, inside.emulation.is_unseen()) {
        (true, _) => "!",
        (false, true) => "•",
        (false, false) => "",
    }
}

/// The panes that are not shown, by their numbers, with their marks, or how many they are where that is longer than `room`; and how many columns that takes
/// at most, whatever comes in.
fn hidden(state: &State, tiles: &[Tile], room: usize) -> (String, usize) {
    let is_hidden = |pane: &usize| tiles.iter().all(|tile| tile.pane != *pane);
    let hidden: Vec<(usize, &str)> = (0..state.panes.len())
        .filter(is_hidden)
        .map(|pane| (pane, mark(&state.panes[pane])))
        .collect();
    if hidden.is_empty() {
        return (String::new(), 0);
    }
    let name = |pane| match pane {
        SERVER => "server".to_owned(),
        pane => pane.to_string(),
    };
    let names: Vec<String> = hidden.iter().map(|(pane, _)| name(*pane)).collect();
    // A blank before each, and maybe a mark behind it.
    let widest = "more: ".len() + names.iter().map(|name| name.len() + 2).sum::<usize>();
    if widest <= room {
        let marked = names.iter().zip(&hidden);
        let marked: String = marked
            .map(|(name, (_, mark))| format!(" {name}{mark}"))
            .collect();
        return (state.look.text(&format!("more:{marked} ")), widest);
    }
    let count = |mark| match hidden.iter().filter(|pane| pane.1 == mark).count() {
        0 => String::new(),
        count => format!(" {count}{mark}"),
    };
    let all = hidden.len();
    let widest = format!("+{all} {all}! {all}* ").len();
    let marks = count("!") + &count("•");
    (state.look.text(&format!("+{all}{marks} ")), widest)
}

fn draw_help(look: Look, area: Rect, buffer: &mut Buffer) {
    let rows = keys::HELP.map(|(key, what)| (look.text(key), look.text(what)));
    let column = rows
        .iter()
        .map(|(key, _)| key.chars().count())
        .max()
        .unwrap_or(0);
    let lines: Vec<Line<'_>> = rows
        .iter()
        .map(|(key, what)| {
            Line::from(vec![
                Span::styled(
                    format!("{key:<column$}"),
                    Style::new().add_modifier(Modifier::BOLD),
                ),
                Span::raw(format!("   {what}")),
            ])
        })
        .collect();
    let width = lines.iter().map(Line::width).max().unwrap_or(0) as u16 + 6;
    let height = lines.len() as u16 + 4;
    let area = area.centered(
        ratatui::layout::Constraint::Length(width),
        ratatui::layout::Constraint::Length(height),
    );
    Clear.render(area, buffer);
    let block = Block::bordered()
        .border_set(look.frame(true))
        .border_style(Style::new().fg(ACCENT))
        .title(Line::styled(" keys ", Style::new().add_modifier(Modifier::BOLD)).centered())
        .title_bottom(
            Line::styled(
                " any key closes this ",
                Style::new().add_modifier(Modifier::DIM),
            )
            .centered(),
        )
        .padding(Padding::symmetric(2, 1));
    Paragraph::new(lines).block(block).render(area, buffer);
}
