//! A terminal without a screen: takes what a program writes, knows what would be shown, and answers what the program asks.
//!
//! # Why not `alacritty_terminal`?
//!
//! vt100, the backend, neither rewraps lines after a resize nor answers queries, so both are done
//! here. `alacritty_terminal` 0.26 does both. A trial replaced vt100 and tui-term by it, and found
//! (release build, x86-64 Linux, a screen of 80x24 unless stated):
//!
//! - When the screen grows, lines come back from the scrollback, and no option prevents that.
//!   The client redraws the conversation after a resize, so lines were on the screen twice: of
//!   20 messages, three, after growing from 60x20 to 60x40. When the screen gets narrower, the
//!   top lines scroll out even if there is room below.
//! - It replaces 306 lines of code by 211, but two crates by ten, among them a pseudo-terminal, an
//!   event loop and a second version of signal-hook, and adds 134 KB (3.6 %) to `chat-run`.
//! - Parsing 50 MB of colored chat lines takes 0.48 s of CPU time (vt100: 0.36 s).
//! - Its memory has fewer bounds. A title of 1 MB that a program pushes 1,000 times (`CSI 22 t`)
//!   takes 1 GB. The combining marks of a cell and the URIs of hyperlinks have no limit; vt100
//!   keeps 22 bytes per cell and no hyperlinks.
//! - It drops a title that is not UTF-8, ignores the extended cursor position query (`CSI ? 6 n`),
//!   and reports a VT102 without colors.
//!
//! In its favor: a resize with a full scrollback takes 0.1 ms (here: 18 ms), drawing takes 0.06 ms
//! (0.1 ms), answers to DECRQM are true, a single row works, and `CSI 65535 @` takes less than
//! 0.01 ms (vt100: 2.8 s). Only the program in a pane can send such sequences: the client escapes
//! what members send.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::widgets::Widget;
use tui_term::vt100::{Callbacks, Cell, Color, Parser, Screen};
use tui_term::widget::{Cursor, PseudoTerminal};

/// Lines that have gone out of the top and can be scrolled to. A line takes 32 bytes for each of its cells.
pub(crate) const SCROLLBACK: usize = 5000;

/// The smallest screen that the emulation can have: a wide character needs two columns, and in a single row a line that goes on makes it panic.
const SMALLEST: (u16, u16) = (2, 2);

/// A terminal's emulation.
pub(crate) struct Emulation {
    parser: Parser<Asked>,
    /// Whether a line came since this was last drawn.
    unseen: bool,
}

/// What a program wants of its terminal, beside to show something.
#[derive(Default)]
struct Asked {
    answers: Vec<u8>,
    title: Option<String>,
    /// Whether it rang the bell since somebody asked.
    rang: bool,
    focus_reports: bool,
    has_focus: bool,
}

/// What a terminal says when it has got the focus, and when it has lost it.
fn focus_report(has_focus: bool) -> &'static str {
    if has_focus { "\x1b[I" } else { "\x1b[O" }
}

impl Callbacks for Asked {
    fn audible_bell(&mut self, _: &mut Screen) {
        self.rang = true;
    }

    fn set_window_title(&mut self, _: &mut Screen, title: &[u8]) {
        self.title = Some(String::from_utf8_lossy(title).into_owned());
    }

    /// The sequences are those of xterm's control sequences: DSR, DA, DECRQM, the size, and focus reports.
    fn unhandled_csi(
        &mut self,
        screen: &mut Screen,
        first: Option<u8>,
        second: Option<u8>,
        params: &[&[u16]],
        end: char,
    ) {
        let param = params.first().and_then(|param| param.first()).copied();
        let (rows, columns) = screen.size();
        let (row, column) = screen.cursor_position();
        // A cursor that is about to wrap is still in the last column.
        let (row, column) = (row + 1, (column + 1).min(columns));
        let answer = match (first, second, param.unwrap_or(0), end) {
            (None, None, 5, 'n') => "\x1b[0n".into(),
            (None, None, 6, 'n') => format!("\x1b[{row};{column}R"),
            (Some(b'?'), None, 6, 'n') => format!("\x1b[?{row};{column}R"),
            // A VT220 with colours.
            (None, None, 0, 'c') => "\x1b[?62;22c".into(),
            (Some(b'>'), None, 0, 'c') => "\x1b[>1;0;0c".into(),
            // No mode that it asks for is known.
            (Some(b'?'), Some(b'$'), mode, 'p') => format!("\x1b[?{mode};0$y"),
            (None, None, 18, 't') => format!("\x1b[8;{rows};{columns}t"),
            (Some(b'?'), None, _, 'h' | 'l') => {
                if !params.contains(&&[1004][..]) {
                    return;
                }
                self.focus_reports = end == 'h';
                if !self.focus_reports {
                    return;
                }
                // Or a program would take it for granted until it changes.
                focus_report(self.has_focus).into()
            }
            _ => return,
        };
        self.answers.extend_from_slice(answer.as_bytes());
    }
}

