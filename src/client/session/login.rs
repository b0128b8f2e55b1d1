//! Logging in: asking the user for the name and password, and the login attempts.

use std::thread::JoinHandle;

use anyhow::{Error, anyhow};

use crate::client::config::Config;
use crate::client::event::{LoginReply, Rejection, Stop};
use crate::client::event_loop::EventLoop;
use crate::client::net::connection::Connection;
use crate::client::net::receive::{self, LoginRequest};
use crate::client::net::stdin;
use crate::client::ui::history;
use crate::control_socket::Membership;
use crate::protocol::event::Welcome;
use crate::protocol::name::{Group, Name};
use crate::protocol::password::{Password, PasswordError};
use crate::protocol::request::Identity;
use crate::tty::editor::Purpose;
use crate::tty::wrap::NO_BREAK;

/// A connection that has logged in.
pub(crate) struct Joined {
    pub(crate) welcome: Welcome,
    /// Whether the client resumed an earlier session. If so, the server sends every missed event
    /// that it still has, and the welcome tells how many it no longer has.
    pub(crate) has_resumed: bool,
    pub(crate) connection: Connection,
    pub(crate) receiver: JoinHandle<()>,
}

pub(crate) struct LoginDialog {
    pub(crate) request: LoginRequest,
    name_prompt: NamePrompt,
    has_joined: bool,
}

impl LoginDialog {
    /// Takes the name from the configuration, or asks for it.
    pub(crate) fn start(config: &mut Config, events: &mut EventLoop) -> Result<Self, Stop> {
        let mut name_prompt = NamePrompt {
            default_group: config.group.clone(),
            has_asked: false,
        };
        let name = config.name.take();
        let offered = (name.is_none() && events.is_interactive)
            .then(|| history::saved_name(config.window))
            .flatten();
        let request = LoginRequest {
            server: config.server.clone(),
            receive_buffer: config.receive_buffer,
            identity: name_prompt.identity(events, name, offered)?,
            password: config.password.take(),
            resume: None,
        };
        Ok(Self {
            request,
            name_prompt,
            has_joined: false,
        })
    }

    /// Saves the name, which the client offers at its next start. A client of the launcher saves
    /// the name for its window. Any other client saves it only if the user typed it. Does nothing
    /// if stdin is not a terminal.
    pub(crate) fn remember_name(&self, events: &EventLoop, window: Option<usize>) {
        if events.is_interactive && (self.name_prompt.has_asked || window.is_some()) {
            history::save_name(window, &self.request.identity);
        }
    }

    /// Logs in, and asks the user for missing data. Each attempt opens a new connection, because
    /// the user may take longer to answer than the server waits for a login. `status` is shown
    /// during the attempts.
    ///
    /// The inner error means that there is no server, or that it rejects every login.
    pub(crate) fn log_in(
        &mut self,
        events: &mut EventLoop,
        status: Option<&str>,
    ) -> Result<Result<Joined, Error>, Stop> {
        loop {
            events.ui.set_status(status.map(str::to_owned));
            events.report(Membership::Joining);
            let receiver = receive::start(self.request.clone(), events.post.clone())
                .map_err(Stop::cannot_start_thread)?;
            let rejection = match events.login_reply(&self.request.server)? {
                LoginReply::Joined(welcome, connection) => {
                    self.has_joined = true;
                    events.report(Membership::In);
                    return Ok(Ok(Joined {
                        welcome: *welcome,
                        has_resumed: self.request.resume.is_some(),
                        connection,
                        receiver,
                    }));
                }
                LoginReply::Failed(error) => {
                    events.report(Membership::Out);
                    return Ok(Err(error));
                }
                LoginReply::Rejected(rejection) => rejection,
            };
            events.report(Membership::Out);
            // Joining the thread does not block, because the thread ends after a rejected attempt.
            let _ = receiver.join();
            self.update_request(rejection, events)?;
        }
    }

