//! The terminal UI: prints lines above an editor on the last line, and handles what the user types.
//! It uses the normal screen, so that the terminal keeps its scrollback.

use std::io;
use std::time::Duration;

use crossterm::event::Event as TerminalEvent;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::client::net::stdin;
use crate::client::ui::commands::LocalCommand;
use crate::client::ui::format::{Formatter, Layout};
use crate::client::ui::roster::Roster;
use crate::client::ui::terminal;
use crate::client::ui::{completion, history};
use crate::protocol::event::{Answer, Event, Welcome};
use crate::protocol::json::Received;
use crate::protocol::limits::{MAX_LINE, MAX_NAME_CHARS};
use crate::protocol::line::LineError;
use crate::protocol::name::NameKeys;
use crate::protocol::request::{Format, Request};
use crate::protocol::text::Text;
use crate::tty::editor::{Editor, EditorAction, History, Purpose};
use crate::tty::line::Line;
use crate::tty::raw_mode::{self, RawMode};
use crate::tty::screen::Screen;

/// The prompt of the chat line.
const LABEL: &str = "> ";

/// Limit on the rows of a line of several joins and leaves, so that it does not become a paragraph.
const MAX_PRESENCE_ROWS: usize = 2;

/// Limit on the number of lines that wait for a connection. Input beyond the limit stays in the
/// editor.
const MAX_WAITING: usize = 1000;

/// The terminal UI. The terminal is in raw mode until this is dropped.
pub(crate) struct Tui {
    screen: Screen,
    pub(crate) formatter: Formatter,
    editor: Editor,
    /// The editor for the answer to a question, while a question is open. Meanwhile, `editor` keeps
    /// the unfinished chat line.
    question: Option<Editor>,
    roster: Roster,
    /// The recipient of the reply in the editor: the sender of the last private message when the
    /// text of the reply began, or `Some(None)` if no one could be answered then. `None` if the
    /// editor contains no reply.
    reply_to: Option<Option<String>>,
    /// The lines entered while there was no connection, up to [`MAX_WAITING`].
    waiting: Vec<String>,
    /// The number of this client's window in the launcher's session.
    number: Option<usize>,
    /// The status line above the editor, if there is something to show.
    status: Option<String>,
    is_bell_on: bool,
    /// Number of messages since the terminal lost focus. `None` while it has focus, or if the
    /// terminal does not report focus.
    unread: Option<u64>,
    /// The guard for raw mode. Declared last so that it is dropped last, after the screen's last
    /// output.
    _raw_mode: RawMode,
}

/// The client's next action after terminal input.
pub(crate) enum InputAction {
    None,
    /// The user pressed Enter: [`Tui::submit`] or [`Tui::take_answer`] returns the line.
    Enter,
    Leave,
}

/// The client's next action after a line was entered.
pub(crate) enum Submission {
    None,
    /// Send these lines, then call [`Tui::take_line`], which removes them from the editor.
    Lines(Vec<String>),
    Leave,
}

/// The client's next step after a line was entered while there is no connection.
pub(crate) enum OfflineSubmission {
    None,
    /// The line was empty: try to connect now.
    Empty,
    Leave,
}

impl Tui {
    /// Switches the terminal to raw mode. `is_fresh` is true if the terminal has shown nothing
    /// before.
    ///
    /// # Errors
    /// The terminal's modes cannot be changed.
    pub(crate) fn open(
        is_colored: bool,
        number: Option<usize>,
        is_fresh: bool,
    ) -> io::Result<Self> {
        Ok(Self {
            _raw_mode: terminal::enter()?,
            screen: Screen::new(is_colored, is_fresh),
            formatter: Formatter::new(Layout::Screen, TimeZone::system(), Timestamp::now()),
            editor: Editor::new(LABEL, Purpose::Chat, history::load()),
            question: None,
            roster: Roster::default(),
            reply_to: None,
            waiting: Vec::new(),
            number,
            status: None,
            is_bell_on: true,
            unread: None,
        })
    }

    /// Asks a question. Until [`Tui::take_answer`], the editor for the answer replaces the chat
    /// line.
    pub(crate) fn ask(&mut self, question: &str, purpose: Purpose) {
        self.question = Some(Editor::new(question, purpose, History::default()));
        self.screen.touch();
    }

    /// Ends the question, and returns the answer.
    pub(crate) fn take_answer(&mut self) -> String {
        let Some(mut question) = self.question.take() else {
            return String::new();
        };
        self.screen.print(Line::plain(&question.line()));
        question.take()
    }

