//! A session: the order in which things start and stop.

mod joining;
mod panes;
mod stop;
mod window;

use std::ffi::OsString;
use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use clap::ValueEnum;
use rustix::process::Signal;

use self::window::{State, Window};
use super::child::Child;
use super::console::Console;
use super::opener::{self, Opener, Wanted, Way};
use super::output::Output;
use super::server::{MAX_TYPED, Server};
use super::tiling::{self, Place};
use super::windows::{self, Shower};
use super::{Config, Programs};
use crate::cli::{Color, Terminal};
use crate::lifeline::{self, Held};
use crate::os;
use crate::protocol::request::Identity;
use crate::style;

/// Time that the server has to listen; a history of a million lines takes it 2 s.
const SERVER_TIME: Duration = Duration::from_secs(60);

/// Time that the terminal has to take the last lines.
const LAST_LINES: Duration = Duration::from_millis(300);

/// Time in which a signal that has come is told.
const INTERRUPT_TIME: Duration = Duration::from_millis(20);

/// Who wakes up so much too late was stopped for a while.
const STOPPED: Duration = Duration::from_millis(500);

/// Pause before a window is tried again whose helper was not ready.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// What the threads tell.
enum Event {
    /// SIGINT, SIGTERM or SIGHUP came.
    Interrupt,
    /// The server can be connected to.
    Listening(SocketAddr),
    /// One of our children has ended. Which one, the children know.
    ChildEnded,
    /// A client has begun or ended.
    Lifeline(lifeline::Event),
    /// A line was typed in our terminal.
    Typed(Vec<u8>),
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
    lifeline: lifeline::Listener,
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
    leftovers: Vec<Child>,
    interrupts: u32,
    quit_typed: bool,
    stopping: bool,
    helper_told: bool,
    /// Whether another emulator is tried if this one's first window fails.
    trying: bool,
    end: Option<End>,
}