impl Emulation {
    pub(crate) fn new(columns: u16, rows: u16) -> Self {
        Self {
            parser: parser(columns, rows, Asked::default()),
            unseen: false,
        }
    }

    /// Takes what the program has written; gives what its terminal answers.
    pub(crate) fn process(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.parser.process(bytes);
        self.unseen |= memchr::memchr(b'\n', bytes).is_some();
        std::mem::take(&mut self.parser.callbacks_mut().answers)
    }

    /// Makes what has ended ready for lines of ours: at the beginning of a line, and with nothing left of what the program had set.
    pub(crate) fn reset(&mut self) {
        let begin = match self.screen().cursor_position() {
            (_, 0) => "",
            _ => "\r\n",
        };
        self.process(format!("\x1b[m\x1b[?1l\x1b[?2004l\x1b[?1004l\x1b[?25h{begin}").as_bytes());
        self.parser.callbacks_mut().title = None;
    }

    /// Changes the size. Lines that had been broken at the right margin are joined, and broken at the new one, but for one that
    /// the top of the screen cuts: what is above stays there, as the program draws anew what was on the screen, and no more.
    pub(crate) fn resize(&mut self, columns: u16, rows: u16) {
        if self.screen().size() == (rows.max(SMALLEST.1), columns.max(SMALLEST.0)) {
            return;
        }
        let (above, shown) = rewrite(self.parser.screen_mut());
        let mut fresh = parser(columns, rows, Asked::default());
        fresh.process(&above);
        if !above.is_empty() {
            let visible = usize::from(fresh.screen().cursor_position().0) + 1;
            let rows = fresh.screen().size().0;
            let scrolled = "\n".repeat(visible);
            fresh.process(format!("\x1b[{rows};1H{scrolled}\x1b[H").as_bytes());
        }
        fresh.process(&shown);
        self.show(fresh);
    }

    /// Shows `written` and nothing else, on a screen of this size.
    pub(crate) fn show_alone(&mut self, columns: u16, rows: u16, written: &[u8]) {
        let mut fresh = parser(columns, rows, Asked::default());
        fresh.process(written);
        self.show(fresh);
    }

    fn show(&mut self, mut fresh: Parser<Asked>) {
        // The parser itself stays: a sequence of which only the beginning has come goes on in it.
        std::mem::swap(self.parser.screen_mut(), fresh.screen_mut());
    }

    pub(crate) fn screen(&self) -> &Screen {
        self.parser.screen()
    }

    /// The title that the program has set, as it came.
    pub(crate) fn title(&self) -> Option<&str> {
        self.parser.callbacks().title.as_deref()
    }

    /// Whether the program rang the bell since this was last asked.
    pub(crate) fn take_bell(&mut self) -> bool {
        std::mem::take(&mut self.parser.callbacks_mut().rang)
    }

