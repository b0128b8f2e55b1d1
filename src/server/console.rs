//! The operator's commands, and the terminal that they are typed on.

use std::io::{self, BufRead, IsTerminal};
use std::sync::mpsc::Sender;
use std::thread;

use crate::protocol::commands::{self, OperatorCommand};
use crate::protocol::event::Answer;
use crate::protocol::request::{self, RequestError};
use crate::protocol::text::Text;
use crate::server::ServerEvent;
use crate::server::room::Room;
use crate::tty;

/// What a command leads to.
pub(crate) enum Outcome {
    Nothing,
    Answer(Answer),
    Quit,
}

/// Reads the operator's lines, on a terminal or from the launcher; their end is the end of a launcher.
///
/// The thread is not joined: nothing ends a read of a terminal. It holds nothing but the way to tell.
pub(crate) fn start(lifeline: bool, events: Sender<ServerEvent>) -> io::Result<()> {
    let input = io::stdin();
    let is_operator = input.is_terminal() && tty::is_foreground(&input) == Some(true);
    if !is_operator && !lifeline {
        return Ok(());
    }
    let read = move || {
        for line in input.lock().split(b'\n') {
            // The terminal is gone.
            let Ok(line) = line else { break };
            // A terminal that is not set to UTF-8 is no reason to end.
            let line = String::from_utf8_lossy(&line).into_owned();
            if events.send(ServerEvent::Line(line)).is_err() {
                return;
            }
        }
        if lifeline {
            // The receiver may be gone, which is what this asks for.
            let _ = events.send(ServerEvent::Stop);
        }
    };
    thread::Builder::new()
        .name("console".into())
        .spawn(read)
        .map(drop)
}

/// Does what the operator typed.
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
        let word = request::excerpt(&word);
        let text = format!("unknown command {word}: /say TEXT speaks, /help lists the commands");
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
            kicked.map_or_else(error, |()| Outcome::Nothing)
        }
        OperatorCommand::Online => Outcome::Answer(room.online()),
        OperatorCommand::Help => Outcome::Answer(Answer::Help(commands::operator_help())),
        OperatorCommand::Quit => Outcome::Quit,
    }
}