/// Runs a session whose checks are done, until all that belongs to it has ended.
///
/// The last lines that it says also go to `last_words`.
pub(super) fn run(
    config: &Config,
    programs: Programs,
    ways: Vec<Way>,
    last_words: Option<File>,
) -> Result<()> {
    let began = Instant::now();
    let held = matches!(ways.first(), Some(Way::Panes));
    let (output, shown) = Output::start(held, last_words).context("cannot start a thread")?;
    let result = Session::start(config, &programs, output.clone()).and_then(|mut session| {
        let result = session.run(ways).or_else(|error| {
            let asked = session.is_interrupted();
            if asked { Ok(()) } else { Err(error) }
        });
        session.stop();
        if session.server_was_killed() {
            session.output.say(&format!(
                "the room is closed: {}",
                style::in_words(began.elapsed())
            ));
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
        if config.lifeline.is_some() {
            // In a tmux of our own they were held until now.
            os::release_signals();
        }
        let hello = tell(&sender);
        let lifeline = lifeline::Listener::start(move |event| hello(Event::Lifeline(event)))
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
            lifeline,
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
    fn run(&mut self, ways: Vec<Way>) -> Result<()> {
        self.wait_until_listening()?;
        if !matches!(ways.first(), Some(Way::Panes)) {
            let typed = self.sender.clone();
            let console = Console::start(self.server.console(), move |line| {
                drop(typed.send(Event::Typed(line)));
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

    /// Opens the windows in the first way in which the first one opens.
    fn open_windows(&mut self, ways: Vec<Way>) -> Result<()> {
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
            let next = ways.peek().map_or("", Way::name);
            self.output
                .warn(&format!("no window opened: {reason}; trying {next}"));
        }
        Ok(())
    }

    fn use_way(&mut self, way: Way) -> Result<()> {
        if self.config.big && !way.sets_letters() {
            let name = way.name();
            self.output.warn(&format!(
                "--big has no effect with {name}: make the letters of the terminal larger"
            ));
        }
        let opener = match way {
            Way::Windows(found) => windows::Opener::new(found, self.config.big)
                .map(Opener::Windows)
                .context("cannot make a temporary file for the windows")?,
            Way::Panes => Opener::Panes(self.take_terminal()?),
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
        self.leftovers
            .extend(showers.map(|shower| shower.child).chain(helper));
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
        let place = tiling::place(&self.places, number);
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
    fn start_emulator(&mut self, index: usize) {
        let (Some(address), Some(opener)) = (self.nearby(), &mut self.opener) else {
            return;
        };
        let window = &mut self.windows[index];
        let lifeline = self.lifeline.name_for(window.id);
        let mut client = client_command(
            self.client_program,
            address,
            &lifeline,
            index + 1,
            window.member.as_ref(),
            self.config.room.color,
        );
        if matches!(opener, Opener::Panes(_)) {
            client.push("--in-pane".into());
        }
        let mut environment = vec![(lifeline::VARIABLE, lifeline)];
        if let Some(password) = &self.config.room.password {
            environment.push(("CHAT_PASSWORD", password.into()));
        }
        let ended = self.sender.clone();
        let on_end = move || drop(ended.send(Event::ChildEnded));
        let wanted = Wanted {
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
            Event::Lifeline(lifeline::Event::Hello { window, client }) => {
                self.greet(window, client);
            }
            Event::Lifeline(lifeline::Event::Ended { window, pid }) => {
                let window = self.windows.iter_mut().find(|other| other.id == window);
                if let Some(window) = window
                    && window.client.as_ref().is_some_and(|held| held.pid() == pid)
                {
                    window.client = None;
                    // It would end by itself, but terminator takes its time.
                    if self.stopping
                        && let Some(shower) = &window.shower
                    {
                        shower.child.signal(Signal::TERM);
                    }
                }
            }
            Event::Typed(line) => {
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
    fn greet(&mut self, id: usize, client: Held) {
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
        if line.len() > MAX_TYPED {
            let most = MAX_TYPED - 1;
            self.output.warn(&format!(
                "a line was not taken: it has more than {most} bytes; shorten it"
            ));
            return;
        }
        let text = String::from_utf8_lossy(line);
        let mut words = text.trim().splitn(2, char::is_whitespace);
        let command = words.next().unwrap_or_default().to_ascii_lowercase();
        if command == "/open" {
            return self.open_another(words.next().unwrap_or_default().trim());
        }
        self.quit_typed |= command == "/quit" || command == "/exit";
        if command == "/help" || command == "/?" {
            // Before the server's list, the end of which is not known here, and in its form.
            self.output.say("* /open [NAME]: open one more client");
        }
        if !self.server.type_in(line) {
            self.output
                .warn("the server does not take what is typed; try again, or Ctrl+C to end");
        }
    }

    /// `/open` on the console.
    fn open_another(&mut self, name: &str) {
        let member = match name {
            "" => Ok(None),
            name => super::member(name).map(Some),
        };
        let opened = member.map_err(anyhow::Error::msg).and_then(|member| {
            if self.opener.is_none() {
                let ways = opener::ways(self.config.terminal)?;
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

    fn look_at_server(&mut self) {
        if let Some(status) = self.server.ended()
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

    /// Sees which emulators have ended, which windows have not opened in time, and which are to be tried again.
    fn look_at_windows(&mut self) {
        let now = Instant::now();
        for index in 0..self.windows.len() {
            let Some(opener) = &self.opener else {
                return;
            };
            let window = &mut self.windows[index];
            let ended = window.shower.as_ref().and_then(Shower::ended);
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
                    shower.child.signal(Signal::TERM);
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

    fn server_was_killed(&self) -> bool {
        self.server
            .ended()
            .is_none_or(|status| status.code().is_none())
    }
}

/// The client's program and arguments; `number` is its window's, as its title begins with it.
fn client_command(
    program: &Path,
    address: SocketAddr,
    lifeline: &OsString,
    number: usize,
    member: Option<&Identity>,
    color: Color,
) -> Vec<OsString> {
    let mut command: Vec<OsString> = vec![
        program.into(),
        address.ip().to_string().into(),
        address.port().to_string().into(),
        "--lifeline".into(),
        lifeline.into(),
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
