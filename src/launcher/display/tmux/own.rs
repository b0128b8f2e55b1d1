//! A tmux of our own, for a session that is started outside of any.
//!
//! ```text
//! chat-run ── starts, on its terminal ── tmux, attached ── socket ── tmux, the server
//!    │                                                                  │ panes
//!    └── lifeline; signals ── chat-run: the session ── chat-client … ───┘
//! ```
//!
//! Two launchers, each a simple one: the one that was called only holds the terminal, and waits; the other one runs in tmux's first pane
//! as it would in any terminal, with the console, the log and Ctrl+C, and opens the panes beside its own. So a session ends here in the
//! same way as everywhere, and what is left is to end tmux, and to say on the outer terminal what the session said last.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::SocketAddr;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, getpid, kill_process, test_kill_process};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::control_socket::{self, End, Held};
use crate::launcher::display::emulator::open::{last_line, utf8_locale};
use crate::launcher::own_program;
use crate::os::{self, Scratch};

/// What a folder's name begins with that a tmux of our own has its socket in.
const PREFIX: &str = "chat-run-tmux-";

/// Names of the files in it.
const SOCKET: &str = "socket";
const CONFIGURATION: &str = "tmux.conf";
const LAST_WORDS: &str = "last-words";

/// Stands between the last words and the error after which they were said, if any.
const ERROR: u8 = 0;

/// Descriptors that a tmux may have at least: with a dozen its server was seen to turn for ever, out of reach.
const LEAST_DESCRIPTORS: u64 = 64;

/// Time that a session has to end; it takes 2.5 s at most itself.
const SESSION_TIME: Duration = Duration::from_secs(5);

/// Time that tmux has to let go of the terminal when it has ended.
const LET_GO_TIME: Duration = Duration::from_secs(1);

/// Leaves the alternate screen, bracketed paste and the keypad's other mode, and shows the cursor in the usual colours.
const NORMAL_SCREEN: &str = "\x1b[?1049l\x1b[?2004l\x1b[?1l\x1b>\x1b[?25h\x1b[0m";

/// How it looks, and keys that one would have to know tmux for. No mouse: marking and copying stay the terminal's.
const SETTINGS: &str = "\
set -g default-terminal screen-256color
set -g history-limit 10000
set -g escape-time 20
set -g status-style bg=default
set -g status-left ''
set -g status-right 'F6: next pane   F2: enlarge   Ctrl+B PgUp: scroll   Ctrl+C in the server: end '
set -g status-right-length 90
set -g pane-border-status top
set -g pane-border-format ' #{?pane_active,*,} #{pane_title} '
bind -n F6 select-pane -t :.+
bind -n S-F6 select-pane -t :.-
bind -n F2 resize-pane -Z
";

/// What the outer launcher's threads tell.
enum Event {
    /// SIGINT, SIGTERM or SIGHUP came.
    Interrupt,
    /// tmux has let go of the terminal: it was told to detach, it was killed, or all panes are closed. Whether that was by Ctrl+C, which it
    /// gets as well until it has taken the terminal.
    LetGo { by_interrupt: bool },
    /// The session has begun or ended.
    Lifeline(control_socket::Event),
}

/// The folder of a tmux of our own, with its server. Dropping it ends the server with all that runs there, and removes the folder.
struct Own<'a> {
    tmux: &'a Path,
    folder: PathBuf,
}

