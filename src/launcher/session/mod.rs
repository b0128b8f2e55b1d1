//! A session: the order in which things start and stop.

mod join_hint;
mod open;
mod panes;
mod stop;
mod window;

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::Signal;

use crate::control_socket::{ClientHandle, ControlEvent, ControlListener};
use crate::launcher::config::Config;
use crate::launcher::console::Console;
use crate::launcher::display::emulator::geometry::Place;
use crate::launcher::display::{Backend, Opener};
use crate::launcher::output::Output;
use crate::launcher::process::ChildProcess;
use crate::launcher::programs::Programs;
use crate::launcher::server::Server;
use crate::launcher::session::window::{State, Window};
use crate::protocol::commands::{self, LauncherCommand, OperatorCommand};
use crate::protocol::console::{MAX_CONSOLE_LINE, ServerLine};
use crate::tty::style;

/// Time that the server has to listen; a history of a million lines takes it 2 s.
const SERVER_TIME: Duration = Duration::from_secs(60);

/// Time that the terminal has to take the last lines.
const LAST_LINES: Duration = Duration::from_millis(300);

/// Time in which a signal that has come is told.
const INTERRUPT_TIME: Duration = Duration::from_millis(20);

/// Who wakes up so much too late was stopped for a while.
const STOPPED: Duration = Duration::from_millis(500);

/// What the threads tell.
enum Event {
    /// SIGINT, SIGTERM or SIGHUP came.
    Interrupt,
    /// The server can be connected to.
    Listening(SocketAddr),
    /// One of our children has ended. Which one, the children know.
    ChildEnded,
    /// A client has begun or ended.
    Control(ControlEvent),
    /// A line was typed in our terminal.
    InputQueue(Vec<u8>),
    /// So many members are online.
    Online(usize),
    /// A client that has left its pane is to be started again.
    Again(usize),
    /// The terminal that the panes are on has failed.
    PanesFailed,
}

/// Why a session ends.
enum End {
    /// A signal, or `/quit`.
    Asked,
    /// The server ended by itself.
    ServerEnded(ExitStatus),
    /// Not one window opened.
    NoWindow,
    /// The panes cannot be shown any longer.
    PanesFailed,
}

struct Session<'a> {
    config: &'a Config,
    client_program: &'a Path,
    output: Output,
    sender: Sender<Event>,
    events: Receiver<Event>,
    control: ControlListener,
    server: Server,
    /// Where the clients connect to; known once the server listens.
    address: Option<SocketAddr>,
    online: usize,
    /// Reads our terminal, as long as there are no panes on it.
    console: Option<Console>,
    opener: Option<Opener>,
    windows: Vec<Window>,
    next_id: usize,
    places: Vec<Place>,
    /// What an emulator that was given up has left, and which has to end as well.
    leftovers: Vec<ChildProcess>,
    interrupts: u32,
    quit_typed: bool,
    stopping: bool,
    helper_told: bool,
    /// Whether another emulator is tried if this one's first window fails.
    trying: bool,
    end: Option<End>,
}

/// Runs a session whose checks are done, until all that belongs to it has ended.
pub(crate) fn run(config: &Config, programs: Programs, ways: Vec<Backend>) -> Result<()> {
    let began = Instant::now();
    let held = matches!(ways.first(), Some(Backend::Panes));
    let (output, shown) = Output::start(held).context("cannot start a thread")?;
    let result = Session::start(config, &programs, output.clone()).and_then(|mut session| {
        let result = session.run(ways).or_else(|error| {
            let asked = session.is_interrupted();
            if asked { Ok(()) } else { Err(error) }
        });
        session.stop();
        if session.server_was_killed() {
            let summary = style::in_words(began.elapsed());
            let line = ServerLine::Closed(&summary);
            session.output.say(&line.to_string());
        }
        result
    });
    output.move_to_terminal();
    drop(output);
    shown.wait(LAST_LINES);
    result
}

