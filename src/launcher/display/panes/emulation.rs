//! Emulates a terminal: processes a client's output, and answers its queries.
//!
//! # Why not `alacritty_terminal`?
//!
//! This module uses the crate vt100, and adds two features that vt100 lacks: it rewraps lines after
//! a resize, and answers queries. `alacritty_terminal` 0.26 has both features. A trial that
//! replaced vt100 and tui-term with it had these results (release build, x86-64 Linux, a screen of
//! 80x24 unless stated):
//!
//! - When the screen grows, lines come back from the scrollback, and no option prevents that. The
//!   client redraws the conversation after a resize, so these lines were on the screen twice: 3 of
//!   20 messages, when the screen grew from 60x20 to 60x40. When the screen gets narrower, the top
//!   lines scroll out even if there is space below.
//! - It replaces 306 lines of this project's code with 211 lines, but it also replaces two crates
//!   with ten, among them a pseudo-terminal, an event loop and a second version of signal-hook. It
//!   adds 134 KB (3.6 %) to `chat-run`.
//! - Parsing 50 MB of colored chat lines takes 0.48 s of CPU time (vt100: 0.36 s).
//! - It limits its memory use less. If a program pushes a title of 1 MB 1,000 times (`CSI 22 t`),
//!   that takes 1 GB. The number of combining marks in a cell and the length of hyperlink URIs have
//!   no limit; vt100 keeps 22 bytes per cell and no hyperlinks.
//! - It drops titles that are not UTF-8, ignores the extended cursor position query (`CSI ? 6 n`),
//!   and reports a VT102 without colors.
//!
//! In its favor: `CSI 65535 @` takes less than 0.01 ms (vt100: 2.8 s, hence `number_limit`), a
//! resize with a full scrollback takes 0.1 ms (this module: 18 ms), drawing takes 0.06 ms (this
//! module: 0.1 ms), answers to DECRQM are correct, and a screen may have a single row. Only the
//! program in a pane can send such sequences: the client escapes what members send.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::widgets::Widget;
use tui_term::vt100::{Callbacks, Cell, Color, Parser, Screen};
use tui_term::widget::{Cursor, PseudoTerminal};

use crate::launcher::display::panes::number_limit::NumberLimit;
use crate::tty::background::Background;

/// Number of scrollback lines in each pane. A line takes 32 bytes per cell.
pub(crate) const SCROLLBACK: usize = 5000;

/// Minimum columns and rows of a screen. A wide character needs two columns. vt100 0.16 panics when
/// a line wraps on a screen with a single row.
const MIN_SIZE: (u16, u16) = (2, 2);

pub(crate) struct Emulation {
    parser: Parser<TerminalRequests>,
    number_limit: NumberLimit,
    /// Whether lines were added since the pane was last drawn.
    has_unseen_lines: bool,
}

/// Requests in a client's output other than drawing on the screen, such as queries and the bell.
#[derive(Default)]
struct TerminalRequests {
    /// Answers to queries, not yet sent to the client.
    answers: Vec<u8>,
    title: Option<String>,
    /// Whether the bell has rung since the last call of [`Emulation::take_bell`].
    has_rung: bool,
    wants_focus_reports: bool,
    has_focus: bool,
    background: Option<Background>,
}

/// The bytes that a terminal sends when it gets or loses the focus.
fn focus_report(has_focus: bool) -> &'static str {
    if has_focus { "\x1b[I" } else { "\x1b[O" }
}

impl Callbacks for TerminalRequests {
    fn audible_bell(&mut self, _: &mut Screen) {
        self.has_rung = true;
    }

    fn set_window_title(&mut self, _: &mut Screen, title: &[u8]) {
        self.title = Some(String::from_utf8_lossy(title).into_owned());
    }

    /// Answers the queries that vt100 leaves to its caller: for the status and the cursor position
    /// (DSR), the type of terminal (DA), modes (DECRQM), and the size. Also handles the mode in
    /// which the client gets focus reports. Source: xterm's control sequences.
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
        // Limit the column: after a character in the last column, vt100 reports a column beyond it
        // until the line wraps.
        let (row, column) = (row + 1, (column + 1).min(columns));
        let answer = match (first, second, param.unwrap_or(0), end) {
            (None, None, 5, 'n') => "\x1b[0n".into(),
            (None, None, 6, 'n') => format!("\x1b[{row};{column}R"),
            (Some(b'?'), None, 6, 'n') => format!("\x1b[?{row};{column}R"),
            // Answer a query of the terminal's type: report a VT220 with colors.
            (None, None, 0, 'c') => "\x1b[?62;22c".into(),
            (Some(b'>'), None, 0, 'c') => "\x1b[>1;0;0c".into(),
            // Report every mode as not recognized, because not all modes are tracked here.
            (Some(b'?'), Some(b'$'), mode, 'p') => format!("\x1b[?{mode};0$y"),
            (None, None, 18, 't') => format!("\x1b[8;{rows};{columns}t"),
            (Some(b'?'), None, _, 'h' | 'l') => {
                if !params.contains(&&[1004][..]) {
                    return;
                }
                self.wants_focus_reports = end == 'h';
                if !self.wants_focus_reports {
                    return;
                }
                // Report the focus at once. Without this report, the client would assume that it
                // has the focus.
                focus_report(self.has_focus).into()
            }
            _ => return,
        };
        self.answers.extend_from_slice(answer.as_bytes());
    }

    fn unhandled_osc(&mut self, _: &mut Screen, params: &[&[u8]]) {
        if let [b"11", b"?"] = params {
            let answer = self.background.and_then(background_answer);
            self.answers
                .extend_from_slice(answer.unwrap_or_default().as_bytes());
        }
    }
}

