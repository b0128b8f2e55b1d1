//! The screen that the windows are placed on, and the place of the launcher's terminal. Both are
//! known only with X11, because Wayland lets no program choose or see the positions of windows.

use std::env;
use std::io::{self, IsTerminal};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use x11rb::protocol::xproto::Window;

use crate::launcher::display::emulator::geometry::{Rect, Scale};
use crate::launcher::display::emulator::x11::XServer;
use crate::os;

/// Time limit for the X server's answers.
const SERVER_TIME: Duration = Duration::from_secs(1);

/// How long to wait for the window manager to show a terminal that was opened for this process, as
/// by `xterm -e chat-run`.
const TERMINAL_TIME: Duration = Duration::from_millis(500);

/// How often to check whether the terminal is shown.
const TERMINAL_PAUSE: Duration = Duration::from_millis(10);

/// Limit on the windows to examine on the way from a terminal's inner window, through its parents,
/// to the window that the window manager lists. Each step is a query to the X server.
const MAX_PARENTS: usize = 8;

/// A monitor, and the launcher's terminal on it.
#[derive(Debug)]
pub(crate) struct Screen {
    /// The part of the monitor that the desktop's panels, such as a taskbar, leave free.
    pub(crate) area: Rect,
    /// The window of the terminal that shows the server's log, with its decoration. `None` if it
    /// was not found.
    pub(crate) launcher: Option<Rect>,
    /// The scale of both rectangles, which are in pixels of a screen with 96 dots per inch.
    pub(crate) scale: Scale,
}

impl Screen {
    /// Connects to the X server and reads the screen. `None` if there is no X server, or if it does
    /// not answer in time.
    pub(crate) fn find() -> Option<(Self, XServer)> {
        let (sender, found) = mpsc::channel();
        let thread = thread::Builder::new().name("screen".into());
        // This thread is never joined. If the X server does not answer, the thread ends with the
        // process.
        let _thread = thread.spawn(move || {
            let server = XServer::connect().ok()?;
            wait_for_terminal(&server);
            // Ignore an error: the receiver is gone if this took longer than `SERVER_TIME`.
            sender.send((Self::read(&server)?, server)).ok()
        });
        found.recv_timeout(SERVER_TIME).ok()
    }

    /// Reads the monitor that shows the launcher's terminal or, if that is not known, the primary
    /// monitor.
    fn read(server: &XServer) -> Option<Self> {
        let launcher = launcher_window(server).and_then(|window| server.frame(window));
        let monitors = server.monitors();
        let has_launcher = |monitor: &&Rect| {
            let shared = launcher.and_then(|frame| frame.intersection(monitor));
            // Find the monitor that shows more than half of the terminal.
            launcher.zip(shared).is_some_and(|(frame, shared)| {
                2 * shared.width * shared.height > frame.width * frame.height
            })
        };
        let monitor = monitors.iter().find(has_launcher).or(monitors.first())?;
        let free = server
            .work_area()
            .and_then(|area| area.intersection(monitor));
        let scale = Scale::of_dpi(server.dpi());
        Some(Self {
            area: scale.in_pixels(free.unwrap_or(*monitor)),
            launcher: launcher.map(|frame| scale.in_pixels(frame)),
            scale,
        })
    }
}

/// Returns the window of the terminal that shows the log. `None` if stdout is not a terminal.
///
/// The terminal is usually an ancestor of this process. Of the ancestors' windows, takes the one in
/// `WINDOWID` (a variable that some emulators set), or else the active one, or else the newest.
/// Under tmux or over SSH, no ancestor has a window. Then takes the active window, because the user
/// has probably typed the command there.
fn launcher_window(server: &XServer) -> Option<Window> {
    if !io::stdout().is_terminal() {
        return None;
    }
    let all = server.windows();
    let ancestors = os::ancestors(std::process::id().cast_signed());
    let is_own = |window: &Window| is_of_one(server, *window, &ancestors);
    let own: Vec<Window> = all.iter().copied().filter(is_own).collect();
    let (named, active) = (window_in_environment(server, &all), server.active());
    if own.is_empty() {
        // Prefer the active window: WINDOWID may name the terminal in which tmux was started, while
        // another terminal shows tmux now.
        return active.or(named);
    }
    named
        .into_iter()
        .chain(active)
        .find(|window| own.contains(window))
        .or(own.last().copied())
}

/// Waits until the window in `WINDOWID` is shown, if it belongs to an ancestor of this process: a
/// terminal that was opened for this process may not be visible yet. Waits no longer than
/// [`TERMINAL_TIME`].
fn wait_for_terminal(server: &XServer) {
    let ancestors = os::ancestors(std::process::id().cast_signed());
    let Some(window) = window_id().filter(|window| is_of_one(server, *window, &ancestors)) else {
        return;
    };
    let began = Instant::now();
    let is_shown = || {
        let listed = server.windows();
        let is_listed = window_in_environment(server, &listed).is_some();
        is_listed && server.frame(window).is_some()
    };
    while !is_shown() && began.elapsed() < TERMINAL_TIME {
        thread::sleep(TERMINAL_PAUSE);
    }
}

/// Whether the window belongs to one of `processes`.
fn is_of_one(server: &XServer, window: Window, processes: &[i32]) -> bool {
    let process = server.process(window);
    process.is_some_and(|process| processes.contains(&process))
}

fn window_id() -> Option<Window> {
    env::var("WINDOWID").ok()?.parse().ok()
}

/// Returns the window in `WINDOWID`. If it is an inner window of a terminal, returns the outer
/// window, which is in `listed`, the windows that the window manager lists.
fn window_in_environment(server: &XServer, listed: &[Window]) -> Option<Window> {
    let outward = std::iter::successors(window_id(), |child| server.parent(*child));
    let mut outward = outward.take(MAX_PARENTS);
    if listed.is_empty() {
        // There is no window manager, or one that lists no windows, such as twm: take the outermost
        // window, which includes the decoration.
        return outward.take_while(|window| *window != server.root).last();
    }
    outward.find(|window| listed.contains(window))
}