    /// It has the focus now, or no longer: gives what the program is told, if it wants to know.
    pub(crate) fn focus(&mut self, has_focus: bool) -> Option<&'static str> {
        let asked = self.parser.callbacks_mut();
        asked.has_focus = has_focus;
        asked.focus_reports.then(|| focus_report(has_focus))
    }

    /// Whether it has the focus.
    pub(crate) fn has_focus(&self) -> bool {
        self.parser.callbacks().has_focus
    }

    /// Whether a line came since it was last drawn.
    pub(crate) fn is_unseen(&self) -> bool {
        self.unseen
    }

    /// How many lines it is scrolled back.
    pub(crate) fn scrolled(&self) -> usize {
        self.screen().scrollback()
    }

    /// Scrolls back by so many screenfuls, or forth where that is negative.
    pub(crate) fn scroll(&mut self, screenfuls: isize) {
        let screen = self.parser.screen_mut();
        // A line of the last screenful stays, for the eye.
        let rows = isize::try_from(screen.size().0).unwrap_or(isize::MAX);
        let lines = (rows - 1).max(1).saturating_mul(screenfuls);
        screen.set_scrollback(screen.scrollback().saturating_add_signed(lines));
    }

    /// Goes to the end, if it is scrolled.
    pub(crate) fn scroll_to_end(&mut self) {
        self.parser.screen_mut().set_scrollback(0);
    }

    /// Draws the screen; gives where the cursor is, where it is to be seen.
    pub(crate) fn draw(&mut self, area: Rect, buffer: &mut Buffer) -> Option<Position> {
        self.unseen = false;
        let screen = self.screen();
        // The terminal has a cursor of its own to show.
        PseudoTerminal::new(screen)
            .cursor(Cursor::default().visibility(false))
            .render(area, buffer);
        for position in area.positions() {
            stand_alone(&mut buffer[position]);
        }
        if screen.hide_cursor() || screen.scrollback() > 0 {
            return None;
        }
        let (row, column) = screen.cursor_position();
        let position = Position {
            x: (area.x + column).min(area.right().saturating_sub(1)),
            y: area.y + row,
        };
        area.contains(position).then_some(position)
    }
}

/// Takes out of a cell what makes some terminals draw it together with the next one, or wider than it is here: a joiner behind it, and the wish for a picture. The
/// characters of an emoji that is made of several have cells of their own here, so each is drawn by itself everywhere.
fn stand_alone(cell: &mut ratatui::buffer::Cell) {
    const JOINER: char = '\u{200d}';
    const AS_PICTURE: char = '\u{fe0f}';

    let symbol = cell.symbol();
    // Between letters a joiner is a part of how they are written.
    let is_letter = symbol.starts_with(|c: char| c.is_ascii() || c.is_alphabetic());
    if !is_letter && symbol.contains([JOINER, AS_PICTURE]) {
        let alone = symbol.replace([JOINER, AS_PICTURE], "");
        cell.set_symbol(&alone);
    }
}

fn parser(columns: u16, rows: u16, asked: Asked) -> Parser<Asked> {
    let (columns, rows) = (columns.max(SMALLEST.0), rows.max(SMALLEST.1));
    Parser::new_with_callbacks(rows, columns, SCROLLBACK, asked)
}

/// What has to be written to a terminal of any width so that it shows all that `screen` has, what is above it and what is on it, in lines as they
/// were written, with the cursor at the same character.
fn rewrite(screen: &mut Screen) -> (Vec<u8>, Vec<u8>) {
    let (rows, columns) = screen.size();
    let mut written = Written::default();
    screen.set_scrollback(usize::MAX);
    // What is above the screen, by screenfuls, the last of which may be smaller.
    let mut above = screen.scrollback();
    while above > 0 {
        screen.set_scrollback(above);
        let count = rows.min(u16::try_from(above).unwrap_or(u16::MAX));
        for (row, text) in (0..count).zip(screen.rows(0, columns)) {
            written.row(screen, row, &text, None);
        }
        above -= usize::from(count);
    }
    screen.set_scrollback(0);
    written.end = None;
    let above = std::mem::take(&mut written.bytes);
    let cursor = screen.cursor_position();
    let is_used = |row: &u16| (0..columns).any(|column| has_contents(screen, *row, column));
    let last = (0..rows).rev().find(is_used).unwrap_or(0).max(cursor.0);
    for (row, text) in (0..=last).zip(screen.rows(0, columns)) {
        let cursor = (row == cursor.0).then_some(cursor.1);
        written.row(screen, row, &text, cursor);
    }
    let mut bytes = written.bytes;
    bytes.extend_from_slice(b"\x1b8");
    bytes.extend(screen.attributes_formatted());
    bytes.extend(screen.input_mode_formatted());
    if screen.hide_cursor() {
        bytes.extend_from_slice(b"\x1b[?25l");
    }
    (above, bytes)
}

fn has_contents(screen: &Screen, row: u16, column: u16) -> bool {
    let cell = screen.cell(row, column);
    cell.is_some_and(|cell| cell.has_contents() || cell.is_wide_continuation())
}

