//! The end of a session, in steps.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::launcher::session::window::{State, Window};
use crate::launcher::session::{Opener, Session};

/// Time from SIGTERM until the last step, SIGKILL.
const KILL_AFTER: Duration = Duration::from_secs(1);
/// Time that the kernel has to end what got SIGKILL.
const GIVE_UP_AFTER: Duration = Duration::from_secs(1);

impl Session<'_> {
    /// Ends all that belongs to the session, in steps, and says what it waits for. Another signal goes to the next step at once.
    pub(crate) fn stop(&mut self) {
        self.end_all();
        self.leave_panes();
        if !self.all_gone() {
            let mut left = self.clients_and_windows();
            left.extend(self.server_if_there());
            self.output.warn(&format!("cannot end {}", left.join(", ")));
        }
    }

    fn end_all(&mut self) {
        self.stopping = true;
        // It has the server's console open as well.
        self.console = None;
        self.server.close();
        for window in &mut self.windows {
            if let State::Opening { retry, .. } = &mut window.state {
                *retry = None;
            }
            // One that is still to come is told when it says hello: an emulator that was ended while it starts would leave files.
            if let Some(client) = &window.client {
                client.quit();
            }
        }
        self.look_at_helper();
        let began = Instant::now();
        let end_time = self.config.end_time;
        for (after, signal) in [
            (end_time, Signal::TERM),
            (end_time + KILL_AFTER, Signal::KILL),
        ] {
            let interrupts = self.interrupts;
            self.pump(Some(began + after), |session| {
                session.all_gone() || session.interrupts > interrupts
            });
            if self.all_gone() {
                return;
            }
            self.say_what_it_waits_for(signal);
            self.signal_all(signal);
        }
        self.pump(Some(Instant::now() + GIVE_UP_AFTER), Self::all_gone);
    }

    fn say_what_it_waits_for(&self, signal: Signal) {
        let mut names = self.clients_and_windows();
        let action = match signal {
            // The server is left to finish.
            Signal::TERM if names.is_empty() => "",
            Signal::TERM => ": sending SIGTERM",
            _ => ": sending SIGKILL",
        };
        names.extend(self.server_if_there());
        let names = names.join(", ");
        self.output.warn(&format!("waiting for {names}{action}"));
    }

    fn all_gone(&self) -> bool {
        self.clients_and_windows().is_empty() && self.server_if_there().is_none()
    }

    fn server_if_there(&self) -> Option<String> {
        let there = self.server.status().is_none();
        there.then(|| format!("the server (pid {})", self.server.pid()))
    }

    /// All that has not ended but the server, as a user would call it.
    fn clients_and_windows(&self) -> Vec<String> {
        let mut names = Vec::new();
        for Window {
            title,
            shower,
            client,
            ..
        } in &self.windows
        {
            if let Some(client) = client {
                names.push(format!("the client of {title} (pid {})", client.pid()));
            } else if let Some(shower) = shower {
                names.push(format!("the window {title} (pid {})", shower.pid()));
            }
        }
        let helper = self.opener.as_ref().and_then(Opener::helper);
        for child in helper.into_iter().chain(&self.leftovers) {
            if child.status().is_none() {
                names.push(format!("a terminal emulator (pid {})", child.pid()));
            }
        }
        names
    }

    fn signal_all(&self, signal: Signal) {
        for window in &self.windows {
            if let Some(client) = &window.client {
                client.signal(signal);
                // One that is stopped gets a signal only when it goes on.
                client.signal(Signal::CONT);
            }
            if let Some(shower) = &window.shower {
                shower.signal(signal);
            }
        }
        let helper = self.opener.as_ref().and_then(Opener::helper);
        for child in helper.into_iter().chain(&self.leftovers) {
            child.signal(signal);
        }
        // It has been asked already, and needs its time to deliver what it has accepted.
        if signal == Signal::KILL {
            self.server.kill();
        }
    }

    /// A helper would wait for more windows, so it is ended, but not before the clients had their chance to leave.
    pub(crate) fn look_at_helper(&mut self) {
        let clients = self.windows.iter().any(|window| window.client.is_some());
        if self.stopping
            && !clients
            && !self.helper_told
            && let Some(helper) = self.opener.as_ref().and_then(Opener::helper)
        {
            helper.signal(Signal::TERM);
            self.helper_told = true;
        }
    }
}
