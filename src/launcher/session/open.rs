//! Opens the windows of a session with the best display that works. Tries again if an emulator was
//! not ready.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use rustix::process::Signal;

use crate::cli::{Color, PASSWORD_VARIABLE, Terminal};
use crate::control_socket;
use crate::launcher::config;
use crate::launcher::display::emulator::open::EmulatorWindows;
use crate::launcher::display::tmux::TmuxPanes;
use crate::launcher::display::window_spec::WindowSpec;
use crate::launcher::display::{self, Backend, Display, Opened};
use crate::launcher::process::ChildProcess;
use crate::launcher::session::window::{Turn, Window, WindowState};
use crate::launcher::session::{Phase, SMALL_BUFFER, Session, SessionEnd, SessionEvent};
use crate::net::resolve::Host;
use crate::protocol::request::Identity;

/// Pause before the launcher tries again to open a window.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// How long the login of one client may delay the login of the next. Clients that have a name from
/// the start log in one after another, so that they join in order.
const TURN_TIME: Duration = Duration::from_secs(1);

impl Session<'_> {
    /// Tries the backends (kinds of display) in order, and opens the windows with the first backend
    /// that succeeds in opening the first window.
    pub(crate) fn open_windows(&mut self, backends: Vec<Backend>) -> Result<()> {
        let mut backends = backends.into_iter().peekable();
        while let Some(backend) = backends.next() {
            self.use_backend(backend)?;
            let Some(next) = backends.peek() else {
                self.open_up_to(self.config.clients);
                return Ok(());
            };
            self.phase = Phase::Trying;
            self.open_up_to(1);
            self.pump(None, |session| {
                session.end.is_some() || !session.windows.iter().any(Window::is_opening)
            });
            if self.end.is_some() {
                return Ok(());
            }
            self.phase = Phase::Running;
            let Some(reason) = self.give_up_if_failed() else {
                self.open_up_to(self.config.clients);
                return Ok(());
            };
            self.output.warn(&format!(
                "no window opened: {reason}; trying {}",
                next.name()
            ));
        }
        Ok(())
    }

    fn use_backend(&mut self, backend: Backend) -> Result<()> {
        if self.config.big && !backend.sets_font_size() {
            let name = backend.name();
            self.output.warn(&format!(
                "--big has no effect with {name}; increase the font size of the terminal"
            ));
        }
        self.display = Some(match backend {
            Backend::Emulator(found) => {
                EmulatorWindows::new(found, self.config.big, self.config.clients)
                    .map(Display::Emulator)
                    .context("cannot make a temporary file for the windows")?
            }
            Backend::Tmux(program) => Display::Tmux(TmuxPanes::new(program)),
            Backend::Panes => Display::Panes(self.take_terminal()?),
        });
        Ok(())
    }

    fn open_up_to(&mut self, count: usize) {
        for index in self.windows.len()..count {
            self.open(self.config.members.get(index));
        }
    }

    /// Checks whether the display failed to open the first window. If it did, ends the display's
    /// processes, and returns the reason.
    fn give_up_if_failed(&mut self) -> Option<String> {
        let WindowState::Failed(reason) = &self.windows.first()?.state else {
            return None;
        };
        let reason = reason.clone();
        let processes = self.windows.drain(..).filter_map(|window| window.process);
        let helper = self.display.take().and_then(Display::into_helper);
        self.leftovers.extend(processes.chain(helper));
        for process in &self.leftovers {
            process.signal(Signal::TERM);
        }
        Some(reason)
    }

    /// Starts opening one more window. Does not wait: [`Window::state`] tells later whether it
    /// opened.
    fn open(&mut self, member: Option<&Identity>) {
        let address = self.local_address();
        let (Some(address), Some(display)) = (address, &mut self.display) else {
            return;
        };
        let open = self.windows.iter().filter(|window| window.is_open());
        let taken: Vec<_> = open.filter_map(|window| window.spec.place).collect();
        let place = display.next_place(&taken);
        let id = self.next_id;
        self.next_id += 1;
        let index = self.windows.len();
        let number = index + 1;
        let control_name = self.control.name_for(id);
        let mut client_command = client_command(
            self.client_program,
            address,
            &control_name,
            number,
            member,
            self.config.room.color,
        );
        if self.config.small_buffers {
            let bytes = SMALL_BUFFER.to_string();
            client_command.extend(["--receive-buffer".into(), bytes.into()]);
        }
        if let Display::Panes(_) = display {
            client_command.push("--in-pane".into());
        }
        let mut environment = vec![(control_socket::NAME_VARIABLE, control_name)];
        if let Some(password) = &self.config.room.password {
            environment.push((PASSWORD_VARIABLE, password.as_str().into()));
        }
        let spec = WindowSpec {
            id,
            number,
            name: member.map(|member| member.name.clone()),
            place,
            big: self.config.big,
            client_command,
            environment,
        };
        self.windows.push(Window {
            state: WindowState::Opening {
                deadline: Instant::now() + self.config.window_time,
                retry_at: None,
                may_retry: true,
            },
            turn: Turn::new(&spec),
            spec,
            process: None,
            client: None,
            is_member: false,
            member_name: None,
            frozen: None,
        });
        self.start_window(index);
    }

    /// Starts a window's client, for the first time or again.
    pub(crate) fn start_window(&mut self, index: usize) {
        let Some(display) = &mut self.display else {
            return;
        };
        let window = &mut self.windows[index];
        let sender = self.sender.clone();
        let on_end = move || drop(sender.send(SessionEvent::ChildEnded));
        match display.open(&window.spec, on_end) {
            Ok(Opened::Window(process)) => window.process = Some(process),
            Ok(Opened::TmuxPane(note)) => {
                if let Some(note) = note {
                    self.output.say(&note);
                }
            }
            Ok(Opened::Pane(process)) => {
                window.process = Some(process);
                window.state = WindowState::Opened;
            }
            Err(error) => {
                let reason = format!("cannot start {}: {error}", display.name());
                self.fail(index, reason);
            }
        }
    }

    /// Executes the console command `/open`.
    pub(crate) fn open_another(&mut self, name: &str) {
        let member = match name {
            "" => Ok(None),
            name => config::parse_member(name).map(Some),
        };
        let opened = member.map_err(anyhow::Error::msg).and_then(|member| {
            if self.display.is_none() {
                let backends = display::backends(self.config.terminal)?;
                let Some(first) = backends.into_iter().next() else {
                    let none = Terminal::None.to_possible_value();
                    let none = none.as_ref().map_or("", |value| value.get_name());
                    bail!("`-t {none}` opens no windows; run `chat-client` in another terminal");
                };
                self.use_backend(first)?;
            }
            self.open(member.as_ref());
            Ok(())
        });
        if let Err(error) = opened {
            self.show_error(&format!("{error:#}"));
        }
    }

    /// Checks for processes that have ended, windows that have not opened in time, and windows that
    /// are due for another try.
    pub(crate) fn check_windows(&mut self) {
        let now = Instant::now();
        let is_stopping = self.is_stopping();
        for index in 0..self.windows.len() {
            let Some(display) = &self.display else {
                return;
            };
            let window = &mut self.windows[index];
            let ended = window.process.as_ref().and_then(ChildProcess::end);
            if ended.is_some() {
                window.process = None;
            }
            let WindowState::Opening {
                deadline,
                retry_at,
                may_retry,
            } = &mut window.state
            else {
                continue;
            };
            let reason = if let Some(failure) = display.helper_failure() {
                // End the window's process. Otherwise, it would wait for the emulator's helper,
                // which has failed, until a timeout.
                if let Some(process) = &window.process {
                    process.signal(Signal::TERM);
                }
                failure
            } else if let Some(end) = ended.filter(|end| !display.may_open_elsewhere(end.status)) {
                // Try again once after any failure. On a busy machine, one start of terminator in a
                // hundred fails: it lists all processes, and fails if one of them ends meanwhile.
                let try_again = display.is_worth_retrying(end.status) || std::mem::take(may_retry);
                if try_again && now < *deadline && !is_stopping {
                    *retry_at = Some(now + RETRY_PAUSE);
                    continue;
                }
                end.reason(display.name())
            } else if *deadline <= now {
                let seconds = self.config.window_time.as_secs_f32();
                format!("{} showed no client in {seconds:.1} s", display.name())
            } else {
                if retry_at.is_some_and(|time| time <= now) && !is_stopping {
                    *retry_at = None;
                    self.start_window(index);
                }
                continue;
            };
            self.fail(index, reason);
        }
    }

    /// Lets the next client log in if the login of the previous one is over. Only clients that were
    /// given a name wait for this, because the others ask the user for a name first.
    pub(crate) fn give_turn(&mut self) {
        for window in &mut self.windows {
            match (&window.turn, &window.client) {
                (Turn::Waiting, Some(client)) => {
                    client.give_turn();
                    window.turn = Turn::Given(Instant::now());
                    return;
                }
                (Turn::Waiting, None) if window.is_opening() => return,
                (Turn::Given(time), Some(_)) if time.elapsed() < TURN_TIME => return,
                // Do not wait for a client that has exited, has failed to start, or takes too long.
                (Turn::Waiting | Turn::Given(_), _) => window.turn = Turn::Over,
                (Turn::Over, _) => {}
            }
        }
    }

    /// Marks a window as failed. While the session is still choosing a backend ([`Phase::Trying`]),
    /// does not warn the user or end the session, because the next backend is tried.
    fn fail(&mut self, index: usize, reason: String) {
        if let Phase::Running = self.phase {
            let title = self.windows[index].spec.title();
            self.show_error(&format!("{title} did not open: {reason}"));
        }
        self.windows[index].state = WindowState::Failed(reason);
        let all_failed = self
            .windows
            .iter()
            .all(|window| matches!(window.state, WindowState::Failed(_)));
        if all_failed && !matches!(self.phase, Phase::Trying) && self.config.clients > 0 {
            self.end.get_or_insert(SessionEnd::NoWindow);
        }
    }
}

/// The client's program and arguments. `number` is the window's number in its title.
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
        Host(address).to_string().into(),
        address.port().to_string().into(),
        "--control-socket".into(),
        control_name.into(),
        "--window".into(),
        number.to_string().into(),
    ];
    if let Some(Identity { name, group }) = member {
        // Use -n instead of --name, which GTK takes for its own option, even among the client's
        // arguments in terminator's command line.
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
