//! From the name to the welcome: what is asked, and the attempts to join.

use std::thread::JoinHandle;

use anyhow::{Error, anyhow};

use crate::client::net::connection::{self, Attempt, Connection, Login, Refusal};
use crate::client::net::stdin::{self, Ask, Typed};
use crate::client::ui::Ui;
use crate::client::ui::history;
use crate::client::{Client, Happening, Stop};
use crate::os;
use crate::protocol::event::Welcome;
use crate::protocol::name::Name;
use crate::protocol::request::Identity;
use crate::tty::editor::Purpose;
use crate::tty::raw_mode::RawMode;

/// What a client has that is a member.
pub(crate) struct Joined {
    pub(crate) welcome: Welcome,
    /// It has taken its place back, and so all that it missed comes, or is said to be missing.
    pub(crate) has_resumed: bool,
    pub(crate) connection: Connection,
    pub(crate) receiver: JoinHandle<()>,
}

impl Client {
    /// Who wants to join, and where.
    pub(crate) fn first_login(&mut self, name: Option<String>) -> Result<Login, Stop> {
        // Of the windows of a session one at most can have it.
        let may_be_free = self.config.window.is_none_or(|number| number == 1);
        let offered = if name.is_none() && self.is_interactive && may_be_free {
            history::last_name()
        } else {
            None
        };
        Ok(Login {
            target: self.config.target.clone(),
            identity: self.identity(name, offered)?,
            password: self.config.password.take(),
            resume: None,
        })
    }

    /// Remembers a name that was asked for.
    pub(crate) fn keep_name(&self, login: &Login) {
        if self.is_interactive && self.has_asked_name {
            history::keep_name(&login.identity.to_string());
        }
    }

    /// Joins, and asks for what is needed. Each attempt has a connection of its own, as a prompt may stand for longer than a server waits for
    /// a name.
    pub(crate) fn join(&mut self, login: &mut Login) -> Result<Joined, Stop> {
        loop {
            match self.try_to_join(login)? {
                LoginOutcome::In(joined) => return Ok(*joined),
                LoginOutcome::Failed(error) => return Err(Stop::Failed(error)),
                LoginOutcome::Refused => {}
            }
        }
    }

    /// Tries once. Where something else has to be asked for, it has been, and `login` has it.
    pub(crate) fn try_to_join(&mut self, login: &mut Login) -> Result<LoginOutcome, Stop> {
        let receiver = connection::start(login.clone(), self.leaving.post.clone())
            .map_err(|error| Stop::Failed(Error::new(error).context(os::NO_THREAD)))?;
        match self.attempt()? {
            Attempt::In(welcome, connection) => {
                return Ok(LoginOutcome::In(Box::new(Joined {
                    welcome: *welcome,
                    has_resumed: login.resume.is_some(),
                    connection,
                    receiver,
                })));
            }
            Attempt::Failed(error) => return Ok(LoginOutcome::Failed(error)),
            // Its place is gone: it joins as anybody does.
            Attempt::Refused(Refusal::Resume) => login.resume = None,
            Attempt::Refused(Refusal::Name(reason)) => {
                self.refused(&reason)?;
                let offered = suggested(reason.as_str()).map(|name| Identity {
                    name,
                    group: login.identity.group.clone(),
                });
                let offered = offered.map(|identity| identity.to_string());
                login.identity = self.identity(None, offered)?;
            }
            Attempt::Refused(Refusal::NoPassword) => {
                if !self.is_interactive {
                    return Err(Stop::Failed(anyhow!(
                        "this room has a password: give it with --password, or in CHAT_PASSWORD"
                    )));
                }
                login.password = Some(self.ask_password()?);
            }
            Attempt::Refused(Refusal::WrongPassword) => {
                self.refused(&"that is not the room's password")?;
                login.password = Some(self.ask_password()?);
            }
        }
        // It has ended with its attempt.
        let _ = receiver.join();
        Ok(LoginOutcome::Refused)
    }

    /// Who the user is: what was given, or what they answer, until it can be a name. An empty answer is what was `offered`.
    fn identity(
        &mut self,
        mut given: Option<String>,
        mut offered: Option<String>,
    ) -> Result<Identity, Stop> {
        loop {
            let words = match given.take() {
                Some(words) => words,
                None => {
                    self.has_asked_name = true;
                    let question = match &offered {
                        Some(words) => format!("name, and group if you like [{words}]: "),
                        None => "name, and group if you like: ".into(),
                    };
                    match self.ask(&question, Purpose::Answer)? {
                        Some(line) if stdin::leaves(&line) => return Err(Stop::Leave),
                        Some(line) => match &offered {
                            Some(words) if line.trim().is_empty() => words.clone(),
                            _ => line,
                        },
                        None if self.is_interactive => return Err(Stop::Leave),
                        None => {
                            return Err(Stop::Failed(anyhow!(
                                "there is no name: give one with -n, or in the first line"
                            )));
                        }
                    }
                }
            };
            match Identity::parse(&words) {
                Ok(Identity { name, group }) => {
                    let group = group.or_else(|| self.config.group.clone());
                    return Ok(Identity { name, group });
                }
                Err(_) if self.is_interactive && words.trim_start().starts_with('/') => {
                    self.refused(&"that is for members: type your name first, or /quit to leave")?;
                }
                Err(error) => {
                    self.refused(&error)?;
                    let suggested = suggested(&error.to_string()).map(|name| name.to_string());
                    offered = suggested.or(offered);
                }
            }
        }
    }