    /// Changes the login request after a rejection, and asks the user if necessary.
    fn update_request(&mut self, rejection: Rejection, events: &mut EventLoop) -> Result<(), Stop> {
        if !self.has_joined {
            // Drop the lines that the user entered before the login was complete. Some may answer
            // questions of the login, such as the one for the password, so the room must not get
            // them.
            events.ui.drop_waiting();
        }
        match rejection {
            // The server cannot resume the session: join as a newcomer.
            Rejection::Resume => self.request.resume = None,
            Rejection::Name(reason) => {
                events.reject(&reason)?;
                let offered = suggested_name(reason.as_str()).map(|name| {
                    let group = self.request.identity.group.clone();
                    Identity { name, group }.to_string()
                });
                self.request.identity = self.name_prompt.identity(events, None, offered)?;
            }
            Rejection::PasswordMissing if !events.is_interactive => {
                return Err(Stop::Failed(anyhow!(
                    "this room has a password: give it with --password, or in CHAT_PASSWORD"
                )));
            }
            Rejection::PasswordMissing => self.request.password = Some(ask_password(events)?),
            Rejection::PasswordWrong => {
                events.reject(&"that is not the room's password")?;
                self.request.password = Some(ask_password(events)?);
            }
        }
        Ok(())
    }
}

/// Asks the user for a name.
struct NamePrompt {
    /// The group to use if the user types a name without a group.
    default_group: Option<Group>,
    has_asked: bool,
}

impl NamePrompt {
    /// Parses `given`. If it is missing or invalid, asks the user until an answer is a valid name.
    /// An empty answer accepts `offered`.
    fn identity(
        &mut self,
        events: &mut EventLoop,
        mut given: Option<String>,
        mut offered: Option<String>,
    ) -> Result<Identity, Stop> {
        loop {
            let words = match given.take() {
                Some(words) => words,
                None => self.ask(events, offered.as_deref())?,
            };
            match Identity::parse(&words) {
                Ok(Identity { name, group }) => {
                    let group = group.or_else(|| self.default_group.clone());
                    return Ok(Identity { name, group });
                }
                Err(_) if events.is_interactive && words.trim_start().starts_with('/') => {
                    events.reject(
                        &"that command is for members: type your name first, or /quit to leave",
                    )?;
                }
                Err(error) => {
                    events.reject(&error)?;
                    let suggested = suggested_name(&error.to_string());
                    offered = suggested.map(|name| name.to_string()).or(offered);
                }
            }
        }
    }

    fn ask(&mut self, events: &mut EventLoop, offered: Option<&str>) -> Result<String, Stop> {
        self.has_asked = true;
        let question = match offered {
            Some(words) => {
                let words = words.replace(' ', NO_BREAK);
                format!("name, and group if you like [{words}]: ")
            }
            None => "name, and group if you like: ".into(),
        };
        match (events.ask(&question, Purpose::Answer)?, offered) {
            (Some(line), _) if stdin::is_quit(&line) => Err(Stop::Leave),
            (Some(line), Some(words)) if line.trim().is_empty() => Ok(words.to_owned()),
            (Some(line), _) => Ok(line),
            (None, _) if events.is_interactive => Err(Stop::Leave),
            (None, _) => Err(Stop::Failed(anyhow!(
                "there is no name: give one with -n, or in the first line"
            ))),
        }
    }
}

fn ask_password(events: &mut EventLoop) -> Result<Password, Stop> {
    loop {
        let password = events.ask("password: ", Purpose::Password)?;
        match Password::new(&password.ok_or(Stop::Leave)?) {
            Ok(password) => return Ok(password),
            Err(PasswordError::Empty) => {}
            Err(error) => events.reject(&error)?,
        }
    }
}

/// The name that the server's error message suggests, if there is one.
fn suggested_name(reason: &str) -> Option<Name> {
    let (_, name) = reason.rsplit_once(": try ")?;
    Name::new(name).ok()
}
