//! The client's window on a terminal: what it shows of what happens, and what the user does in it.

use std::io;
use std::time::Duration;

use crossterm::event::Event as Input;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::client::net::stdin;
use crate::client::ui::commands::Local;
use crate::client::ui::format::{Formatter, Layout};
use crate::client::ui::roster::Roster;
use crate::client::ui::terminal;
use crate::client::ui::{completion, history};
use crate::protocol::event::{Answer, Event, Welcome};
use crate::protocol::json::Received;
use crate::protocol::limits::{MAX_LINE, MAX_NAME_CHARS};
use crate::protocol::line::LineError;
use crate::protocol::request::{Format, Request};
use crate::protocol::text::Text;
use crate::tty::editor::{Editor, EditorAction, History, Purpose};
use crate::tty::line::Line;
use crate::tty::raw_mode::{self, RawMode};
use crate::tty::screen::Screen;

/// What stands before the line.
const LABEL: &str = "> ";

/// Why something is not taken.
const FULL: &str = "what came last was not taken: a line and a paste have at most 64 KiB together";

/// The window, with the terminal taken for it.
pub(crate) struct Tui {
    screen: Screen,
    pub(crate) formatter: Formatter,
    editor: Editor,
    /// What is asked now; what was being typed waits meanwhile.
    question: Option<Editor>,
    roster: Roster,
    /// The number of the session's window.
    number: Option<usize>,
    /// What stands above the line, where something is to be said all the time.
    status: Option<String>,
    rings: bool,
    /// Lines that came since the terminal said that nobody looks; none where it does not say.
    unread: Option<u64>,
    /// Dropped last, after what is on the screen.
    _raw_mode: RawMode,
}

/// What the user wants of the client.
pub(crate) enum InputAction {
    /// None but what has been done already.
    None,
    /// The line is whole: [`Tui::entered`] or [`Tui::answer`] has it.
    Enter,
    /// To leave.
    Leave,
}

/// What a line that was entered is.
pub(crate) enum Submission {
    /// None for the server.
    None,
    /// To be sent, and then taken out of the line by [`Tui::take_line`].
    Lines(Vec<String>),
    /// The end.
    Leave,
}

impl Tui {
    /// Takes the terminal, on which nothing else has been where it `is_fresh`.
    ///
    /// # Errors
    /// It cannot be taken.
    pub(crate) fn open(
        is_coloured: bool,
        number: Option<usize>,
        is_fresh: bool,
    ) -> io::Result<Self> {
        Ok(Self {
            _raw_mode: terminal::enter()?,
            screen: Screen::new(is_coloured, is_fresh),
            formatter: Formatter::new(Layout::Screen, TimeZone::system(), Timestamp::now()),
            editor: Editor::new(LABEL, Purpose::Chat, history::load()),
            question: None,
            roster: Roster::default(),
            number,
            status: None,
            rings: true,
            unread: None,
        })
    }

    /// Asks for something.
    pub(crate) fn ask(&mut self, question: &str, purpose: Purpose) {
        self.question = Some(Editor::new(question, purpose, History::default()));
        self.screen.touch();
    }

    /// Takes the answer to what was asked.
    pub(crate) fn take_answer(&mut self) -> String {
        let Some(mut question) = self.question.take() else {
            return String::new();
        };
        for row in question.rows(usize::MAX, 1).rows {
            self.screen.print(Line::plain(&row));
        }
        question.take()
    }

