//! A session: starts the server and then the windows, handles their events, and stops them.

mod freeze;
mod join_hint;
mod live;
mod open;
mod panes;
mod stop;
mod window;

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use jiff::Zoned;
use rustix::process::Signal;
use termcolor::{Buffer, Color};

use crate::cli::Terminal;
use crate::control_socket::{ClientHandle, ControlEvent, ControlListener, Membership};
use crate::launcher::config::Config;
use crate::launcher::console::{ConsoleEvent, ConsoleThread};
use crate::launcher::display::{Backend, Display};
use crate::launcher::live::{LiveEvent, LiveView, SampleSocket};
use crate::launcher::output::Output;
use crate::launcher::process::{self, ChildProcess};
use crate::launcher::programs::Programs;
use crate::launcher::proof::Reports;
use crate::launcher::room_names::RoomNames;
use crate::launcher::server::Server;
use crate::launcher::session::freeze::Change;
use crate::launcher::session::window::{Turn, Window, WindowState};
use crate::probe::sample::Proof;
use crate::protocol::commands::{self, LauncherCommand, OperatorCommand};
use crate::protocol::console::{MAX_CONSOLE_LINE, ServerLine};
use crate::tty::{self, style};

/// How long the server may take until it listens. With a history of a million lines, it takes 2 s.
const SERVER_TIME: Duration = Duration::from_secs(60);

/// How long to wait at the end of the session for the terminal to show the last lines of output.
const LAST_LINES: Duration = Duration::from_millis(300);

/// How long to wait after a failure for a [`SessionEvent::Interrupt`], which means that Ctrl+C has
/// probably caused the failure.
const INTERRUPT_TIME: Duration = Duration::from_millis(20);

/// How long to wait after a client has left before counting the members from outside this session.
/// The server reports leaves up to 200 ms late, so its count may include the client until then.
const LEAVE_TIME: Duration = Duration::from_millis(400);

/// How long to wait at the end of the session for the server's summary and checksums. Both are sent
/// before the server exits.
const PROOF_TIME: Duration = Duration::from_secs(1);

/// Size of the buffers that `--small-buffers` sets, in bytes: the send buffers of the server and
/// the receive buffers of the clients. Linux doubles the size (socket(7)). Its minimum for a send
/// buffer is 4608 (`SOCK_MIN_SNDBUF` in include/net/sock.h). With the usual sizes, a client that
/// does not read falls behind only after several megabytes.
const SMALL_BUFFER: usize = 4608;

/// If a wait takes this much longer than requested, the session concludes that this process was
/// suspended (SIGSTOP).
const SUSPENDED: Duration = Duration::from_millis(500);

/// A report from another thread to the session's thread.
enum SessionEvent {
    /// SIGINT, SIGTERM or SIGHUP arrived.
    Interrupt,
    /// The server listens on this address.
    Listening(SocketAddr),
    /// A child process has ended. To find out which one, the session checks the
    /// [`ChildProcess::status`] of all children.
    ChildEnded,
    /// A client has connected, has joined or left the room, or has exited.
    Control(ControlEvent),
    /// An event of the launcher's console, such as a typed line.
    Console(ConsoleEvent),
    /// The number of members online has changed to this number.
    Online(usize),
    /// The server's summary, the last line of its log, is shown.
    Summarized,
    /// The user wants to restart the client in the pane of the window with this ID. The previous
    /// client has ended.
    Restart(usize),
    /// The user wants to freeze or thaw the client in the pane of the window with this ID.
    ToggleFreeze(usize),
    /// The user has opened or closed the live view in the server's pane.
    WatchLive(bool),
    /// Something new to show in the live view.
    Live(LiveEvent),
    /// Reading from or drawing on the terminal that shows the panes has failed.
    PanesFailed,
}

/// Reason why a session ends.
enum SessionEnd {
    /// The user ended the session, with a signal or `/quit`.
    Asked,
    /// The server ended by itself.
    ServerEnded(ExitStatus),
    /// No window opened.
    NoWindow,
    /// The panes can no longer be shown.
    PanesFailed,
}

