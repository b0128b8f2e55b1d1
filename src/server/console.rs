//! Reads the operator's commands from the terminal or a pipe, and runs them.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread;

use crate::protocol::commands::{self, CommandLine, OperatorCommand};
use crate::protocol::event::Answer;
use crate::protocol::request::{self, RequestError};
use crate::protocol::text::Text;
use crate::server::ServerEvent;
use crate::server::log::{Entry, Log, Poster};
use crate::server::room::Room;
use crate::tty;
use crate::tty::console::Console;
use crate::tty::input::Keyboard;
use crate::tty::raw_mode;
use crate::tty::stdin::{self, InputEnd};

/// The result of an operator's command.
pub(crate) enum Outcome {
    Nothing,
    Answer(Answer),
    Quit,
}

/// Starts the thread `console`, which reads the operator's lines. On a capable terminal, the
/// operator types in a line editor below the log. The server stops when the terminal is gone. If
/// `supervised`, the lines come from the launcher, and the end of input stops the server.
///
/// The thread is never joined, because nothing ends its wait for input. It holds nothing that needs
/// cleanup.
///
/// # Errors
/// A thread or socket can't be created.
pub(crate) fn start(supervised: bool, events: Sender<ServerEvent>, log: &Log) -> io::Result<()> {
    let stopping = events.clone();
    // Ignore errors: the receiver is gone if the server is already stopping.
    tty::watch_owner(move || drop(stopping.send(ServerEvent::Stop)))?;
    let thread = thread::Builder::new().name("console".into());
    if !supervised && tty::is_capable() {
        // Restore the terminal on any panic. If only a client's thread panics, the server
        // continues, and the next log line makes the terminal raw again.
        raw_mode::restore_on_panic(|| {});
        let (keyboard, poster) = (Keyboard::open()?, log.poster());
        let (redrawn, suspending) = (poster.clone(), events.clone());
        let console = Console::new(
            move || redrawn.redraw(),
            // Ignore errors: the receiver is gone if the server is already stopping.
            move |console| drop(suspending.send(ServerEvent::Suspend(console))),
        );
        let keys = Arc::clone(&console);
        thread.spawn(move || read_keys(&keys, keyboard, &events, &poster))?;
        // Attach the console last: this makes the terminal raw, and the terminal would stay raw if
        // an error followed.
        log.attach(console);
        return Ok(());
    }
    if !tty::is_stdin_terminal() && !supervised {
        return Ok(());
    }
    let read = move || {
        let end = stdin::read_lines(None, usize::MAX, |line| {
            // Replace invalid UTF-8, because the terminal may use another encoding.
            let line = String::from_utf8_lossy(&line).into_owned();
            events.send(ServerEvent::Line(line)).is_ok()
        });
        if supervised || end == InputEnd::HangUp {
            // Ignore errors: the receiver is gone if the server is already stopping.
            let _ = events.send(ServerEvent::Stop);
        }
    };
    thread.spawn(read).map(drop)
}

fn read_keys(console: &Console, keyboard: Keyboard, events: &Sender<ServerEvent>, log: &Poster) {
    let keyboard = keyboard.pausing_in_background(None);
    let names = || log.names();
    let end = console.read_keys(keyboard, commands::of_operator, names, |line| match line {
        Ok(line) => {
            log.post(Entry::Typed(line.clone()));
            // Ignore errors: the receiver is gone if the server is already stopping.
            let _ = events.send(ServerEvent::Line(line));
        }
        Err(refusal) => log.post(Entry::Error(refusal.to_string())),
    });
    if end == InputEnd::HangUp {
        let _ = events.send(ServerEvent::Stop);
    }
}

/// Runs the operator's command.
pub(crate) fn handle(line: &str, room: &Room) -> Outcome {
    let line = line.trim();
    let (command, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    let error = |error: RequestError| Outcome::Answer(Answer::Error(Text::new(&error.to_string())));
    let word = command.to_lowercase();
    if word.is_empty() {
        return Outcome::Nothing;
    }
    let Some((command, row)) = commands::find(&commands::OPERATOR, &word) else {
        let text = if CommandLine::parse(line).is_some() {
            let word = request::excerpt(&word);
            format!("unknown command {word}: /say TEXT speaks, /help lists the commands")
        } else {
            "not sent: type /say TEXT to speak to the room, or /help for the commands".into()
        };
        return Outcome::Answer(Answer::Error(Text::new(&text)));
    };
    match command {
        OperatorCommand::Say => {
            let text = Text::new(rest);
            if !text.is_visible() {
                return error(RequestError::Usage(row.usage));
            }
            room.say(text);
            Outcome::Nothing
        }
        OperatorCommand::Kick => {
            let (name, reason) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            let kicked = request::parse_recipient(name, RequestError::Usage(row.usage))
                .and_then(|name| room.kick(&name, reason.trim()));
            match kicked {
                Ok(None) => Outcome::Nothing,
                Ok(Some(name)) => {
                    let notice = format!("the name {name} is free: its owner had left");
                    Outcome::Answer(Answer::Notice(Text::new(&notice)))
                }
                Err(refusal) => error(refusal),
            }
        }
        OperatorCommand::Online => Outcome::Answer(room.online()),
        OperatorCommand::Help => Outcome::Answer(Answer::Help(commands::operator_help())),
        OperatorCommand::Quit => Outcome::Quit,
    }
}
