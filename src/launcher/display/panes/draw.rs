//! Draws a frame: panes with their titles, the status line, and the list of keys.

use std::time::Instant;

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::border;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Padding, Paragraph, Widget};

use crate::launcher::display::panes::keys;
use crate::launcher::display::panes::layout::{self, Tile};
use crate::launcher::display::panes::pane::{Pane, PaneContent};
use crate::launcher::display::panes::prompt::Prompt;
use crate::launcher::display::panes::state::{PanesState, SERVER, TerminalFeatures};
use crate::launcher::live::screen;
use crate::tty::wrap;

/// Minimum width in columns of a pane in which the note about scrolling back has its long form,
/// such as `↑ 5 · End: last line`.
const WIDE: u16 = 60;

/// Width in columns of the text for F1, the only key that the status line always shows.
const FIRST_KEY: usize = " F1 keys ".len();

/// Color of the focused pane's border. It is readable on dark and light backgrounds.
const ACCENT: Color = Color::Indexed(33);

/// Border of a pane in a locale that has only ASCII.
const ASCII_BORDER: border::Set = border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};

/// Border of the focused pane in a locale that has only ASCII.
const ASCII_FOCUSED_BORDER: border::Set = border::Set {
    top_left: "#",
    top_right: "#",
    bottom_left: "#",
    bottom_right: "#",
    vertical_left: "#",
    vertical_right: "#",
    horizontal_top: "=",
    horizontal_bottom: "=",
};

/// Symbols of the panes, and their replacements in a locale that has only ASCII.
const MARKS: [(&str, &str); 6] = [
    ("▶", ">"),
    ("·", "-"),
    ("↑", "^"),
    ("•", "*"),
    ("…", ".."),
    ("│", "|"),
];

impl TerminalFeatures {
    /// Replaces the symbols in `text` with ASCII if the terminal can show only ASCII.
    fn text(self, text: &str) -> String {
        if self.has_unicode {
            return text.to_owned();
        }
        let mut plain = text.to_owned();
        for (mark, ascii) in MARKS {
            plain = plain.replace(mark, ascii);
        }
        plain
    }

    fn border(self, is_focused: bool) -> border::Set<'static> {
        match (self.has_unicode, is_focused) {
            (true, true) => border::THICK,
            (true, false) => border::ROUNDED,
            (false, true) => ASCII_FOCUSED_BORDER,
            (false, false) => ASCII_BORDER,
        }
    }
}

/// Draws a frame. Returns the position of the cursor, or `None` if it is hidden. Every visible pane
/// must already have the size of its tile, the area in which it is drawn.
pub(crate) fn draw(state: &mut PanesState, buffer: &mut Buffer) -> Option<Position> {
    let (area, status) = layout::split(*buffer.area());
    let tiles = state.tiles(area);
    let mut cursor = None;
    for tile in &tiles {
        let in_pane = draw_pane(state, *tile, buffer);
        if tile.pane == state.focus {
            cursor = in_pane;
        }
    }
    state.prompt.take_if(|prompt| prompt.is_over());
    if let Some(prompt) = &state.prompt {
        cursor = draw_prompt(prompt, status, buffer);
    } else {
        draw_status(state, &tiles, status, buffer);
    }
    if state.help {
        draw_help(state.features, *buffer.area(), buffer);
        cursor = None;
    }
    if !state.features.has_color {
        for cell in &mut buffer.content {
            (cell.fg, cell.bg) = (Color::Reset, Color::Reset);
        }
    }
    cursor
}

fn draw_pane(state: &PanesState, tile: Tile, buffer: &mut Buffer) -> Option<Position> {
    let features = state.features;
    let is_focused = tile.pane == state.focus;
    let pane = state.panes.get(tile.pane)?;
    let inside = layout::inside_border(tile.area);
    let mut content = pane.lock();
    if inside != tile.area {
        let style = if is_focused {
            Style::new().fg(ACCENT).add_modifier(Modifier::BOLD)
        } else {
            Style::new().add_modifier(Modifier::DIM)
        };
        let mark = match (is_focused, content.has_bell_mark) {
            (true, _) => "▶ ",
            (false, true) => "! ",
            (false, false) => "",
        };
        let mark = if pane.is_frozen {
            format!("{mark}FROZEN ")
        } else {
            mark.to_owned()
        };
        let scrolled = content.emulation.scrolled();
        let note = match (scrolled, tile.area.width) {
            (0, _) => String::new(),
            (_, WIDE..) => format!(" ↑ {scrolled} · End: last line "),
            (_, _) => format!(" ↑ {scrolled} · End "),
        };
        // The title shares the pane's top row with two corners, a space at each end of the title,
        // the mark before it (such as `!` for the bell), and the note about scrolling back.
        let taken = 4 + wrap::width(&mark) + wrap::width(&note);
        let space = usize::from(tile.area.width).saturating_sub(taken);
        let mut titles = pane.titles(&content);
        if tile.pane == SERVER && state.is_live {
            titles = live_titles(&titles);
        }
        let title = shortened(titles, space);
        let title = features.text(&format!(" {mark}{title} "));
        // Dim only the border, so that the title stays readable.
        let mut title_style = style.remove_modifier(Modifier::DIM);
        if content.has_bell_mark || pane.is_frozen {
            title_style = title_style.fg(Color::Yellow).add_modifier(Modifier::BOLD);
        }
        let mut block = Block::bordered()
            .border_set(features.border(is_focused))
            .border_style(style)
            .title(Span::styled(title, title_style));
        if !note.is_empty() {
            let note = features.text(&note);
            block = block.title(Line::styled(note, title_style).right_aligned());
        }
        if pane.rejects_input() {
            let note = " not reading: keys are ignored ";
            block = block.title_bottom(Span::styled(note, title_style));
        }
        block.render(tile.area, buffer);
    }
    if tile.pane == SERVER {
        let (log, line) = layout::log_and_line(inside);
        if state.is_live {
            draw_live(state, &mut content, log, buffer);
        } else {
            content.emulation.draw(log, buffer);
        }
        draw_line(state, line, buffer)
    } else {
        content.emulation.draw(inside, buffer)
    }
}