    /// Does what the user does at the terminal.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(crate) fn input(&mut self, input: Input) -> io::Result<InputAction> {
        self.screen.touch();
        match input {
            Input::Key(key) => {
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
                    Some(EditorAction::Refuse(_)) => self.show_error(&FULL),
                }
            }
            Input::Paste(text) => {
                let editor = self.question.as_mut().unwrap_or(&mut self.editor);
                if editor.paste(&text).is_err() {
                    self.show_error(&FULL);
                }
            }
            Input::Resize(..) => self.screen.resize(),
            Input::FocusGained => self.unread = None,
            Input::FocusLost => self.unread = Some(0),
            Input::Mouse(_) => {}
        }
        Ok(InputAction::None)
    }

    fn suspend(&mut self) -> io::Result<()> {
        self.screen.leave()?;
        raw_mode::suspend()
    }

    /// What the line that the user has entered is; it is done here where it is for the window alone. A line that cannot be sent stays to
    /// be edited, but for a command's that is no use as it is.
    pub(crate) fn submit(&mut self) -> Submission {
        let text = self.editor.text().to_owned();
        let lines: Vec<&str> = text.split('\n').collect();
        if lines.iter().any(|line| line.len() > MAX_LINE) {
            self.show_error(&LineError::TooLong);
            return Submission::None;
        }
        if let [line] = lines[..]
            && (self.editor.is_command() || !line.starts_with('/'))
        {
            if stdin::is_quit(line) {
                self.editor.empty();
                return Submission::Leave;
            }
            match Local::parse(line) {
                Some(Err(usage)) => {
                    self.show_error(&usage);
                    self.editor.take();
                    return Submission::None;
                }
                Some(Ok(command)) => {
                    self.do_command(&command);
                    self.editor.take();
                    return Submission::None;
                }
                None => {}
            }
            let Ok(Request::Reply(reply)) = Request::parse(line, Format::Json) else {
                return Submission::Lines(vec![text]);
            };
            return self.reply(&reply);
        }
        if self.editor.is_command() {
            self.show_error(&"a command is one line: say the lines after it by themselves");
            return Submission::None;
        }
        // A paste is text, whatever its lines begin with.
        let as_text = |line: &str| match line.starts_with('/') {
            true => format!("/{line}"),
            false => line.to_owned(),
        };
        let lines: Vec<String> = lines.into_iter().map(as_text).collect();
        if lines.iter().any(|line| line.len() > MAX_LINE) {
            self.show_error(&LineError::TooLong);
            return Submission::None;
        }
        Submission::Lines(lines)
    }

    /// An answer to who is seen to have written last. The server would send it to somebody whom this client ignores.
    fn reply(&mut self, text: &Text) -> Submission {
        let line = match self.roster.correspondent() {
            Ok(name) => format!("/msg {name} {text}"),
            Err(reason) => {
                self.show_error(&reason);
                return Submission::None;
            }
        };
        if line.len() > MAX_LINE {
            self.show_error(&LineError::TooLong);
            return Submission::None;
        }
        Submission::Lines(vec![line])
    }

    /// Takes the line away, which is in the history from now on.
    pub(crate) fn take_line(&mut self) {
        self.editor.take();
    }

    /// Does what can be done with the line that the user has entered while there is no connection; `true` where that is to leave.
    pub(crate) fn submit_offline(&mut self) -> bool {
        match self.submit() {
            Submission::None => {}
            Submission::Leave => return true,
            Submission::Lines(lines) => {
                let request = Request::parse(&lines.join("\n"), Format::Json);
                if let Ok(Request::Nothing) = request {
                    self.take_line();
                } else if let Ok(Request::Help(_)) = request {
                    self.take_line();
                    self.show_notice(
                        "the room's own commands need a connection; /quit and these do not",
                    );
                    self.received(&Received::Answer(Answer::Help(Vec::new())));
                } else {
                    self.show_error(&"there is no connection yet: the line stays here until there is, or another is typed");
                    self.editor.keep();
                }
            }
        }
        false
    }

    fn do_command(&mut self, command: &Local<'_>) {
        match *command {
            Local::Clear => self.screen.clear(),
            Local::Time(on) => {
                self.formatter.has_times = on;
                self.show_notice(match on {
                    true => "lines begin with the time",
                    false => "lines begin without the time; /time on shows it again",
                });
            }
            Local::Bell(on) => {
                self.rings = on;
                self.show_notice(match on {
                    true => {
                        "the bell rings when somebody says your name, or writes to you in private"
                    }
                    false => "the bell does not ring any more; /bell on lets it ring again",
                });
            }
            Local::Ignore(Some(name)) if self.is_own_name(name) => {
                self.show_error(&format!("{name} is you: your own lines are always shown"));
            }
            Local::Ignore(Some(name)) => {
                let said = match (self.roster.ignore(name), self.roster.has(name)) {
                    (true, Some(true)) => format!(
                        "what {name} says is not shown any more; /ignore {name} shows it again"
                    ),
                    (true, Some(false)) => format!(
                        "no {name} is here now; what {name} says will not be shown; /ignore {name} undoes that"
                    ),
                    (true, None) => format!(
                        "what {name} says will not be shown, whether {name} is here now or not; /ignore {name} undoes that"
                    ),
                    (false, _) => format!("what {name} says is shown again"),
                };
                self.show_notice(&said);
            }
            Local::Ignore(None) => {
                let said = match self.roster.ignored()[..] {
                    [] => "nobody is ignored; /ignore NAME does".to_owned(),
                    ref names => format!("ignored: {}", names.join(", ")),
                };
                self.show_notice(&said);
            }
        }
    }

    fn is_own_name(&self, name: &str) -> bool {
        let own = self.formatter.own();
        own.is_some_and(|own| own.name.as_str().to_lowercase() == name.to_lowercase())
    }

    /// Shows that the client has joined, or is back.
    pub(crate) fn welcome(&mut self, welcome: &Welcome, last_shown: Option<u64>) {
        self.question = None;
        self.roster.enter(welcome);
        let line = self.formatter.welcome(welcome, last_shown);
        self.screen.print(line);
    }

    /// Shows what the server sent.
    pub(crate) fn received(&mut self, received: &Received) {
        let lines = match received {
            Received::Record(record, replay) => {
                let is_ignored = self.is_ignored(&record.event);
                if !replay {
                    self.roster.follow(&record.event);
                }
                if is_ignored {
                    self.formatter.advance(record.seq).into_iter().collect()
                } else {
                    let rings = self.formatter.rings(&record.event, *replay);
                    if record.event.is_said() {
                        self.count(rings);
                    }
                    self.formatter.record(record, *replay)
                }
            }
            Received::Answer(answer) => {
                if let Answer::PrivateFrom { id, from, .. } = answer {
                    if self.roster.is_ignored(from.as_str()) {
                        self.roster.heard(*id, from);
                        return;
                    }
                    self.roster.heard_privately(*id, from);
                    self.count(true);
                }
                self.formatter.answer(answer, self.screen.columns())
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

    /// A line came that somebody may want to know of.
    fn count(&mut self, rings: bool) {
        if let Some(unread) = &mut self.unread {
            *unread += 1;
        }
        if rings && self.rings {
            self.screen.ring();
        }
    }

    /// Says something.
    pub(crate) fn show_notice(&mut self, text: &str) {
        let line = self.formatter.notice(text);
        self.screen.print(line);
    }

    /// Says why something is not done.
    pub(crate) fn show_error(&mut self, reason: &impl std::fmt::Display) {
        let line = self.formatter.error(reason);
        self.screen.print(line);
    }

    /// Says why the client ends.
    pub(crate) fn show_failure(&mut self, error: &impl std::fmt::Display) {
        self.screen.print(Formatter::failure(error));
    }

    /// What stands above the line from now on.
    pub(crate) fn set_status(&mut self, status: Option<String>) {
        if status != self.status {
            self.status = status;
            self.screen.touch();
        }
    }

    /// How long drawing may still wait; `None` where there is nothing to draw.
    pub(crate) fn draw_in(&self) -> Option<Duration> {
        self.screen.wait()
    }

    /// Draws all that has changed.
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
        self.screen.draw(&rows, self.status.as_deref())
    }

    /// As `chat 1 - ala (3)`, and `chat 1` while the name is asked for.
    fn title(&self) -> Option<String> {
        // Not every terminal can show more in a title.
        let ascii = |c: char| if c.is_ascii_graphic() { c } else { '?' };
        let own = self.formatter.own();
        let name = own.map(|own| own.name.as_str().chars().take(MAX_NAME_CHARS));
        let name: Option<String> = name.map(|name| name.map(ascii).collect());
        let chat = match self.number {
            Some(number) => format!("chat {number}"),
            None => "chat".into(),
        };
        match (name, self.unread) {
            // Without a question, the name was given and its welcome is about to come.
            (None, _) => self.question.as_ref().map(|_| chat),
            (Some(name), None | Some(0)) => Some(format!("{chat} - {name}")),
            (Some(name), Some(unread)) => Some(format!("{chat} - {name} ({unread})")),
        }
    }
}

impl Drop for Tui {
    fn drop(&mut self) {
        // What was typed and not entered stays to be read.
        if !self.editor.text().is_empty() {
            for row in self.editor.rows(usize::MAX, usize::MAX).rows {
                self.screen.print(Line::plain(&row));
            }
        }
        // It fails where the terminal is gone.
        let _ = self.screen.leave();
    }
}