impl<'a> Session<'a> {
    fn start(config: &'a Config, programs: &'a Programs, output: Output) -> Result<Self> {
        let (sender, events) = mpsc::channel();
        let tell = |sender: &Sender<Event>| {
            let sender = sender.clone();
            // Nobody listens any more once the session is over.
            move |event| drop(sender.send(event))
        };
        let interrupt = tell(&sender);
        ctrlc::set_handler(move || interrupt(Event::Interrupt)).context("cannot handle signals")?;
        let hello = tell(&sender);
        let control = ControlListener::start(move |event| hello(Event::Control(event)))
            .context("cannot listen for the clients that are started")?;
        let (listening, online, ended) = (tell(&sender), tell(&sender), tell(&sender));
        let server = Server::start(
            &programs.server,
            &config.room,
            output.clone(),
            move |address| listening(Event::Listening(address)),
            move |count| online(Event::Online(count)),
            move || ended(Event::ChildEnded),
        )?;
        Ok(Self {
            config,
            client_program: &programs.client,
            output,
            sender,
            events,
            control,
            server,
            address: None,
            online: 0,
            console: None,
            opener: None,
            windows: Vec::new(),
            next_id: 1,
            places: Vec::new(),
            leftovers: Vec::new(),
            interrupts: 0,
            quit_typed: false,
            stopping: false,
            helper_told: false,
            trying: false,
            end: None,
        })
    }

    /// Up to the moment when the session is to end.
    fn run(&mut self, ways: Vec<Backend>) -> Result<()> {
        self.wait_until_listening()?;
        if !matches!(ways.first(), Some(Backend::Panes)) {
            let typed = self.sender.clone();
            let console = Console::start(self.server.console(), move |line| {
                drop(typed.send(Event::InputQueue(line)));
            })
            .context("cannot read the terminal")?;
            self.console = Some(console);
        }
        if self.end.is_none() {
            self.say_how_to_join();
            self.open_windows(ways)?;
        }
        self.pump(None, |session| session.end.is_some());
        match self.end {
            None | Some(End::Asked) => Ok(()),
            Some(End::ServerEnded(status)) => Err(anyhow!("the server ended by itself ({status})")),
            Some(End::NoWindow) => Err(anyhow!(
                "no window opened; try another terminal with `-t`, or `-t none` and `chat-client` in terminals of your own"
            )),
            Some(End::PanesFailed) => Err(anyhow!(
                "the panes cannot be shown any longer; try another terminal, or `-t none`"
            )),
        }
    }

    /// Whether Ctrl+C is behind a failure: until a process that is started has left our group, it reaches that as well.
    fn is_interrupted(&mut self) -> bool {
        self.pump(Some(Instant::now() + INTERRUPT_TIME), |session| {
            session.interrupts > 0
        });
        self.interrupts > 0
    }

    fn wait_until_listening(&mut self) -> Result<()> {
        let deadline = Instant::now() + SERVER_TIME;
        self.pump(Some(deadline), |session| {
            session.end.is_some() || session.address.is_some()
        });
        match self.end {
            Some(End::ServerEnded(status)) => bail!("the server did not start ({status})"),
            None if self.address.is_none() => bail!(
                "the server does not listen after {} s",
                SERVER_TIME.as_secs()
            ),
            None | Some(End::Asked | End::NoWindow | End::PanesFailed) => Ok(()),
        }
    }

