//! How the windows open: in which way, the next one where that fails, and once more where a helper was not ready.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use rustix::process::Signal;

use crate::cli::{Color, Terminal};
use crate::control_socket;
use crate::launcher::config;
use crate::launcher::display::emulator::geometry;
use crate::launcher::display::emulator::open;
use crate::launcher::display::{self, Backend, Opener, WindowSpec};
use crate::launcher::process::ChildProcess;
use crate::launcher::session::window::{State, Window};
use crate::launcher::session::{End, Event, Session};
use crate::protocol::request::Identity;

/// Pause before a window is tried again whose helper was not ready.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

impl Session<'_> {
    /// Opens the windows in the first way in which the first one opens.
    pub(crate) fn open_windows(&mut self, ways: Vec<Backend>) -> Result<()> {
        let mut ways = ways.into_iter().peekable();
        while let Some(way) = ways.next() {
            self.use_way(way)?;
            // With no other choice there is nothing to be learnt from the first one.
            self.trying = ways.peek().is_some();
            if !self.trying {
                self.open_up_to(self.config.clients);
                return Ok(());
            }
            self.open_up_to(1);
            self.pump(None, |session| {
                session.end.is_some() || session.windows.iter().all(Window::is_decided)
            });
            if self.end.is_some() {
                return Ok(());
            }
            let Some(reason) = self.give_up_if_failed() else {
                self.trying = false;
                self.open_up_to(self.config.clients);
                return Ok(());
            };
            let next = ways.peek().map_or("", Backend::name);
            self.output
                .warn(&format!("no window opened: {reason}; trying {next}"));
        }
        Ok(())
    }

    fn use_way(&mut self, way: Backend) -> Result<()> {
        if self.config.big && !way.sets_letters() {
            let name = way.name();
            self.output.warn(&format!(
                "--big has no effect with {name}: make the letters of the terminal larger"
            ));
        }
        let opener = match way {
            Backend::Windows(found) => open::Opener::new(found, self.config.big)
                .map(Opener::Windows)
                .context("cannot make a temporary file for the windows")?,
            Backend::Panes => Opener::Panes(self.take_terminal()?),
        };
        self.places = opener.places(self.config.clients);
        self.opener = Some(opener);
        Ok(())
    }

    fn open_up_to(&mut self, count: usize) {
        for number in self.windows.len()..count {
            self.open(self.config.members.get(number).cloned());
        }
    }

    /// Takes back the first window where it has failed, with all that it has left, and says why it has.
    fn give_up_if_failed(&mut self) -> Option<String> {
        let State::Failed(reason) = &self.windows.first()?.state else {
            return None;
        };
        let reason = reason.clone();
        let showers = self.windows.drain(..).filter_map(|window| window.shower);
        let helper = self.opener.take().and_then(Opener::into_helper);
        self.leftovers.extend(showers.chain(helper));
        for child in &self.leftovers {
            child.signal(Signal::TERM);
        }
        Some(reason)
    }

    /// Opens one more window; what becomes of it shows later.
    fn open(&mut self, member: Option<Identity>) {
        let id = self.next_id;
        self.next_id += 1;
        let number = self.windows.len();
        let mut title = format!("chat {}", number + 1);
        if let Some(name) = member.as_ref().map(|member| member.name.as_str())
            && name.is_ascii()
        {
            title = format!("{title} - {name}");
        }
        let place = geometry::place(&self.places, number);
        self.windows.push(Window {
            id,
            title,
            place,
            member,
            state: State::Opening {
                deadline: Instant::now() + self.config.window_time,
                retry: None,
                may_fail: true,
            },
            shower: None,
            client: None,
        });
        self.start_emulator(number);
    }

    /// Starts the emulator of a window, for the first time or again.
    pub(crate) fn start_emulator(&mut self, index: usize) {
        let (Some(address), Some(opener)) = (self.nearby(), &mut self.opener) else {
            return;
        };
        let window = &mut self.windows[index];
        let control_name = self.control.name_for(window.id);
        let mut client = client_command(
            self.client_program,
            address,
            &control_name,
            index + 1,
            window.member.as_ref(),
            self.config.room.color,
        );
        if matches!(opener, Opener::Panes(_)) {
            client.push("--in-pane".into());
        }
        let mut environment = vec![(control_socket::NAME_VARIABLE, control_name)];
        if let Some(password) = &self.config.room.password {
            environment.push(("CHAT_PASSWORD", password.into()));
        }
        let ended = self.sender.clone();
        let on_end = move || drop(ended.send(Event::ChildEnded));
        let wanted = WindowSpec {
            id: window.id,
            title: &window.title,
            place: window.place,
            member: window.member.as_ref(),
            program: &client,
            environment: &environment,
        };
        match opener.open(&wanted, on_end) {
            Ok(shower) => {
                window.shower = shower;
                if let Some(note) = opener.take_note() {
                    self.output.say(&note);
                }
                if opener.shows_at_once() {
                    window.state = State::Opened;
                }
            }
            Err(error) => {
                let reason = format!("cannot start {}: {error}", opener.name());
                self.fail(index, reason);
            }
        }
    }

    /// `/open` on the console.
    pub(crate) fn open_another(&mut self, name: &str) {
        let member = match name {
            "" => Ok(None),
            name => config::parse_member(name).map(Some),
        };
        let opened = member.map_err(anyhow::Error::msg).and_then(|member| {
            if self.opener.is_none() {
                let ways = display::ways(self.config.terminal)?;
                let Some(first) = ways.into_iter().next() else {
                    let none = Terminal::None.to_possible_value();
                    let none = none.as_ref().map_or("", |value| value.get_name());
                    bail!("there are no windows with `-t {none}`; use `chat-client` in a terminal of your own");
                };
                self.use_way(first)?;
            }
            self.open(member);
            Ok(())
        });
        if let Err(error) = opened {
            self.output.warn(&format!("{error:#}"));
        }
    }

    /// Sees which emulators have ended, which windows have not opened in time, and which are to be tried again.
    pub(crate) fn look_at_windows(&mut self) {
        let now = Instant::now();
        for index in 0..self.windows.len() {
            let Some(opener) = &self.opener else {
                return;
            };
            let window = &mut self.windows[index];
            let ended = window.shower.as_ref().and_then(ChildProcess::end);
            if ended.is_some() {
                window.shower = None;
            }
            let State::Opening {
                deadline,
                retry,
                may_fail,
            } = &mut window.state
            else {
                continue;
            };
            let reason = if let Some(failure) = opener.failure() {
                // Nothing else would end what waits for the helper.
                if let Some(shower) = &window.shower {
                    shower.signal(Signal::TERM);
                }
                failure
            } else if let Some(end) = ended.filter(|end| !opener.has_handed_over(end.status)) {
                // On a busy machine one terminator of a hundred fails: it lists all processes, and stumbles over one that ends.
                let try_again = opener.may_try_again(end.status) || std::mem::take(may_fail);
                if try_again && now < *deadline && !self.stopping {
                    *retry = Some(now + RETRY_PAUSE);
                    continue;
                }
                end.reason(opener.name())
            } else if *deadline <= now {
                let seconds = self.config.window_time.as_secs_f32();
                format!("{} showed no client in {seconds:.1} s", opener.name())
            } else {
                if retry.is_some_and(|retry| retry <= now) && !self.stopping {
                    *retry = None;
                    self.start_emulator(index);
                }
                continue;
            };
            self.fail(index, reason);
        }
    }

    /// A window did not open. While emulators are tried, that is no more than a reason to try the next one.
    fn fail(&mut self, index: usize, reason: String) {
        if !self.trying && !self.stopping {
            let title = &self.windows[index].title;
            self.output.warn(&format!("{title} did not open: {reason}"));
        }
        self.windows[index].state = State::Failed(reason);
        let none_opened = self
            .windows
            .iter()
            .all(|window| matches!(window.state, State::Failed(_)));
        if none_opened && !self.trying && self.config.clients > 0 {
            self.end.get_or_insert(End::NoWindow);
        }
    }
}

/// The client's program and arguments; `number` is its window's, as its title begins with it.
fn client_command(
    program: &Path,
    address: SocketAddr,
    control_name: &OsString,
    number: usize,
    member: Option<&Identity>,
    color: Color,
) -> Vec<OsString> {
    let mut command: Vec<OsString> = vec![
        program.into(),
        address.ip().to_string().into(),
        address.port().to_string().into(),
        "--lifeline".into(),
        control_name.into(),
        "--window".into(),
        number.to_string().into(),
    ];
    if let Some(Identity { name, group }) = member {
        // Not `--name`: GTK takes that out of terminator's arguments, wherever it stands, for its own.
        command.extend(["-n".into(), name.as_str().into()]);
        if let Some(group) = group {
            command.extend(["-g".into(), group.as_str().into()]);
        }
    }
    if let Some(color) = color.to_possible_value()
        && color.get_name() != "auto"
    {
        command.extend(["--color".into(), color.get_name().into()]);
    }
    command
}