    /// Handles input from the terminal.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(crate) fn input(&mut self, event: TerminalEvent) -> io::Result<InputAction> {
        self.screen.touch();
        match event {
            TerminalEvent::Key(key) => {
                let names = self.roster.names(self.formatter.own());
                let editor = self.question.as_mut().unwrap_or(&mut self.editor);
                match editor.key(key, |before| completion::complete(before, &names)) {
                    None => {}
                    Some(EditorAction::Submit) => return Ok(InputAction::Enter),
                    Some(EditorAction::Interrupt | EditorAction::EndOfInput) => {
                        return Ok(InputAction::Leave);
                    }
                    Some(EditorAction::Clear) => self.screen.clear(),
                    Some(EditorAction::Suspend) => self.suspend()?,
                    Some(EditorAction::Refuse(refusal)) => self.show_error(&refusal),
                }
            }
            TerminalEvent::Paste(text) => {
                let editor = self.question.as_mut().unwrap_or(&mut self.editor);
                if let Err(refusal) = editor.paste(&text) {
                    self.show_error(&refusal);
                }
            }
            TerminalEvent::Resize(..) => {
                // The number of names in the last line of joins and leaves was chosen for the old
                // size. So the next join or leave begins a new line.
                self.formatter.end_presence();
                self.screen.close_open();
                self.screen.resize();
            }
            TerminalEvent::FocusGained => self.unread = None,
            TerminalEvent::FocusLost => self.unread = Some(0),
            TerminalEvent::Mouse(mouse) => {
                let editor = self.question.as_mut().unwrap_or(&mut self.editor);
                editor.scroll(mouse.kind);
            }
        }
        self.fix_recipient();
        Ok(InputAction::None)
    }

    /// Replaces `/reply` with `/msg NAME` once the text of a reply begins. So the user sees who
    /// gets the reply, and a private message that arrives meanwhile does not change the recipient.
    fn fix_recipient(&mut self) {
        let text = self.editor.text();
        if !self.editor.is_command()
            || text.contains('\n')
            || !matches!(Request::parse(text, Format::Json), Ok(Request::Reply(_)))
        {
            self.reply_to = None;
            return;
        }
        let correspondent = || self.roster.correspondent().ok().map(str::to_owned);
        if let Some(name) = self.reply_to.get_or_insert_with(correspondent) {
            self.editor.replace_command(&format!("/msg {name} "));
        }
    }

    fn suspend(&mut self) -> io::Result<()> {
        self.screen.leave()?;
        raw_mode::suspend()
    }

    /// Parses the chat line after Enter. Executes a command of the client itself, and removes it
    /// from the editor even if its arguments are wrong. A line for the server that cannot be sent
    /// stays in the editor, so that the user can correct it.
    pub(crate) fn submit(&mut self) -> Submission {
        self.parse_submission().unwrap_or_else(|error| {
            self.show_error(&error);
            Submission::None
        })
    }

    fn parse_submission(&mut self) -> Result<Submission, String> {
        let text = self.editor.text().to_owned();
        let lines: Vec<&str> = text.split('\n').collect();
        check_length(&lines)?;
        if let [line] = lines[..]
            && (self.editor.is_command() || !line.starts_with('/'))
        {
            if stdin::is_quit(line) {
                self.editor.empty();
                return Ok(Submission::Leave);
            }
            if let Some(command) = LocalCommand::parse(line) {
                self.editor.take();
                let command = command.map_err(|error| error.to_string())?;
                self.do_command(&command);
                return Ok(Submission::None);
            }
            let Ok(Request::Reply(reply)) = Request::parse(line, Format::Json) else {
                return Ok(Submission::Lines(vec![text]));
            };
            return self.reply(&reply);
        }
        if self.editor.is_command() {
            return Err("a command is one line: send the lines after it separately".into());
        }
        // A pasted line is text even if it begins with a slash. Double this slash, so that the
        // server does not take the line for a command.
        let escape = |line: &str| {
            let slash = if line.starts_with('/') { "/" } else { "" };
            format!("{slash}{line}")
        };
        let lines: Vec<String> = lines.into_iter().map(escape).collect();
        check_length(&lines)?;
        Ok(Submission::Lines(lines))
    }

    /// Addresses a reply to the member that it was begun for. If no one could be answered when the
    /// reply was begun, but someone can be now, shows the recipient first: the user may not have
    /// noticed the new message, so only another Enter sends the reply. The server's own `/reply`
    /// would go to the last sender, even if the user ignores that member.
    fn reply(&mut self, text: &Text) -> Result<Submission, String> {
        let Some(Some(name)) = &self.reply_to else {
            let name = self.roster.correspondent();
            let name = name.map_err(|error| error.to_string())?.to_owned();
            self.editor.replace_command(&format!("/msg {name} "));
            return Err(format!(
                "{name} wrote to you after you began this reply: Enter sends it to {name}"
            ));
        };
        let lines = vec![format!("/msg {name} {text}")];
        check_length(&lines)?;
        Ok(Submission::Lines(lines))
    }

    /// Removes the chat line from the editor and adds it to the history.
    pub(crate) fn take_line(&mut self) {
        self.editor.take();
    }

    /// Handles a line that the user enters while there is no connection. A line for the server is
    /// kept until [`Tui::take_waiting`].
    pub(crate) fn submit_offline(&mut self) -> OfflineSubmission {
        let lines = match self.submit() {
            Submission::None => return OfflineSubmission::None,
            Submission::Leave => return OfflineSubmission::Leave,
            Submission::Lines(lines) => lines,
        };
        match Request::parse(&lines.join("\n"), Format::Json) {
            Ok(Request::Nothing) => {
                self.take_line();
                return OfflineSubmission::Empty;
            }
            Ok(Request::Help(_)) => {
                self.take_line();
                self.show_notice("the room's commands need a connection; /quit and these do not");
                self.received(&Received::Answer(Answer::Help(Vec::new())));
            }
            Err(error) => self.show_error(&error),
            Ok(_) if self.waiting.len() + lines.len() > MAX_WAITING => {
                let waiting = self.waiting.len();
                self.show_error(&format!(
                    "{waiting} lines are already waiting to be sent: your input stays here"
                ));
            }
            Ok(_) => {
                self.take_line();
                let more = match lines.len() - 1 {
                    0 => String::new(),
                    1 => " (and 1 more line)".into(),
                    more => format!(" (and {more} more lines)"),
                };
                self.show_notice(&format!("will be sent once connected: {}{more}", lines[0]));
                self.waiting.extend(lines);
            }
        }
        OfflineSubmission::None
    }

    /// The number of lines that wait for a connection.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Takes the lines that were entered while there was no connection, in order.
    pub(crate) fn take_waiting(&mut self) -> Vec<String> {
        self.screen.touch();
        std::mem::take(&mut self.waiting)
    }

    fn do_command(&mut self, command: &LocalCommand<'_>) {
        let notice = match *command {
            LocalCommand::Clear => return self.screen.clear(),
            LocalCommand::Time(on) => {
                self.formatter.has_times = on;
                if on {
                    "lines begin with the time".into()
                } else {
                    "lines begin without the time; /time on shows it again".into()
                }
            }
            LocalCommand::Bell(on) => {
                self.is_bell_on = on;
                if on {
                    "bell on: it rings for your name and for private messages".into()
                } else {
                    "bell off; /bell on turns it on again".into()
                }
            }
            LocalCommand::Ignore(Some(name)) if self.is_own_name(name) => {
                return self.show_error(&format!("{name} is you: your own lines are always shown"));
            }
            LocalCommand::Ignore(Some(name)) => {
                match (self.roster.toggle_ignored(name), self.roster.has(name)) {
                    (true, Some(true)) => {
                        format!("{name}'s messages are hidden; /ignore {name} shows them again")
                    }
                    (true, Some(false)) => format!(
                        "there is no member called \"{name}\" now; messages of that name will be hidden; /ignore {name} undoes that"
                    ),
                    (true, None) => format!(
                        "{name}'s messages will be hidden, whether {name} is here now or not; /ignore {name} undoes that"
                    ),
                    (false, _) => format!("{name}'s messages are shown again"),
                }
            }
            LocalCommand::Ignore(None) => match self.roster.ignored()[..] {
                [] => "you ignore nobody; /ignore NAME hides what NAME says".into(),
                ref names => format!("ignored: {}", names.join(", ")),
            },
        };
        self.show_notice(&notice);
    }

    fn is_own_name(&self, name: &str) -> bool {
        let own = self.formatter.own();
        own.is_some_and(|own| NameKeys::of(own.name.as_str()).is_same(&NameKeys::of(name)))
    }

    /// Shows that the client has joined or rejoined.
    pub(crate) fn welcome(&mut self, welcome: &Welcome, last_shown: Option<u64>) {
        self.question = None;
        self.roster.enter(welcome);
        let line = self.formatter.welcome(welcome, last_shown);
        self.screen.print(line);
    }

    /// Shows an event or answer from the server.
    pub(crate) fn received(&mut self, received: &Received) {
        let rows = self.screen.most_open_rows().min(MAX_PRESENCE_ROWS);
        self.formatter.presence_space = (self.screen.columns(), rows);
        let lines = match received {
            Received::Record(record, replay) => {
                let is_ignored = self.is_ignored(&record.event);
                if !replay {
                    self.roster.follow(&record.event);
                }
                if is_ignored {
                    self.formatter.advance(record.seq).into_iter().collect()
                } else {
                    let rings = self.formatter.should_ring(&record.event, *replay);
                    if record.event.is_said() {
                        self.count_unread(rings);
                    }
                    self.formatter.record(record, *replay)
                }
            }
            Received::Answer(answer) => {
                if let Answer::PrivateFrom { id, from, .. } = answer {
                    if self.roster.is_ignored(from.as_str()) {
                        self.roster.spoke(*id, from);
                        return;
                    }
                    self.roster.spoke_privately(*id, from);
                    self.count_unread(true);
                }
                self.formatter.answer(answer)
            }
            Received::Unknown => return,
        };
        for line in lines {
            self.screen.print(line);
        }
    }

    fn is_ignored(&self, event: &Event) -> bool {
        let author = event.author();
        author.is_some_and(|(_, from)| self.roster.is_ignored(from.as_str()))
    }

    /// Counts a message as unread. If `rings` is true and the bell is on, rings the bell.
    fn count_unread(&mut self, rings: bool) {
        if let Some(unread) = &mut self.unread {
            *unread += 1;
        }
        if rings && self.is_bell_on {
            self.screen.ring();
        }
    }

    /// Shows a notice from the client.
    pub(crate) fn show_notice(&mut self, text: &str) {
        let line = self.formatter.notice(text);
        self.screen.print(line);
    }

    /// Shows why a request failed.
    pub(crate) fn show_error(&mut self, reason: &impl std::fmt::Display) {
        let line = self.formatter.error(reason);
        self.screen.print(line);
    }

    /// Shows an error that ends the client or loses input.
    pub(crate) fn show_failure(&mut self, error: &impl std::fmt::Display) {
        self.screen.print(Formatter::failure(error));
    }

    /// Sets the status line above the editor.
    pub(crate) fn set_status(&mut self, status: Option<String>) {
        if status != self.status {
            self.status = status;
            self.screen.touch();
        }
    }

    /// How long to wait before the next drawing; `None` if nothing has changed.
    pub(crate) fn draw_in(&self) -> Option<Duration> {
        self.screen.wait()
    }

    /// Draws everything that has changed.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(crate) fn draw(&mut self) -> io::Result<()> {
        if raw_mode::retake()? {
            self.screen.begin_below();
        }
        if !self.screen.refresh_size() {
            return Ok(());
        }
        if let Some(title) = self.title() {
            self.screen.title(title);
        }
        let editor = self.question.as_ref().unwrap_or(&self.editor);
        let rows = editor.rows(self.screen.columns(), self.screen.most_rows());
        let waiting = match self.waiting.len() {
            0 => None,
            1 => Some("1 line waits".into()),
            lines => Some(format!("{lines} lines wait")),
        };
        let status: Vec<String> = self.status.iter().cloned().chain(waiting).collect();
        let status = (!status.is_empty()).then(|| status.join("; "));
        self.screen.draw(&rows, status.as_deref())
    }

    /// The window title: `chat 1 - ala (3)` with 3 unread messages, or `chat 1` while the user is
    /// asked for a name.
    fn title(&self) -> Option<String> {
        // Replace all characters that are not ASCII, because some terminals cannot show them in a
        // title.
        let ascii = |c: char| if c.is_ascii_graphic() { c } else { '?' };
        let own = self.formatter.own();
        let name = own.map(|own| own.name.as_str().chars().take(MAX_NAME_CHARS));
        let name: Option<String> = name.map(|name| name.map(ascii).collect());
        let chat = match self.number {
            Some(number) => format!("chat {number}"),
            None => "chat".into(),
        };
        match (name, self.unread) {
            // There is no name before the welcome. Until then, a title is set only while a question
            // is open. A login attempt leaves the title as it is, because the welcome soon brings
            // the name.
            (None, _) => self.question.as_ref().map(|_| chat),
            (Some(name), None | Some(0)) => Some(format!("{chat} - {name}")),
            (Some(name), Some(unread)) => Some(format!("{chat} - {name} ({unread})")),
        }
    }
}

fn check_length(lines: &[impl AsRef<str>]) -> Result<(), String> {
    if lines.iter().any(|line| line.as_ref().len() > MAX_LINE) {
        return Err(LineError::TooLong.to_string());
    }
    Ok(())
}

impl Drop for Tui {
    fn drop(&mut self) {
        // Print a chat line that the user has not finished, so that it stays visible after the
        // client exits.
        if !self.editor.text().is_empty() {
            for row in self.editor.rows(usize::MAX, usize::MAX).rows {
                self.screen.print(Line::plain(&row));
            }
        }
        // Ignore an error, which means that the terminal is gone.
        let _ = self.screen.leave();
    }
}