/// Rows that are written one after the other.
#[derive(Default)]
struct Written {
    bytes: Vec<u8>,
    /// How the last cell was styled.
    style: Option<Style>,
    end: Option<End>,
}

/// How a row ends.
enum End {
    /// Its line goes on in the next row.
    Wrapped,
    /// In the last column there was no room for a wide character, with which the line may go on.
    Short,
    Line,
}

impl Written {
    /// Writes a row, which has this text; where the cursor is in it, it is remembered there (DECSC).
    fn row(&mut self, screen: &Screen, row: u16, text: &str, cursor: Option<u16>) {
        let starts_wide = screen.cell(row, 0).is_some_and(Cell::is_wide);
        match self.end {
            None | Some(End::Wrapped) => {}
            Some(End::Short) if starts_wide => {}
            Some(End::Short | End::Line) => self.bytes.extend_from_slice(b"\r\n"),
        }
        let columns = screen.size().1;
        let used = |column: &u16| has_contents(screen, row, *column);
        // No character takes more than two columns. Most rows of a wide screen are short, and to ask for a cell takes time.
        let most = u16::try_from(2 * text.chars().count()).unwrap_or(u16::MAX);
        let columns_used = 0..columns.min(most);
        let end = columns_used.rev().find(used).map_or(0, |column| column + 1);
        for column in 0..end.max(cursor.unwrap_or(0)) {
            if cursor == Some(column) {
                self.bytes.extend_from_slice(b"\x1b7");
            }
            match screen.cell(row, column) {
                Some(cell) if !cell.is_wide_continuation() => self.cell(cell),
                Some(_) | None => {}
            }
        }
        if cursor.is_some_and(|cursor| cursor >= end) {
            self.bytes.extend_from_slice(b"\x1b7");
        }
        self.end = Some(if screen.row_wrapped(row) {
            End::Wrapped
        } else if end + 1 == columns {
            End::Short
        } else {
            End::Line
        });
    }

    fn cell(&mut self, cell: &Cell) {
        let style = Style::of(cell);
        if self.style != Some(style) {
            self.bytes.extend_from_slice(style.sequence().as_bytes());
            self.style = Some(style);
        }
        let contents = if cell.has_contents() {
            cell.contents()
        } else {
            " "
        };
        self.bytes.extend_from_slice(contents.as_bytes());
    }
}

/// How a cell looks.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Style {
    /// Bold, dim, italic, underlined, inverse.
    is_set: [bool; 5],
    foreground: Color,
    background: Color,
}

impl Style {
    fn of(cell: &Cell) -> Self {
        Self {
            is_set: [
                cell.bold(),
                cell.dim(),
                cell.italic(),
                cell.underline(),
                cell.inverse(),
            ],
            foreground: cell.fgcolor(),
            background: cell.bgcolor(),
        }
    }