/// Runs a session in a tmux of our own, by the program `tmux`, on this terminal. It has `begin_time` to begin.
///
/// # Errors
/// That of the session; or tmux cannot be had on this terminal.
pub(crate) fn run(tmux: &Path, begin_time: Duration) -> Result<()> {
    if let Some(limit) = os::raise_descriptor_limit().filter(|limit| *limit < LEAST_DESCRIPTORS) {
        bail!(
            "{limit} descriptors are too few for tmux; raise `ulimit -n`, or try another terminal with `-t`"
        );
    }
    let (sender, events) = mpsc::channel();
    let interrupts = sender.clone();
    // Before there is anything that would be left.
    ctrlc::set_handler(move || drop(interrupts.send(Event::Interrupt)))
        .context("cannot handle signals")?;
    // All that is made here is for this user, who must be able to read it.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    let own = Own::new(tmux).with_context(|| {
        format!(
            "cannot make a folder for tmux's socket in {}; set TMPDIR to another one",
            env::temp_dir().display()
        )
    })?;
    let lives = sender.clone();
    let lifeline =
        control_socket::Listener::start(move |event| drop(lives.send(Event::Lifeline(event))))
            .context("cannot listen for the session that is started")?;
    let complaints = Scratch::new(b"").context("cannot make a temporary file for tmux")?;
    let before = tcgetattr(io::stdin()).ok();
    let client = own
        .attach(&lifeline.name_for(0), &complaints, move |by_interrupt| {
            drop(sender.send(Event::LetGo { by_interrupt }))
        })
        .with_context(|| format!("cannot start {}", tmux.display()))?;

    let mut session: Option<Held> = None;
    let (mut asked, mut let_go) = (false, false);
    let deadline = Instant::now() + begin_time;
    loop {
        let event = if asked || let_go {
            events.recv_timeout(SESSION_TIME).ok()
        } else if session.is_none() {
            let left = deadline.saturating_duration_since(Instant::now());
            events.recv_timeout(left).ok()
        } else {
            events.recv().ok()
        };
        match event {
            Some(Event::Lifeline(control_socket::Event::Hello { client, .. })) => {
                if asked {
                    client.signal(Signal::INT);
                }
                session = Some(client);
            }
            Some(Event::Lifeline(control_socket::Event::Ended { .. })) => break,
            Some(Event::Interrupt) => {
                asked = true;
                // It does as in any terminal. One that is still to come is told when it does: to end a tmux that is only starting
                // would leave it.
                if let Some(session) = &session {
                    session.signal(Signal::INT);
                }
            }
            Some(Event::LetGo { by_interrupt }) if session.is_none() => {
                (asked, let_go) = (asked || by_interrupt, true);
                break;
            }
            Some(Event::LetGo { .. }) => {
                // The session's terminal goes with that, if it has not yet, and one SIGHUP is enough for it.
                end_server(tmux, &own.folder);
                let_go = true;
            }
            // It took too long.
            None => {
                if let Some(session) = &session {
                    session.signal(Signal::KILL);
                }
                break;
            }
        }
    }
    let last_words = own.last_words();
    drop(own);
    let mut killed = false;
    while !let_go {
        match events.recv_timeout(LET_GO_TIME) {
            Ok(Event::LetGo { .. }) => let_go = true,
            Ok(Event::Interrupt | Event::Lifeline(_)) => {}
            Err(_) if killed => break,
            Err(_) => {
                let _ = kill_process(client, Signal::KILL);
                killed = true;
            }
        }
    }
    if let Some(before) = before {
        give_back(&before);
    }
    match last_words {
        Some((said, error)) => {
            // A terminal that is gone is no reason to fail.
            let _ = io::stdout().write_all(&said);
            if error.is_empty() {
                Ok(())
            } else {
                Err(anyhow!(error))
            }
        }
        None if asked => Ok(()),
        None if session.is_some() => bail!("the session in tmux was ended by force"),
        None => {
            let end = last_line(complaints.file());
            bail!("tmux did not begin the session{end}; try again, or another terminal with `-t`")
        }
    }
}

impl<'a> Own<'a> {
    fn new(tmux: &'a Path) -> io::Result<Self> {
        sweep();
        let random = getrandom::u64().map_err(io::Error::other)?;
        let name = format!("{PREFIX}{}-{random:016x}", std::process::id());
        let folder = env::temp_dir().join(name);
        // It may be too long a name for a socket.
        SocketAddr::from_pathname(folder.join(SOCKET))?;
        DirBuilder::new().mode(0o700).create(&folder)?;
        let own = Self { tmux, folder };
        fs::write(own.folder.join(CONFIGURATION), SETTINGS)?;
        Ok(own)
    }

    /// Starts tmux on our terminal, with the session's launcher in its first pane. A thread called `tmux` waits until it lets go, and calls `on_end`.
    fn attach(
        &self,
        lifeline: &OsStr,
        complaints: &Scratch,
        on_end: impl FnOnce(bool) + Send + 'static,
    ) -> io::Result<Pid> {
        let mut command = Command::new(self.tmux);
        command.arg("-S").arg(self.folder.join(SOCKET));
        command.arg("-f").arg(self.folder.join(CONFIGURATION));
        command.args(["new-session", "-n", "chat", "--"]);
        let own = own_program().ok_or(io::ErrorKind::NotFound)?;
        command.arg(super::escape(own.as_os_str()));
        command.arg("--lifeline").arg(lifeline);
        command.args(
            env::args_os()
                .skip(1)
                .map(|argument| super::escape(&argument)),
        );
        command.args([";", "select-pane", "-T", "server"]);
        // What it says when it lets go is of no interest: it writes to the terminal by way of stdin.
        command
            .stdout(Stdio::null())
            .stderr(complaints.file().try_clone()?);
        let mut process = command.envs(utf8_locale()).spawn()?;
        let pid = Pid::from_child(&process);
        thread::Builder::new().name("tmux".into()).spawn(move || {
            let status = process.wait();
            on_end(status.is_ok_and(|status| status.signal() == Some(Signal::INT.as_raw())));
        })?;
        Ok(pid)
    }