/// The titles of the server's pane while it shows the live view.
fn live_titles(titles: &[String]) -> Vec<String> {
    let long = titles
        .iter()
        .map(|title| format!("{title} · live (F3: log)"));
    let short = titles.iter().map(|title| format!("{title} · live"));
    long.chain(short.skip(1)).chain(["live".into()]).collect()
}

/// Draws the live view, and below it the newest rows of the log, so that the answers to commands
/// typed in the pane can be seen.
fn draw_live(state: &PanesState, content: &mut PaneContent, area: Rect, buffer: &mut Buffer) {
    let mut log = Buffer::empty(area);
    content.emulation.draw(area, &mut log);
    let is_blank = |y: u16| (area.left()..area.right()).all(|x| log[(x, y)].symbol() == " ");
    let filled = area
        .rows()
        .rev()
        .map(|row| row.y)
        .skip_while(|y| is_blank(*y));
    let mut newest: Vec<u16> = filled.take(log_rows(area.height)).collect();
    newest.reverse();
    for (y, from) in (area.bottom() - newest.len() as u16..area.bottom()).zip(newest) {
        for x in area.left()..area.right() {
            buffer[(x, y)] = log[(x, from)].clone();
        }
    }
    let height = usize::from(area.height).saturating_sub(log_rows(area.height));
    let rows = match &state.snapshot {
        Some(snapshot) => screen::rows(snapshot, Instant::now(), area.width.into(), height),
        None => vec![Line::raw("measuring …")],
    };
    for (mut row, place) in rows.into_iter().zip(area.rows()) {
        for span in &mut row.spans {
            span.content = state.features.text(&span.content).into();
        }
        row.render(place, buffer);
    }
}

/// Number of rows of the log below the live view, in a pane of `height` rows.
fn log_rows(height: u16) -> usize {
    match height {
        ..6 => 0,
        6..16 => 1,
        16.. => 3,
    }
}

/// Returns the first of `titles` that fits in `columns`. They must be sorted from the longest to
/// the shortest. If no title fits, returns the beginning of the last one.
fn shortened(titles: Vec<String>, columns: usize) -> String {
    let fitting = titles.iter().find(|title| wrap::width(title) <= columns);
    if let Some(title) = fitting {
        return title.clone();
    }
    let shortest = titles.last().map_or("", String::as_str);
    let rows = wrap::at_characters(shortest, columns.saturating_sub(1).max(1));
    let start = rows.first().map_or(0, |row| row.end);
    format!("{}…", &shortest[..start])
}

