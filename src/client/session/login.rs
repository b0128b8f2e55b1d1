//! Logging in: the questions to the user, and the attempts.

use std::thread::JoinHandle;

use anyhow::{Error, anyhow};

use crate::client::config::Config;
use crate::client::event::{LoginReply, Rejection, Stop};
use crate::client::event_loop::EventLoop;
use crate::client::net::connection::Connection;
use crate::client::net::receive::{self, LoginRequest};
use crate::client::net::stdin;
use crate::client::ui::history;
use crate::protocol::event::Welcome;
use crate::protocol::name::{Group, Name};
use crate::protocol::request::Identity;
use crate::tty::editor::Purpose;

/// A connection after its login.
pub(crate) struct Joined {
    pub(crate) welcome: Welcome,
    /// Whether the client resumed its place, so that the server sends all missed events or says how
    /// many are lost.
    pub(crate) has_resumed: bool,
    pub(crate) connection: Connection,
    pub(crate) receiver: JoinHandle<()>,
}

pub(crate) struct LoginDialog {
    pub(crate) request: LoginRequest,
    name_prompt: NamePrompt,
}

impl LoginDialog {
    /// Takes the name from the configuration, or asks for it.
    pub(crate) fn start(config: &mut Config, events: &mut EventLoop) -> Result<Self, Stop> {
        let mut name_prompt = NamePrompt {
            default_group: config.group.clone(),
            has_asked: false,
        };
        let name = config.name.take();
        // In a session of several windows, only one can use the last name.
        let may_be_free = config.window.is_none_or(|number| number == 1);
        let offered = (name.is_none() && events.is_interactive && may_be_free)
            .then(history::last_name)
            .flatten();
        let request = LoginRequest {
            server: config.server.clone(),
            identity: name_prompt.identity(events, name, offered)?,
            password: config.password.take(),
            resume: None,
        };
        Ok(Self {
            request,
            name_prompt,
        })
    }

    /// Remembers the name for the next start, if the user typed it.
    pub(crate) fn remember_name(&self, events: &EventLoop) {
        if events.is_interactive && self.name_prompt.has_asked {
            history::keep_name(&self.request.identity.to_string());
        }
    }

    /// Logs in, asking for what is needed. Each attempt opens a new connection, as the user may
    /// take longer to answer than a server waits for a name. `status` is shown during the attempts.
    ///
    /// The inner error means that there is no server, or that it rejects every login.
    pub(crate) fn log_in(
        &mut self,
        events: &mut EventLoop,
        status: Option<&str>,
    ) -> Result<Result<Joined, Error>, Stop> {
        loop {
            events.ui.set_status(status.map(str::to_owned));
            let receiver = receive::start(self.request.clone(), events.post.clone())
                .map_err(Stop::cannot_start_thread)?;
            let rejection = match events.login_reply()? {
                LoginReply::Joined(welcome, connection) => {
                    return Ok(Ok(Joined {
                        welcome: *welcome,
                        has_resumed: self.request.resume.is_some(),
                        connection,
                        receiver,
                    }));
                }
                LoginReply::Failed(error) => return Ok(Err(error)),
                LoginReply::Rejected(rejection) => rejection,
            };
            // The thread ends with its attempt.
            let _ = receiver.join();
            self.update_request(rejection, events)?;
        }
    }

    /// Changes the request for another attempt.
    fn update_request(&mut self, rejection: Rejection, events: &mut EventLoop) -> Result<(), Stop> {
        match rejection {
            // The place is gone: join as a newcomer.
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

/// The question for a name.
struct NamePrompt {
    /// The group to use if the answer has none.
    default_group: Option<Group>,
    has_asked: bool,
}

impl NamePrompt {
    /// Parses `given`, or asks until an answer is a name. An empty answer accepts `offered`.
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
                    events
                        .reject(&"that is for members: type your name first, or /quit to leave")?;
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
            Some(words) => format!("name, and group if you like [{words}]: "),
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

fn ask_password(events: &mut EventLoop) -> Result<String, Stop> {
    loop {
        let password = events.ask("password: ", Purpose::Password)?;
        let password = password.ok_or(Stop::Leave)?;
        if !password.trim().is_empty() {
            return Ok(password);
        }
    }
}

/// The name that the reason of a rejection suggests, if any.
fn suggested_name(reason: &str) -> Option<Name> {
    let (_, name) = reason.rsplit_once(": try ")?;
    Name::new(name).ok()
}