#[derive(Clone, Copy)]
enum Phase {
    /// The session is trying to open its first window with one of several backends. If the window
    /// fails to open, the session tries the next backend.
    Trying,
    Running,
    Stopping {
        /// Whether SIGTERM was sent to the emulator's helper, which is the process that owns its
        /// windows.
        helper_signaled: bool,
    },
}

struct Session<'a> {
    config: &'a Config,
    client_program: &'a Path,
    output: Output,
    sender: Sender<SessionEvent>,
    events: Receiver<SessionEvent>,
    control: ControlListener,
    server: Server,
    live: LiveView,
    /// The checksums of the server. `None` until it has closed the room.
    proof: Option<Proof>,
    /// Whether the server has closed the connection on which it sends the checksums.
    samples_ended: bool,
    has_summary: bool,
    reports: Reports,
    /// The server's address. `None` until the server listens.
    address: Option<SocketAddr>,
    online: usize,
    /// The names of all members, for completion on the console.
    names: RoomNames,
    /// The time at which to count the members from outside this session again, because a client of
    /// the session has left the room.
    recount_at: Option<Instant>,
    /// The thread that reads the terminal. `None` while panes read it.
    console: Option<ConsoleThread>,
    display: Option<Display>,
    windows: Vec<Window>,
    next_id: usize,
    /// Processes of emulators that failed to open a window. The session waits for them to end.
    leftovers: Vec<ChildProcess>,
    /// Number of SIGINT, SIGTERM and SIGHUP signals that have arrived.
    interrupts: u32,
    quit_typed: bool,
    phase: Phase,
    end: Option<SessionEnd>,
}

