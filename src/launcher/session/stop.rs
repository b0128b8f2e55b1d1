//! Stops a session in steps: asks its processes to quit, then sends SIGTERM, then SIGKILL.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::launcher::display::Display;
use crate::launcher::process::ChildProcess;
use crate::launcher::session::window::{Window, WindowState};
use crate::launcher::session::{Phase, Session};

/// How long processes may take to exit after SIGTERM, before they are sent SIGKILL.
const KILL_AFTER: Duration = Duration::from_secs(1);
/// How long the kernel may take to end processes after SIGKILL.
const GIVE_UP_AFTER: Duration = Duration::from_secs(1);

impl Session<'_> {
    /// Ends all processes of the session in steps, and tells the user which processes are still
    /// running. Ctrl+C, like other signals, skips to the next step.
    pub(crate) fn stop(&mut self) {
        self.end_all();
        self.leave_panes();
        if !self.all_ended() {
            let mut left = self.clients_and_windows();
            left.extend(self.running_server());
            self.output.warn(&format!("cannot end {}", left.join(", ")));
        }
    }

    fn end_all(&mut self) {
        self.phase = Phase::Stopping {
            helper_signaled: false,
        };
        self.update_panes();
        self.thaw_all();
        // Stop the console first, because its thread holds a duplicate of the server's stdin, which
        // would keep the server running.
        self.console = None;
        self.server.close();
        for window in &mut self.windows {
            if let WindowState::Opening { retry_at, .. } = &mut window.state {
                *retry_at = None;
            }
            // A client that is still starting is asked to quit when it connects to the control
            // socket. Its emulator is not ended now, because an emulator that is ended while it
            // starts leaves files behind.
            if let Some(client) = &window.client {
                client.quit();
            }
        }
        self.end_helper();
        let began = Instant::now();
        let end_time = self.config.end_time;
        for (after, signal) in [
            (end_time, Signal::TERM),
            (end_time + KILL_AFTER, Signal::KILL),
        ] {
            let interrupts = self.interrupts;
            self.pump(Some(began + after), |session| {
                session.all_ended() || session.interrupts > interrupts
            });
            if self.all_ended() {
                return;
            }
            self.warn_before(signal);
            self.signal_all(signal);
        }
        self.pump(Some(Instant::now() + GIVE_UP_AFTER), Self::all_ended);
    }

    /// Tells the user what the session waits for, and which signal comes next.
    fn warn_before(&self, signal: Signal) {
        let mut names = self.clients_and_windows();
        let action = match signal {
            // Do not announce SIGTERM if only the server is left, because SIGTERM is not sent to
            // the server.
            Signal::TERM if names.is_empty() => "",
            Signal::TERM => ": sending SIGTERM",
            _ => ": sending SIGKILL",
        };
        names.extend(self.running_server());
        let names = names.join(", ");
        self.output.warn(&format!("waiting for {names}{action}"));
    }

    fn all_ended(&self) -> bool {
        self.clients_and_windows().is_empty() && self.running_server().is_none()
    }

    fn running_server(&self) -> Option<String> {
        let is_running = self.server.status().is_none();
        is_running.then(|| format!("the server (pid {})", self.server.pid()))
    }

    /// Names of all client and window processes that are still running.
    fn clients_and_windows(&self) -> Vec<String> {
        let mut names = Vec::new();
        for Window {
            spec,
            process,
            client,
            ..
        } in &self.windows
        {
            let title = spec.title();
            if let Some(client) = client {
                names.push(format!("the client of {title} (pid {})", client.pid()));
            } else if let Some(process) = process {
                names.push(format!("the window {title} (pid {})", process.pid()));
            }
        }
        for process in self.helper_and_leftovers() {
            if process.status().is_none() {
                names.push(format!("a terminal emulator (pid {})", process.pid()));
            }
        }
        names
    }

    fn signal_all(&self, signal: Signal) {
        for window in &self.windows {
            if let Some(client) = &window.client {
                client.signal(signal);
                // Send SIGCONT too, because a suspended process handles SIGTERM only after SIGCONT.
                client.signal(Signal::CONT);
            }
            if let Some(process) = &window.process {
                process.signal(signal);
            }
        }
        for process in self.helper_and_leftovers() {
            process.signal(signal);
        }
        // Send the server no SIGTERM: it was asked to end already, and needs time to deliver the
        // messages that it has accepted.
        if signal == Signal::KILL {
            self.server.kill();
        }
    }

    fn helper_and_leftovers(&self) -> impl Iterator<Item = &ChildProcess> {
        let helper = self.display.as_ref().and_then(Display::helper);
        helper.into_iter().chain(&self.leftovers)
    }

    /// When the session is stopping, ends the emulator's helper after the last client has left. The
    /// helper owns all windows of the session and would wait for more. If it ended earlier, windows
    /// would close before their clients have left.
    pub(crate) fn end_helper(&mut self) {
        let has_clients = self.windows.iter().any(|window| window.client.is_some());
        if let Phase::Stopping { helper_signaled } = &mut self.phase
            && !has_clients
            && !*helper_signaled
            && let Some(helper) = self.display.as_ref().and_then(Display::helper)
        {
            helper.signal(Signal::TERM);
            *helper_signaled = true;
        }
    }
}