    fn ask_password(&mut self) -> Result<String, Stop> {
        loop {
            let password = self.ask("password: ", Purpose::Password)?;
            let password = password.ok_or(Stop::Leave)?;
            if !password.trim().is_empty() {
                return Ok(password);
            }
        }
    }

    /// Asks on a terminal, and takes the next line anyway; `None` at the end of input.
    pub(crate) fn ask(&mut self, question: &str, purpose: Purpose) -> Result<Option<String>, Stop> {
        // Nobody is connecting.
        self.ui.status(None);
        if let Ui::Tui(window) = &mut self.ui {
            window.ask(question, purpose);
            return self.answer().map(Some);
        }
        loop {
            let _hidden = match purpose {
                Purpose::Password => Some(RawMode::hide_typing().map_err(|error| {
                    Stop::Failed(Error::new(error).context("cannot hide a password that is typed"))
                })?),
                Purpose::Chat | Purpose::Answer | Purpose::Command => None,
            };
            if let (Ui::Lines(view, _), true) = (&mut self.ui, self.is_interactive) {
                view.ask(question);
            }
            match self.line()? {
                Typed::Line(line) => return Ok(Some(line)),
                Typed::Unsendable(_, error) => self.refused(&error)?,
                Typed::Over => {
                    if let (Ui::Lines(view, _), true) = (&mut self.ui, self.is_interactive) {
                        view.end_line();
                    }
                    return Ok(None);
                }
                Typed::Broken(error) => return Err(Stop::unreadable(error)),
            }
        }
    }

    /// What is entered in the window.
    fn answer(&mut self) -> Result<String, Stop> {
        loop {
            let happening = self.next()?;
            if let (Happening::Entered, Ui::Tui(window)) = (happening, &mut self.ui) {
                return Ok(window.answer());
            }
        }
    }

    /// The next line from stdin.
    fn line(&mut self) -> Result<Typed, Stop> {
        if let Ui::Lines(_, asks) = &self.ui {
            // The input thread ends after this one.
            let _ = asks.send(Ask::Line);
        }
        loop {
            // Nobody is connecting.
            if let Happening::Typed(typed) = self.next()? {
                return Ok(typed);
            }
        }
    }

    fn attempt(&mut self) -> Result<Attempt, Stop> {
        loop {
            match self.next()? {
                Happening::Attempt(attempt) => return Ok(attempt),
                Happening::Entered => self.entered_alone()?,
                // Nothing was asked of stdin, and nothing comes before the welcome.
                Happening::Typed(_)
                | Happening::Terminal(_)
                | Happening::NoKeys
                | Happening::Received(_)
                | Happening::Ended(_)
                | Happening::Leave => {}
            }
        }
    }

    /// Does what can be done with a line that was entered while there is no connection.
    pub(crate) fn entered_alone(&mut self) -> Result<(), Stop> {
        // Only a window tells that something was entered.
        if let Ui::Tui(window) = &mut self.ui
            && window.entered_alone()
        {
            return Err(Stop::Leave);
        }
        Ok(())
    }

    /// On a terminal, one can try again.
    fn refused(&mut self, reason: &impl std::fmt::Display) -> Result<(), Stop> {
        if self.is_interactive {
            self.ui.refuse(reason);
            Ok(())
        } else {
            Err(Stop::Failed(anyhow!("{reason}")))
        }
    }

    /// Lets the user of a window that closes with its client read why that ends.
    pub(crate) fn keep_window(&mut self) {
        let question = "press Enter to close this window ";
        match &mut self.ui {
            Ui::Tui(_) => {
                let _ = self.ask(question, Purpose::Answer);
            }
            Ui::Lines(view, _) => {
                view.ask(question);
                let _ = self.line();
            }
        }
    }
}

/// The name to try that the reason of a refusal ends with, if it does.
fn suggested(reason: &str) -> Option<Name> {
    let (_, name) = reason.rsplit_once(": try ")?;
    Name::new(name).ok()
}

/// How one attempt to join ended.
pub(crate) enum LoginOutcome {
    In(Box<Joined>),
    /// Something has to be another one, and is.
    Refused,
    /// There is no talking to a server, or it lets nobody in.
    Failed(Error),
}