    /// What the session said last, and the error it ended with, empty where there was none. `None` where it came to no end of its own.
    fn last_words(&self) -> Option<(Vec<u8>, String)> {
        let all = fs::read(self.folder.join(LAST_WORDS)).ok()?;
        let end = all.iter().rposition(|&byte| byte == ERROR)?;
        let error = String::from_utf8_lossy(&all[end + 1..]).into_owned();
        Some((all[..end].to_vec(), error))
    }
}

impl Drop for Own<'_> {
    fn drop(&mut self) {
        close(self.tmux, &self.folder);
    }
}

/// Ends the tmux that has its socket in `folder`, where it still runs, with all that runs there.
fn end_server(tmux: &Path, folder: &Path) {
    let mut command = Command::new(tmux);
    command.arg("-S").arg(folder.join(SOCKET));
    // A second Ctrl+C is not for it.
    command
        .arg("kill-server")
        .process_group(0)
        .stdin(Stdio::null());
    // It fails where there is none any more.
    let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
}

/// Ends the tmux that has its socket in `folder`, and removes the folder.
fn close(tmux: &Path, folder: &Path) {
    end_server(tmux, folder);
    let _ = fs::remove_dir_all(folder);
}

/// Puts our terminal right where tmux has not: its server does that, unless it was killed.
fn give_back(before: &Termios) {
    let stdin = io::stdin();
    if tcgetattr(&stdin).is_ok_and(|now| now.local_modes != before.local_modes) {
        let _ = tcsetattr(&stdin, OptionalActions::Now, before);
        let _ = io::stdout().write_all(NORMAL_SCREEN.as_bytes());
    }
}

/// Removes what launchers have left that are there no more: two that were killed in the same moment.
fn sweep() {
    let entries = fs::read_dir(env::temp_dir())
        .into_iter()
        .flatten()
        .flatten();
    for entry in entries {
        let name = entry.file_name();
        let pid = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok())
            .and_then(Pid::from_raw);
        if pid.is_some_and(|pid| test_kill_process(pid) == Err(Errno::SRCH)) {
            // Where that fails it is another user's.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// The folder of the tmux that this process runs in, where that is one of ours.
pub(crate) fn folder() -> Option<PathBuf> {
    // SOCKET,PID,SESSION
    let variable = env::var_os("TMUX")?;
    let socket = variable
        .as_bytes()
        .rsplitn(3, |&byte| byte == b',')
        .nth(2)?;
    let folder = Path::new(OsStr::from_bytes(socket)).parent()?;
    let name = folder.file_name()?.to_str()?;
    name.starts_with(PREFIX).then(|| folder.to_owned())
}

/// Does `work`, which is to run a session, in a pane of a tmux that the launcher with the lifeline `name` has made for it. What the session
/// says last goes to the file that `work` is given.
///
/// # Errors
/// Those of `work`, which that launcher is told; it is gone; or there is no such tmux.
pub(crate) fn take_seat(name: &OsStr, work: impl FnOnce(File) -> Result<()>) -> Result<()> {
    let folder = folder().context("there is no tmux of chat-run's around this")?;
    // The tmux that ends below takes this process with it, which Ctrl+C would end before anybody knows why.
    os::hold_signals();
    let gone = Arc::new(AtomicBool::new(false));
    let is_gone = Arc::clone(&gone);
    let seat = control_socket::hold(name, move |end| {
        is_gone.store(end == End::Gone, Ordering::SeqCst);
        // The session handles that as it does in any terminal.
        let _ = kill_process(getpid(), Signal::TERM);
    });
    let result = match &seat {
        Ok(_) => {
            let mut last_words = File::create(folder.join(LAST_WORDS))?;
            let result = last_words.try_clone().map_err(Into::into).and_then(work);
            let error = result
                .as_ref()
                .err()
                .map_or_else(String::new, |error| format!("{error:#}"));
            let _ = last_words.write_all(&[&[ERROR], error.as_bytes()].concat());
            result
        }
        Err(error) => Err(anyhow!(
            "the launcher that holds the terminal is gone: {error}"
        )),
    };
    // Nobody else is there to do that.
    if seat.is_err() || gone.load(Ordering::SeqCst) {
        close(&which::which("tmux")?, &folder);
    }
    result
}