/// Draws the input line of the server's pane. Returns the position of the cursor.
fn draw_line(state: &PanesState, area: Rect, buffer: &mut Buffer) -> Option<Position> {
    if area.is_empty() {
        return None;
    }
    let row = state.line.row(area.width.into());
    let column = wrap::width(&row.label) + row.column;
    let dim = Style::new().add_modifier(Modifier::DIM);
    let choice = row.choice.map(|choice| format!("  {choice}"));
    let line = Line::from(vec![
        Span::styled(row.label, dim),
        Span::raw(row.text),
        Span::styled(choice.unwrap_or_default(), dim),
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

/// Draws the prompt in the status line, and returns the position of the cursor, which follows it.
fn draw_prompt(prompt: &Prompt, area: Rect, buffer: &mut Buffer) -> Option<Position> {
    let style = Style::new().fg(Color::Yellow).add_modifier(Modifier::BOLD);
    let text = shortened(prompt.texts(), usize::from(area.width).saturating_sub(2));
    let line = Line::styled(format!(" {text}"), style);
    let column = u16::try_from(line.width()).ok()?;
    line.render(area, buffer);
    (column < area.width).then_some(Position {
        x: area.x + column,
        y: area.y,
    })
}

/// Draws the status line: on the left, as many keys as there is space for, and on the right, the
/// hidden panes. Keeps space free for a mark on each hidden pane. Otherwise, a key would disappear
/// whenever a new message adds a mark.
fn draw_status(state: &PanesState, tiles: &[Tile], area: Rect, buffer: &mut Buffer) {
    let width = usize::from(area.width);
    let (hidden, widest) = hidden(state, tiles, width);
    // The rank, name and effect of each key, from left to right on the screen. If there is too
    // little space, the keys with the highest ranks are left out first.
    let mut items = vec![
        (4, "Alt+1…9", "chat"),
        (2, "F5", "chat number"),
        (6, "Alt+0", "server"),
        (5, "F6", "next"),
        (3, "F2", "zoom"),
        (8, "F3", "live"),
        (9, "F8", "freeze"),
        (7, "PgUp", "scroll"),
        (0, "F1", "keys"),
        (1, "Ctrl+C", "end"),
    ];
    if state.panes.len() <= 10 {
        // Alt+1 … Alt+9 reach all chats if there are at most nine, so F5 is not needed.
        items.retain(|(_, key, _)| *key != "F5");
    }
    let line = loop {
        let mut spans = Vec::new();
        for (_, key, what) in &items {
            spans.push(Span::styled(
                format!(" {}", state.features.text(key)),
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

/// The mark of a hidden pane: `!` if its bell rang, `•` if it has new lines.
fn mark(pane: &Pane) -> &'static str {
    let content = pane.lock();
    match (content.has_bell_mark, content.emulation.has_unseen_lines()) {
        (true, _) => "!",
        (false, true) => "•",
        (false, false) => "",
    }
}

/// Describes the hidden panes for the status line. Lists their numbers and marks if the list would
/// need at most a third of the `width` columns even with a mark on every pane. Otherwise, only
/// counts the panes. Also returns the number of columns that the description needs if all hidden
/// panes have marks.
fn hidden(state: &PanesState, tiles: &[Tile], width: usize) -> (String, usize) {
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
    // Besides the name of a pane, which is its number or `server`, count two columns: for the space
    // before the name, and for a mark that may follow it.
    let widest = "more: ".len() + names.iter().map(|name| name.len() + 2).sum::<usize>();
    if widest <= width / 3 {
        let marked = names.iter().zip(&hidden);
        let marked: String = marked
            .map(|(name, (_, mark))| format!(" {name}{mark}"))
            .collect();
        return (state.features.text(&format!("more:{marked} ")), widest);
    }
    let all = hidden.len();
    let with_news = hidden.iter().filter(|(_, mark)| !mark.is_empty()).count();
    let rang = hidden.iter().filter(|(_, mark)| *mark == "!").count();
    let variants = count_variants(all, with_news, rang);
    let widest = count_variants(all, all, all).map(|text| text.len());
    let index = widest
        .iter()
        .position(|columns| columns + FIRST_KEY <= width);
    let index = index.unwrap_or(variants.len() - 1);
    (variants[index].clone(), widest[index])
}

/// Texts that say how many panes are hidden (`all`), how many of those have new lines
/// (`with_news`), and on how many the bell has rung (`rang`). Sorted from the longest to the
/// shortest, which has only the first number.
fn count_variants(all: usize, with_news: usize, rang: usize) -> [String; 3] {
    let count = |number: usize, what: &str| match number {
        0 => String::new(),
        number => format!(", {number} {what}"),
    };
    let (news, rang) = (count(with_news, "with news"), count(rang, "rang"));
    [
        format!("{all} more{news}{rang} "),
        format!("{all} more{news} "),
        format!("{all} more "),
    ]
}

/// Draws the list of keys, without space around it if `area` is small.
fn draw_help(features: TerminalFeatures, area: Rect, buffer: &mut Buffer) {
    let rows = keys::HELP.map(|(key, what)| (features.text(key), features.text(what)));
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
                Span::raw(format!("  {what}")),
            ])
        })
        .collect();
    let (width, height) = (
        lines.iter().map(Line::width).max().unwrap_or(0) as u16 + 2,
        lines.len() as u16 + 2,
    );
    let padding = Padding::symmetric(
        (area.width.saturating_sub(width) / 2).min(2),
        (area.height.saturating_sub(height) / 2).min(1),
    );
    let (width, height) = (width + 2 * padding.left, height + 2 * padding.top);
    let area = area.centered(
        ratatui::layout::Constraint::Length(width),
        ratatui::layout::Constraint::Length(height),
    );
    Clear.render(area, buffer);
    let block = Block::bordered()
        .border_set(features.border(true))
        .border_style(Style::new().fg(ACCENT))
        .title(Line::styled(" keys ", Style::new().add_modifier(Modifier::BOLD)).centered())
        .title_bottom(
            Line::styled(
                " any key closes this ",
                Style::new().add_modifier(Modifier::DIM),
            )
            .centered(),
        )
        .padding(padding);
    Paragraph::new(lines).block(block).render(area, buffer);
}