/// The answer to a query of the background color (`OSC 11 ; ?`): black for any dark background, and
/// white for any light one. `None` if the background is unknown.
fn background_answer(background: Background) -> Option<&'static str> {
    match background {
        Background::Dark => Some("\x1b]11;rgb:0000/0000/0000\x1b\\"),
        Background::Light => Some("\x1b]11;rgb:ffff/ffff/ffff\x1b\\"),
        Background::Unknown => None,
    }
}

impl Emulation {
    pub(crate) fn new(columns: u16, rows: u16) -> Self {
        Self {
            parser: parser(columns, rows, TerminalRequests::default()),
            number_limit: NumberLimit::default(),
            has_unseen_lines: false,
        }
    }

    /// Sets the background color that the answers to queries report.
    pub(crate) fn set_background(&mut self, background: Option<Background>) {
        self.parser.callbacks_mut().background = background;
    }

    /// Processes output of the client. Returns answers to the queries in the output.
    pub(crate) fn process(&mut self, bytes: &[u8]) -> Vec<u8> {
        let (rows, columns) = self.screen().size();
        let bytes = &*self.number_limit.apply(bytes, rows.max(columns));
        self.parser.process(bytes);
        self.has_unseen_lines |= memchr::memchr(b'\n', bytes).is_some();
        std::mem::take(&mut self.parser.callbacks_mut().answers)
    }

    /// Prepares the screen for lines from the launcher: moves the cursor to the start of a line,
    /// and resets the modes, style and title that the client has set.
    pub(crate) fn reset(&mut self) {
        let begin = match self.screen().cursor_position() {
            (_, 0) => "",
            _ => "\r\n",
        };
        self.process(format!("\x1b[m\x1b[?1l\x1b[?2004l\x1b[?1004l\x1b[?25h{begin}").as_bytes());
        self.parser.callbacks_mut().title = None;
    }

    /// Changes the size, and rewraps lines at the new width. A line that begins above the screen is
    /// cut at the top of the screen, and its first part stays in the scrollback, because the client
    /// redraws only the part that was on the screen.
    pub(crate) fn resize(&mut self, columns: u16, rows: u16) {
        if self.screen().size() == (rows.max(MIN_SIZE.1), columns.max(MIN_SIZE.0)) {
            return;
        }
        let (above, shown) = rewrite(self.parser.screen_mut());
        let mut fresh = parser(columns, rows, TerminalRequests::default());
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

    /// Changes the size, and replaces the contents of the screen and scrollback with `output`.
    pub(crate) fn resize_and_show(&mut self, columns: u16, rows: u16, output: &[u8]) {
        let mut fresh = parser(columns, rows, TerminalRequests::default());
        fresh.process(output);
        self.show(fresh);
    }

    fn show(&mut self, mut fresh: Parser<TerminalRequests>) {
        // Replace only the screen and keep the parser: it may have read a part of an escape
        // sequence, whose rest is still to come.
        std::mem::swap(self.parser.screen_mut(), fresh.screen_mut());
    }

    pub(crate) fn screen(&self) -> &Screen {
        self.parser.screen()
    }

    /// The title that the client has set. It was not cleaned and may contain control characters.
    pub(crate) fn title(&self) -> Option<&str> {
        self.parser.callbacks().title.as_deref()
    }

    /// Whether the bell has rung since the last call of this function.
    pub(crate) fn take_bell(&mut self) -> bool {
        std::mem::take(&mut self.parser.callbacks_mut().has_rung)
    }

    /// Records whether the pane has the focus. If the client has asked for reports, returns the
    /// report to send to the client.
    pub(crate) fn focus(&mut self, has_focus: bool) -> Option<&'static str> {
        let requests = self.parser.callbacks_mut();
        requests.has_focus = has_focus;
        requests
            .wants_focus_reports
            .then(|| focus_report(has_focus))
    }

    pub(crate) fn has_focus(&self) -> bool {
        self.parser.callbacks().has_focus
    }