/// Runs a session until all its processes have ended. The options must be valid:
/// [`crate::launcher::run`] has checked them.
pub(crate) fn run(config: &Config, programs: Programs, backends: Vec<Backend>) -> Result<()> {
    let began = Instant::now();
    let held = matches!(backends.first(), Some(Backend::Panes));
    let (output, shown) = Output::start(held).context("cannot start a thread")?;
    let result = Session::start(config, &programs, output.clone()).and_then(|mut session| {
        let result = session.run(backends).or_else(|error| {
            if session.is_interrupted() {
                Ok(())
            } else {
                Err(error)
            }
        });
        session.stop();
        if session.server_was_killed() {
            let summary = style::in_words(began.elapsed());
            let line = ServerLine::Closed(&summary);
            session.output.say(&line.to_string());
        }
        session.say_proof();
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
        let reporter = || {
            let sender = sender.clone();
            // Ignore an error: the receiver is gone once the session is over.
            move |event| drop(sender.send(event))
        };
        let report = reporter();
        ctrlc::set_handler(move || report(SessionEvent::Interrupt))
            .context("cannot handle signals")?;
        let report = reporter();
        tty::watch_owner(move || report(SessionEvent::Console(ConsoleEvent::HangUp)))
            .context("cannot start a thread")?;
        let report = reporter();
        let control = ControlListener::start(move |event| report(SessionEvent::Control(event)))
            .context("cannot listen for clients on the control socket")?;
        let (listening, online, ended) = (reporter(), reporter(), reporter());
        let names = RoomNames::default();
        let followed = names.clone();
        let samples = SampleSocket::listen().context("cannot listen for the server's samples")?;
        let mut options = vec!["--sample-socket".into(), samples.name().into()];
        if config.small_buffers {
            options.extend(["--send-buffer".into(), SMALL_BUFFER.to_string().into()]);
        }
        let server = Server::start(
            &programs.server,
            &config.room,
            options,
            output.clone(),
            move |address| listening(SessionEvent::Listening(address)),
            move |change| match change {
                ServerLine::Online(count) => online(SessionEvent::Online(count)),
                ServerLine::Closed(_) => online(SessionEvent::Summarized),
                change => followed.follow(change),
            },
            move || ended(SessionEvent::ChildEnded),
        )?;
        let report = reporter();
        let on_event = move |event| report(SessionEvent::Live(event));
        let live =
            LiveView::start(samples, server.pid(), on_event).context("cannot start a thread")?;
        Ok(Self {
            config,
            client_program: &programs.client,
            output,
            sender,
            events,
            control,
            server,
            live,
            proof: None,
            samples_ended: false,
            has_summary: false,
            reports: Reports::default(),
            address: None,
            online: 0,
            names,
            recount_at: None,
            console: None,
            display: None,
            windows: Vec::new(),
            next_id: 1,
            leftovers: Vec::new(),
            interrupts: 0,
            quit_typed: false,
            phase: Phase::Running,
            end: None,
        })
    }

    /// Opens the windows, and handles events until the session has a reason to end.
    fn run(&mut self, backends: Vec<Backend>) -> Result<()> {
        self.wait_until_listening()?;
        if !matches!(backends.first(), Some(Backend::Panes)) {
            self.start_console().context("cannot read the terminal")?;
        }
        if self.end.is_none() {
            self.say_how_to_join();
            self.open_windows(backends)?;
            if self.config.live && !matches!(self.display, Some(Display::Panes(_))) {
                self.output
                    .warn("--live needs `-t panes`; type /live to print the live view once");
            }
        }
        self.pump(None, |session| session.end.is_some());
        match self.end {
            None | Some(SessionEnd::Asked) => Ok(()),
            Some(SessionEnd::ServerEnded(status)) => {
                Err(anyhow!("the server {}", process::describe(status)))
            }
            Some(SessionEnd::NoWindow) => Err(anyhow!(
                "no window opened; try another terminal with `-t`, \
                 or `-t none` and run `chat-client` in other terminals"
            )),
            Some(SessionEnd::PanesFailed) => Err(anyhow!(
                "the panes can no longer be shown; try another terminal, or `-t none`"
            )),
        }
    }

    fn start_console(&mut self) -> io::Result<()> {
        let sender = self.sender.clone();
        // Ignore errors: the receiver is gone once the session is over.
        let on_event = move |event| drop(sender.send(SessionEvent::Console(event)));
        let names = self.names.clone();
        let console = ConsoleThread::start(
            self.server.console(),
            &self.output,
            style::is_colored(self.config.room.color),
            move || names.list(),
            on_event,
        )?;
        self.console = Some(console);
        Ok(())
    }

    /// Whether Ctrl+C has probably caused a failure: Ctrl+C also reaches a child process that is
    /// being started and has not left the launcher's process group yet. Waits up to
    /// [`INTERRUPT_TIME`] for the signal.
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
            Some(SessionEnd::ServerEnded(status)) => {
                bail!("the server did not start: it {}", process::describe(status))
            }
            None if self.address.is_none() => bail!(
                "the server did not start listening within {} s",
                SERVER_TIME.as_secs()
            ),
            None | Some(SessionEnd::Asked | SessionEnd::NoWindow | SessionEnd::PanesFailed) => {
                Ok(())
            }
        }
    }

    /// Handles events until `is_done` returns true or `deadline` has passed.
    fn pump(&mut self, deadline: Option<Instant>, is_done: impl Fn(&Self) -> bool) {
        while !is_done(self) {
            let now = Instant::now();
            if deadline.is_some_and(|deadline| deadline <= now) {
                return;
            }
            let next = self
                .windows
                .iter()
                .filter_map(Window::next_check)
                .chain(deadline)
                .chain(self.recount_at)
                .min();
            // An error can only be a timeout, because the session itself holds a sender.
            let event = match next {
                Some(next) => self
                    .events
                    .recv_timeout(next.saturating_duration_since(now))
                    .ok(),
                None => self.events.recv().ok(),
            };
            if next.is_some_and(|next| next.elapsed() > SUSPENDED) {
                // Extend the deadlines of the windows: while this process was suspended, clients
                // may have connected, and these connections have not been handled yet.
                for window in &mut self.windows {
                    window.extend_deadline(self.config.window_time);
                }
            }
            if let Some(event) = event {
                self.handle(event);
            }
            if self
                .recount_at
                .take_if(|at| *at <= Instant::now())
                .is_some()
            {
                self.update_panes();
            }
            self.check_server();
            self.check_windows();
            self.give_turn();
            self.end_helper();
        }
    }

    fn handle(&mut self, event: SessionEvent) {
        match event {
            SessionEvent::Interrupt => {
                self.interrupts += 1;
                self.end.get_or_insert(SessionEnd::Asked);
            }
            SessionEvent::Listening(address) => {
                self.address = Some(address);
                self.live.set_port(address.port());
            }
            // Do nothing here, because all children are checked after each event.
            SessionEvent::ChildEnded => {}
            SessionEvent::Control(ControlEvent::Hello { window, client }) => {
                self.add_client(window, client);
            }
            SessionEvent::Control(ControlEvent::Membership {
                window,
                pid,
                membership,
            }) => {
                self.set_membership(window, pid, membership);
            }
            SessionEvent::Control(ControlEvent::Named { window, pid, name }) => {
                self.reports.named(pid, &name);
                if let Some(window) = self.window(window)
                    && let Some(client) = &window.client
                    && client.pid() == pid
                {
                    window.member_name = Some(name);
                }
            }
            SessionEvent::Control(ControlEvent::Saw { pid, tally }) => {
                self.reports.saw(pid, tally);
            }
            SessionEvent::Control(ControlEvent::Exited { window, pid }) => {
                self.reports.exited(pid);
                self.remove_client(window, pid);
            }
            SessionEvent::Console(ConsoleEvent::Line(line)) => {
                self.type_in(&line);
                if let Some(console) = &self.console {
                    console.line_handled();
                }
            }
            SessionEvent::Online(count) => {
                self.online = count;
                self.update_panes();
            }
            SessionEvent::Summarized => self.has_summary = true,
            SessionEvent::Console(ConsoleEvent::Suspend(console)) => console.stop_job(),
            SessionEvent::Console(ConsoleEvent::HangUp) => {
                self.end.get_or_insert(SessionEnd::Asked);
            }
            SessionEvent::Restart(window) => self.restart_client(window),
            SessionEvent::ToggleFreeze(window) => self.toggle_freeze(window),
            SessionEvent::WatchLive(is_watched) => self.watch_live(is_watched),
            SessionEvent::Live(event) => self.handle_live(event),
            SessionEvent::PanesFailed => {
                self.end.get_or_insert(if tty::is_gone() {
                    SessionEnd::Asked
                } else {
                    SessionEnd::PanesFailed
                });
            }
        }
    }

    fn window(&mut self, id: usize) -> Option<&mut Window> {
        self.windows.iter_mut().find(|window| window.spec.id == id)
    }

    /// Handles a client's hello, which is its first message. If the session is stopping, or has
    /// given up on the client's window, tells the client to quit.
    fn add_client(&mut self, id: usize, client: ClientHandle) {
        let is_stopping = self.is_stopping();
        match self.window(id) {
            Some(window) if window.client.is_none() => {
                if is_stopping {
                    client.quit();
                }
                window.state = WindowState::Opened;
                window.client = Some(client);
                window.member_name = None;
                // Give the client a turn to log in even if an earlier client in the same pane has
                // had one: the user may have restarted the client.
                window.turn = Turn::new(&window.spec);
            }
            Some(_) | None => client.quit(),
        }
    }

    fn set_membership(&mut self, id: usize, pid: i32, membership: Membership) {
        if let Some(window) = self.window(id)
            && let Some(client) = &window.client
            && client.pid() == pid
        {
            window.is_member = membership != Membership::Out;
            match membership {
                Membership::Joining => self.update_panes(),
                Membership::In => window.turn = Turn::Over,
                Membership::Out => {
                    window.turn = Turn::Over;
                    self.recount_at = Some(Instant::now() + LEAVE_TIME);
                }
            }
        }
    }

    fn remove_client(&mut self, id: usize, pid: i32) {
        self.set_membership(id, pid, Membership::Out);
        let is_stopping = self.is_stopping();
        if let Some(window) = self.window(id)
            && window
                .client
                .take_if(|client| client.pid() == pid)
                .is_some()
        {
            window.frozen = None;
            if is_stopping && let Some(process) = &window.process {
                // The client has exited, so its window's process will end by itself. End it now,
                // because terminator takes a while to do so.
                process.signal(Signal::TERM);
            }
            self.mark_frozen_panes();
        }
    }

    fn is_stopping(&self) -> bool {
        matches!(self.phase, Phase::Stopping { .. })
    }

    /// Handles a line that was typed for the server's console.
    fn type_in(&mut self, line: &[u8]) {
        if line.len() > MAX_CONSOLE_LINE {
            let most = MAX_CONSOLE_LINE - 1;
            return self.show_error(&format!("line ignored: the limit is {most} bytes"));
        }
        let text = String::from_utf8_lossy(line);
        let mut words = text.trim().splitn(2, char::is_whitespace);
        let word = words.next().unwrap_or_default().to_lowercase();
        if let Some((command, _)) = commands::find(&commands::LAUNCHER, &word) {
            let argument = words.next().unwrap_or_default().trim();
            return match command {
                LauncherCommand::Open => self.open_another(argument),
                LauncherCommand::Freeze => self.change_by_name(Change::Freeze, argument),
                LauncherCommand::Thaw => self.change_by_name(Change::Thaw, argument),
                LauncherCommand::Live => self.open_live(),
            };
        }
        let command = commands::find(&commands::OPERATOR, &word).map(|(command, _)| command);
        self.quit_typed |= command == Some(OperatorCommand::Quit);
        if command == Some(OperatorCommand::Help) && self.config.terminal != Terminal::None {
            // Show the help for the launcher's own commands before the server's help, because the
            // launcher cannot tell where the server's help ends. The lines have the same form as
            // the server's.
            for line in commands::launcher_help() {
                self.output.say(&format!("* {line}"));
            }
        }
        if !self.server.type_in(line) {
            self.show_error(
                "the server does not read its console; try again, or press Ctrl+C to end",
            );
        }
    }

    /// Shows an error, formatted like the server's answers to typed lines.
    fn show_error(&self, error: &str) {
        let mut line = if style::is_colored(self.config.room.color) {
            Buffer::ansi()
        } else {
            Buffer::no_color()
        };
        // Writing to a buffer does not fail.
        let _ = write!(line, "{} ", Zoned::now().strftime("%H:%M:%S"));
        let _ = style::paint(&mut line, Color::Yellow, &format!("! {error}"));
        self.output.warn(&String::from_utf8_lossy(line.as_slice()));
    }

    fn check_server(&mut self) {
        if let Some(status) = self.server.status()
            && self.end.is_none()
        {
            let was_asked = self.quit_typed && status.success();
            self.end = Some(if was_asked {
                SessionEnd::Asked
            } else {
                SessionEnd::ServerEnded(status)
            });
        }
    }

    /// Shows whether the clients have received what the server has sent. Called once all processes
    /// have ended. Shows nothing if the server has never listened.
    fn say_proof(&mut self) {
        if self.address.is_none() {
            return;
        }
        let status = self.server.status();
        let is_closed = status.is_some_and(|status| status.success());
        if is_closed {
            self.pump(Some(Instant::now() + PROOF_TIME), |session| {
                session.has_summary && (session.proof.is_some() || session.samples_ended)
            });
        }
        let line = match (&self.proof, status) {
            (Some(proof), _) if is_closed => self.reports.verdict(proof),
            (None, _) if is_closed => "proof: none, because the server sent no checksums".into(),
            (_, Some(status)) => {
                let end = process::describe(status);
                format!("proof: none, because the server {end}")
            }
            (_, None) => "proof: none, because the server did not end".into(),
        };
        self.output.say(&line);
    }

    fn server_was_killed(&self) -> bool {
        self.server
            .status()
            .is_none_or(|status| status.code().is_none())
    }
}