    /// Handles events until `enough`, or until `deadline`.
    fn pump(&mut self, deadline: Option<Instant>, enough: impl Fn(&Self) -> bool) {
        while !enough(self) {
            let now = Instant::now();
            if deadline.is_some_and(|deadline| deadline <= now) {
                return;
            }
            let next = self
                .windows
                .iter()
                .filter_map(Window::next_time)
                .chain(deadline)
                .min();
            // This session has a sender of its own, so the channel is never without one: an error is a timeout.
            let event = match next {
                Some(next) => self
                    .events
                    .recv_timeout(next.saturating_duration_since(now))
                    .ok(),
                None => self.events.recv().ok(),
            };
            if next.is_some_and(|next| next.elapsed() > STOPPED) {
                // Nobody could have heard of the windows meanwhile.
                for window in &mut self.windows {
                    window.give_time(self.config.window_time);
                }
            }
            if let Some(event) = event {
                self.handle(event);
            }
            self.look_at_server();
            self.look_at_windows();
            self.look_at_helper();
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Interrupt => {
                self.interrupts += 1;
                self.end.get_or_insert(End::Asked);
            }
            Event::Listening(address) => self.address = Some(address),
            // The children are looked at after each event.
            Event::ChildEnded => {}
            Event::Control(ControlEvent::Hello { window, client }) => {
                self.greet(window, client);
            }
            Event::Control(ControlEvent::Exited { window, pid }) => {
                let window = self.windows.iter_mut().find(|other| other.id == window);
                if let Some(window) = window
                    && window.client.as_ref().is_some_and(|held| held.pid() == pid)
                {
                    window.client = None;
                    // It would end by itself, but terminator takes its time.
                    if self.stopping
                        && let Some(shower) = &window.shower
                    {
                        shower.signal(Signal::TERM);
                    }
                }
            }
            Event::InputQueue(line) => {
                self.type_in(&line);
                if let Some(console) = &self.console {
                    console.taken();
                }
            }
            Event::Online(count) => {
                self.online = count;
                if let (Some(Opener::Panes(panes)), Some(address)) = (&self.opener, self.address) {
                    panes.set_server(address, count);
                }
            }
            Event::Again(id) => self.start_again(id),
            Event::PanesFailed => {
                self.end.get_or_insert(End::PanesFailed);
            }
        }
    }

    /// A client is there: of a window that waits for it, or of one that was given up.
    fn greet(&mut self, id: usize, client: ClientHandle) {
        let window = self.windows.iter_mut().find(|window| window.id == id);
        match window {
            Some(window) if window.client.is_none() => {
                if self.stopping {
                    client.quit();
                }
                window.state = State::Opened;
                window.client = Some(client);
            }
            Some(_) | None => client.quit(),
        }
    }

    fn type_in(&mut self, line: &[u8]) {
        if line.len() > MAX_CONSOLE_LINE {
            let most = MAX_CONSOLE_LINE - 1;
            self.output.warn(&format!(
                "a line was not taken: it has more than {most} bytes; shorten it"
            ));
            return;
        }
        let text = String::from_utf8_lossy(line);
        let mut words = text.trim().splitn(2, char::is_whitespace);
        let word = words.next().unwrap_or_default().to_lowercase();
        if let Some((LauncherCommand::Open, _)) = commands::find(&commands::LAUNCHER, &word) {
            return self.open_another(words.next().unwrap_or_default().trim());
        }
        let command = commands::find(&commands::OPERATOR, &word).map(|(command, _)| command);
        self.quit_typed |= command == Some(OperatorCommand::Quit);
        if command == Some(OperatorCommand::Help) {
            // Before the server's list, the end of which is not known here, and in its form.
            for line in commands::launcher_help() {
                self.output.say(&format!("* {line}"));
            }
        }
        if !self.server.type_in(line) {
            self.output
                .warn("the server does not take what is typed; try again, or Ctrl+C to end");
        }
    }

    fn look_at_server(&mut self) {
        if let Some(status) = self.server.status()
            && self.end.is_none()
        {
            let asked = self.quit_typed && status.success();
            self.end = Some(if asked {
                End::Asked
            } else {
                End::ServerEnded(status)
            });
        }
    }

    fn server_was_killed(&self) -> bool {
        self.server
            .status()
            .is_none_or(|status| status.code().is_none())
    }
}