    /// Whether lines were added since the last call of [`Emulation::draw`].
    pub(crate) fn has_unseen_lines(&self) -> bool {
        self.has_unseen_lines
    }

    /// The number of lines by which the screen is scrolled back.
    pub(crate) fn scrolled(&self) -> usize {
        self.screen().scrollback()
    }

    /// Scrolls back by this number of screenfuls, or forward if the number is negative.
    pub(crate) fn scroll(&mut self, screenfuls: isize) {
        let screen = self.parser.screen_mut();
        // Keep one line of the previous screenful visible, for orientation.
        let rows = isize::try_from(screen.size().0).unwrap_or(isize::MAX);
        let lines = (rows - 1).max(1).saturating_mul(screenfuls);
        screen.set_scrollback(screen.scrollback().saturating_add_signed(lines));
    }

    /// Scrolls forward to the newest line.
    pub(crate) fn scroll_to_end(&mut self) {
        self.parser.screen_mut().set_scrollback(0);
    }

    /// Draws the screen. Returns the position of the cursor, or `None` if the cursor is hidden.
    pub(crate) fn draw(&mut self, area: Rect, buffer: &mut Buffer) -> Option<Position> {
        self.has_unseen_lines = false;
        let screen = self.screen();
        // Draw no cursor, because the cursor of the host terminal is shown instead.
        PseudoTerminal::new(screen)
            .cursor(Cursor::default().visibility(false))
            .render(area, buffer);
        for position in area.positions() {
            separate_emoji(&mut buffer[position]);
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

/// Removes zero-width joiners and emoji variation selectors, with which some terminals draw a cell
/// wider, or merge it with the next cell. In vt100, each part of a composed emoji has cells of its
/// own, so the parts must be drawn separately.
fn separate_emoji(cell: &mut ratatui::buffer::Cell) {
    const JOINER: char = '\u{200d}';
    const EMOJI_STYLE: char = '\u{fe0f}';

    let symbol = cell.symbol();
    // Keep a joiner between letters: in some scripts, it is a part of the spelling.
    let is_letter = symbol.starts_with(|c: char| c.is_ascii() || c.is_alphabetic());
    if !is_letter && symbol.contains([JOINER, EMOJI_STYLE]) {
        let separate = symbol.replace([JOINER, EMOJI_STYLE], "");
        cell.set_symbol(&separate);
    }
}

fn parser(columns: u16, rows: u16, requests: TerminalRequests) -> Parser<TerminalRequests> {
    let (columns, rows) = (columns.max(MIN_SIZE.0), rows.max(MIN_SIZE.1));
    Parser::new_with_callbacks(rows, columns, SCROLLBACK, requests)
}

/// Converts the scrollback and the screen to output that shows the same lines on a terminal of any
/// width: rows of a wrapped line have no line break between them. The output leaves the cursor at
/// the same character. Returns the output for the scrollback and the output for the screen.
fn rewrite(screen: &mut Screen) -> (Vec<u8>, Vec<u8>) {
    let (rows, columns) = screen.size();
    let mut output = Rewriter::default();
    screen.set_scrollback(usize::MAX);
    // Read the scrollback in screenfuls, because vt100 gives access to only one at a time. The last
    // screenful may be smaller.
    let mut above = screen.scrollback();
    while above > 0 {
        screen.set_scrollback(above);
        let count = rows.min(u16::try_from(above).unwrap_or(u16::MAX));
        for (row, text) in (0..count).zip(screen.rows(0, columns)) {
            output.row(screen, row, &text, None);
        }
        above -= usize::from(count);
    }
    screen.set_scrollback(0);
    output.end = None;
    let above = std::mem::take(&mut output.bytes);
    let cursor = screen.cursor_position();
    let is_used = |row: &u16| (0..columns).any(|column| has_contents(screen, *row, column));
    let last = (0..rows).rev().find(is_used).unwrap_or(0).max(cursor.0);
    for (row, text) in (0..=last).zip(screen.rows(0, columns)) {
        let cursor = (row == cursor.0).then_some(cursor.1);
        output.row(screen, row, &text, cursor);
    }
    let mut bytes = output.bytes;
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

/// Builds the output of [`rewrite`] row by row.
#[derive(Default)]
struct Rewriter {
    bytes: Vec<u8>,
    /// The style of the previous cell.
    style: Option<CellStyle>,
    /// The way in which the previous row ended.
    end: Option<RowEnd>,
}

/// The way in which a row ends.
enum RowEnd {
    /// The line continues in the next row.
    Wrapped,
    /// The last column is empty. The line continues in the next row only if that row begins with a
    /// wide character, which needs two columns and so did not fit.
    Short,
    /// The line ends at the end of the row.
    Line,
}

impl Rewriter {
    /// Appends a row to the output, after a line break if the previous row has ended its line.
    /// `text` is the text of the row. `cursor` is the cursor's column, or `None` if the cursor is
    /// in another row. In the cursor's row, the output saves the position of the cursor (DECSC).
    fn row(&mut self, screen: &Screen, row: u16, text: &str, cursor: Option<u16>) {
        let starts_wide = screen.cell(row, 0).is_some_and(Cell::is_wide);
        match self.end {
            None | Some(RowEnd::Wrapped) => {}
            Some(RowEnd::Short) if starts_wide => {}
            Some(RowEnd::Short | RowEnd::Line) => self.bytes.extend_from_slice(b"\r\n"),
        }
        let columns = screen.size().1;
        let used = |column: &u16| has_contents(screen, row, *column);
        // Skip cells that must be empty, because most rows of a wide screen are short and examining
        // every cell takes time. A character takes at most two columns, so the cells in use end
        // before twice the number of characters.
        let max_columns = u16::try_from(2 * text.chars().count()).unwrap_or(u16::MAX);
        let columns_used = 0..columns.min(max_columns);
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
            RowEnd::Wrapped
        } else if end + 1 == columns {
            RowEnd::Short
        } else {
            RowEnd::Line
        });
    }

    fn cell(&mut self, cell: &Cell) {
        let style = CellStyle::of(cell);
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

#[derive(Clone, Copy, PartialEq, Eq)]
struct CellStyle {
    /// Whether the style is bold, dim, italic, underlined and inverse, in this order.
    is_set: [bool; 5],
    foreground: Color,
    background: Color,
}

impl CellStyle {
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

    /// The SGR sequence that sets exactly this style, whatever was set before.
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
    fn the_emulation_answers_a_clients_terminal_queries() {
        for (query, answer) in [
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
            let answered = Emulation::new(10, 4).process(query.as_bytes());
            assert_eq!(String::from_utf8(answered).unwrap(), answer, "{query:?}");
        }
    }

    #[test]
    fn a_query_of_the_background_is_answered_if_the_background_is_known() {
        for (background, answer) in [
            (Some(Background::Dark), "\x1b]11;rgb:0000/0000/0000\x1b\\"),
            (Some(Background::Light), "\x1b]11;rgb:ffff/ffff/ffff\x1b\\"),
            (Some(Background::Unknown), ""),
            (None, ""),
        ] {
            let mut emulation = Emulation::new(10, 4);
            emulation.set_background(background);
            emulation.resize(20, 4);
            // The first sequence sets the background color. It is not a query and gets no answer.
            let answered = emulation.process(b"\x1b]11;#000\x07\x1b]11;?\x07");
            assert_eq!(String::from_utf8(answered).unwrap(), answer);
        }
    }

    #[test]
    fn lines_are_rewrapped_when_the_width_changes() {
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
    fn no_line_is_lost_when_the_screen_shrinks_and_grows_again() {
        let mut emulation = Emulation::new(20, 10);
        for number in 0..100 {
            emulation.process(format!("\x1b[3{}mline {number}\x1b[m\r\n", number % 8).as_bytes());
        }
        emulation.resize(12, 3);
        emulation.resize(40, 10);
        // After the screen has grown, lines in the scrollback must stay there: the client would
        // draw over lines that came back to the screen.
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
    fn a_resize_keeps_the_terminal_modes_and_the_character_at_the_cursor() {
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
    fn an_escape_sequence_split_by_a_resize_is_still_recognized() {
        let mut emulation = Emulation::new(10, 4);
        emulation.process(b"a\x1b[3");
        emulation.resize(20, 4);
        emulation.process(b"1mb");
        assert_eq!(text(&emulation), "ab");
    }

    #[test]
    fn each_part_of_an_emoji_is_drawn_in_its_own_cells() {
        let mut emulation = Emulation::new(12, 2);
        emulation.process("👩\u{200d}👩\u{200d}👧|❤\u{fe0f}|क\u{200d}|".as_bytes());
        let area = Rect::new(0, 0, 12, 1);
        let mut buffer = Buffer::empty(area);
        emulation.draw(area, &mut buffer);
        let row: Vec<&str> = buffer
            .content
            .iter()
            .map(ratatui::buffer::Cell::symbol)
            .collect();
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
    fn a_huge_count_in_a_control_sequence_acts_like_a_count_of_the_screen_size() {
        for end in ["@", "X", "L", "M", "P", "S", "T", "C"] {
            let screens = [10, 65535].map(|count| {
                let mut emulation = Emulation::new(10, 4);
                emulation.process(b"one\r\ntwo\r\nthree\x1b[2;2H");
                emulation.process(format!("\x1b[{count}{end}x").as_bytes());
                text(&emulation)
            });
            assert_eq!(screens[0], screens[1], "{end}");
        }
    }

    #[test]
    fn the_scrollback_keeps_5000_lines() {
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
