//! Keeps the keyboard focus where it was while windows open. A window manager focuses each new
//! window, and the order in which windows of several processes open is random.

use std::io;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use x11rb::protocol::xproto::Window;

use crate::launcher::display::emulator::x11::XServer;
use crate::launcher::display::window_spec;
use crate::os;

/// How long a window counts as new. If it gets the focus in this time, the window manager has
/// probably given it the focus. If it gets the focus later, the user has probably done so.
const NEW: Duration = Duration::from_secs(2);

/// Handle to the thread `focus`, which takes the keyboard focus away from new windows. The thread
/// stops when this is dropped.
pub(crate) struct FocusKeeper {
    _stop: UnixStream,
}

impl FocusKeeper {
    /// Starts the thread. If a new window of a child process or its descendants gets the focus, the
    /// thread gives the focus back to the window that had it before. If none had it, the first
    /// client's window gets it.
    ///
    /// # Errors
    /// A socket or thread cannot be created.
    pub(crate) fn start(server: XServer) -> io::Result<Self> {
        let (stop, stopped) = UnixStream::pair()?;
        server.watch(server.root);
        let mut watch = Watch {
            known: server.windows(),
            own: Vec::new(),
            new: Vec::new(),
            focused: server.active(),
            left: None,
            launcher: std::process::id().cast_signed(),
            server,
        };
        // This thread is never joined, because it may wait for an X server that does not answer.
        thread::Builder::new()
            .name("focus".into())
            .spawn(move || while watch.wait(&stopped) {})?;
        Ok(Self { _stop: stop })
    }
}

struct Watch {
    server: XServer,
    /// Process ID of the launcher, which is this process.
    launcher: i32,
    /// All windows of the screen at the last update, also those of other programs. A window that is
    /// missing here is new.
    known: Vec<Window>,
    /// The session's windows, in the order in which they appeared.
    own: Vec<Window>,
    /// The windows of the session that the window manager has not given the focus yet, with the
    /// time at which each appeared.
    new: Vec<(Window, Instant)>,
    /// The window that gets the focus back: the last one that had the focus and was not a new
    /// window of the session. `None` until a window has had the focus.
    focused: Option<Window>,
    /// The window from which this thread has moved the focus away. The window manager still reports
    /// it as active for a moment. `None` once another window is reported.
    left: Option<Window>,
}

impl Watch {
    /// Waits for an event and handles it. Returns false if the thread must stop.
    fn wait(&mut self, stopped: &UnixStream) -> bool {
        match self.server.take_events() {
            Some(true) => self.update(),
            Some(false) => {
                let mut waits = [
                    PollFd::from_borrowed_fd(self.server.descriptor(), PollFlags::IN),
                    PollFd::new(stopped, PollFlags::IN),
                ];
                match rustix::event::poll(&mut waits, None) {
                    Ok(_) if !waits[1].revents().is_empty() => return false,
                    Ok(_) | Err(rustix::io::Errno::INTR) => {}
                    Err(_) => return false,
                }
            }
            None => return false,
        }
        true
    }

    fn update(&mut self) {
        // Read the focus before the list of windows. Otherwise, the list would lack a window that
        // appears and gets the focus in between.
        let active = self.server.active();
        let windows = self.server.windows();
        let now = Instant::now();
        for &window in &windows {
            if !self.known.contains(&window) {
                self.known.push(window);
                let process = self.server.process(window);
                if process.is_some_and(|process| os::ancestors(process).contains(&self.launcher)) {
                    self.own.push(window);
                    self.new.push((window, now));
                    // Watch for the title, by which the first client's window is recognized:
                    // konsole sets it only after the window has appeared.
                    self.server.watch(window);
                }
            }
        }
        self.known.retain(|window| windows.contains(window));
        self.own.retain(|window| windows.contains(window));
        self.new.retain(|(_, since)| since.elapsed() < NEW);
        let Some(active) = active.filter(|window| windows.contains(window)) else {
            return;
        };
        if self.left == Some(active) {
            return;
        }
        self.left = None;
        let is_first = |window: &&Window| window_spec::is_first(&self.server.title(**window));
        let first = || self.own.iter().find(is_first).copied();
        let target = if let Some(index) = self.new.iter().position(|(new, _)| *new == active) {
            // A window manager focuses new windows in the order in which they appear. So it has
            // already focused all windows that are older than the active one, and only the user can
            // focus those from now on.
            self.new.drain(..=index);
            let focused = self.focused.filter(|window| windows.contains(window));
            focused.or_else(first)
        } else if self.focused.is_none() && self.own.contains(&active) {
            // Look for the first client's window again: it is recognized by its title, which it may
            // not have had before.
            first()
        } else {
            Some(active)
        };
        if let Some(target) = target {
            self.focused = Some(target);
            if target != active {
                self.left = Some(active);
                self.server.focus(target);
            }
        }
    }
}