    /// What sets it, whatever was set before (SGR).
    fn sequence(self) -> String {
        let mut sequence = String::from("\x1b[0");
        for (is_set, code) in self.is_set.into_iter().zip([1, 2, 3, 4, 7]) {
            if is_set {
                sequence.push_str(&format!(";{code}"));
            }
        }
        for (color, code) in [(self.foreground, 38), (self.background, 48)] {
            sequence.push_str(&match color {
                Color::Default => String::new(),
                Color::Idx(index) => format!(";{code};5;{index}"),
                Color::Rgb(red, green, blue) => format!(";{code};2;{red};{green};{blue}"),
            });
        }
        sequence.push('m');
        sequence
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(emulation: &Emulation) -> String {
        let screen = emulation.screen();
        let rows: Vec<String> = screen.rows(0, screen.size().1).collect();
        let rows: Vec<&str> = rows.iter().map(|row| row.trim_end()).collect();
        rows.join("\n").trim_end().to_owned()
    }

    #[test]
    fn what_a_program_asks_is_answered() {
        for (asked, answer) in [
            ("\x1b[5n", "\x1b[0n"),
            ("ab\x1b[6n", "\x1b[1;3R"),
            ("abcdefghij\x1b[6n", "\x1b[1;10R"),
            ("\r\n\x1b[?6n", "\x1b[?2;1R"),
            ("\x1b[c", "\x1b[?62;22c"),
            ("\x1b[0c", "\x1b[?62;22c"),
            ("\x1b[>c", "\x1b[>1;0;0c"),
            ("\x1b[?2026$p", "\x1b[?2026;0$y"),
            ("\x1b[18t", "\x1b[8;4;10t"),
            ("\x1b[?1004h", "\x1b[O"),
            ("hello", ""),
        ] {
            let answered = Emulation::new(10, 4).process(asked.as_bytes());
            assert_eq!(String::from_utf8(answered).unwrap(), answer, "{asked:?}");
        }
    }

    #[test]
    fn lines_are_joined_and_broken_anew_at_another_width() {
        let mut emulation = Emulation::new(10, 6);
        emulation.process("one two three four\r\nżółć 日本語日本語\r\n> abc".as_bytes());
        for (columns, lines) in [
            (30, "one two three four\nżółć 日本語日本語\n> abc"),
            (9, "one two t\nhree four\nżółć 日本\n語日本語\n> abc"),
            (10, "one two th\nree four\nżółć 日本\n語日本語\n> abc"),
        ] {
            emulation.resize(columns, 6);
            assert_eq!(text(&emulation), lines, "{columns}");
            assert_eq!(emulation.screen().cursor_position().1, 5, "{columns}");
        }
    }

    #[test]
    fn nothing_is_lost_when_it_gets_smaller_and_larger() {
        let mut emulation = Emulation::new(20, 10);
        for number in 0..100 {
            emulation.process(format!("\x1b[3{}mline {number}\x1b[m\r\n", number % 8).as_bytes());
        }
        emulation.resize(12, 3);
        emulation.resize(40, 10);
        // What has left the screen does not come back to where the program draws.
        assert_eq!(text(&emulation), "line 98\nline 99");
        let color = emulation.screen().cell(0, 0).map(Cell::fgcolor);
        assert_eq!(color, Some(Color::Idx(98 % 8)));
        emulation.scroll(1);
        assert!(
            text(&emulation).starts_with("line 89\n"),
            "{}",
            text(&emulation)
        );
        emulation.scroll(isize::MAX);
        assert!(
            text(&emulation).starts_with("line 0\nline 1\n"),
            "{}",
            text(&emulation)
        );
    }

    #[test]
    fn the_cursor_stays_at_its_character_and_modes_stay() {
        let mut emulation = Emulation::new(10, 4);
        emulation.process(b"0123456789abcdef\x1b[4D\x1b[?2004h\x1b[?25l\x1b[31m");
        emulation.resize(40, 4);
        assert_eq!(emulation.screen().cursor_position(), (0, 12));
        assert!(emulation.screen().bracketed_paste() && emulation.screen().hide_cursor());
        emulation.process(b"X");
        assert_eq!(text(&emulation), "0123456789abXdef");
        let color = emulation.screen().cell(0, 12).map(Cell::fgcolor);
        assert_eq!(color, Some(Color::Idx(1)));
    }

    #[test]
    fn a_sequence_that_is_half_there_goes_on_after_a_resize() {
        let mut emulation = Emulation::new(10, 4);
        emulation.process(b"a\x1b[3");
        emulation.resize(20, 4);
        emulation.process(b"1mb");
        assert_eq!(text(&emulation), "ab");
    }

    #[test]
    fn each_part_of_an_emoji_is_drawn_in_the_cells_that_it_has_here() {
        let mut emulation = Emulation::new(12, 2);
        emulation.process("👩\u{200d}👩\u{200d}👧|❤\u{fe0f}|क\u{200d}|".as_bytes());
        let area = Rect::new(0, 0, 12, 1);
        let mut buffer = Buffer::empty(area);
        emulation.draw(area, &mut buffer);
        let row: Vec<&str> = buffer.content.iter().map(|cell| cell.symbol()).collect();
        let cells = [
            "👩",
            " ",
            "👩",
            " ",
            "👧",
            " ",
            "|",
            "❤",
            "|",
            "क\u{200d}",
            "|",
            " ",
        ];
        assert_eq!(row, cells);
    }

    #[test]
    fn five_thousand_lines_are_kept() {
        let mut emulation = Emulation::new(20, 4);
        for number in 0..6000 {
            emulation.process(format!("{number}\r\n").as_bytes());
        }
        emulation.scroll(isize::MAX);
        assert_eq!(emulation.scrolled(), 5000);
        emulation.scroll_to_end();
        assert!(text(&emulation).starts_with("5997\n"));
    }
}
