//! One pane: a terminal of its own, and the program that runs in it, if it has one.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use portable_pty::{CommandBuilder, MasterPty, PtyPair, PtySize, native_pty_system};

use crate::launcher::display::panes::emulation::Emulation;
use crate::launcher::display::panes::input_queue::InputQueue;
use crate::launcher::display::panes::lines::Lines;
use crate::launcher::display::panes::redraw::Redraw;
use crate::launcher::display::window_spec::WindowSpec;
use crate::launcher::process::ChildProcess;
use crate::protocol::text;
use crate::sync::{Mutex, MutexGuard};

/// What a pane shows when its program has ended.
const LEFT: &[u8] = b"\x1b[1mleft; Enter starts it again\x1b[m\x1b[?25l";

/// What is in a pane, as its reader and who draws it share it. Nobody waits for anything while holding its lock.
pub(crate) struct Inside {
    pub(crate) emulation: Emulation,
    /// Whether the program is there. The server's pane has none.
    pub(crate) runs: bool,
    /// Whether it rang the bell while another pane had the focus, and has not had it since.
    pub(crate) calls: bool,
    /// What was shown in the server's pane; a program shows what it likes.
    lines: Lines,
}

impl Inside {
    /// Shows whole lines of ours, cut at words.
    pub(crate) fn show(&mut self, lines: &[u8]) {
        let columns = self.emulation.screen().size().1;
        let rows = self.lines.add(lines, columns.into());
        self.emulation.process(&rows);
    }
}

/// A pane.
pub(crate) struct Pane {
    /// What it is called until its program gives it another title, in forms that stand as [`Pane::titles`] gives them.
    titles: Vec<String>,
    inside: Arc<Mutex<Inside>>,
    client: Option<Client>,
    size: (u16, u16),
}

/// The program's side of a client's pane.
struct Client {
    /// The window's number in the session.
    window: usize,
    /// Until the program has ended, which may be long before it is started again.
    terminal: Option<Box<dyn MasterPty + Send>>,
    typed: Arc<InputQueue>,
}

impl Pane {
    /// A pane without a program, with so many columns and rows inside.
    pub(crate) fn new(title: String, size: (u16, u16)) -> Self {
        let inside = Inside {
            emulation: Emulation::new(size.0, size.1),
            runs: false,
            calls: false,
            lines: Lines::default(),
        };
        Self {
            titles: vec![title],
            inside: Arc::new(Mutex::new(inside)),
            client: None,
            size,
        }
    }

    /// Starts the client of `window` in this pane, for the first time or after one has ended in it.
    ///
    /// # Errors
    /// There is no terminal for it, it cannot be started, or there is no thread.
    pub(crate) fn start(
        &mut self,
        window: &WindowSpec,
        redraw: &Arc<Redraw>,
        on_end: impl FnOnce() + Send + 'static,
    ) -> io::Result<ChildProcess> {
        let PtyPair { master, slave } = native_pty_system()
            .openpty(pty_size(self.size))
            .map_err(io::Error::other)?;
        let mut command = CommandBuilder::from_argv(window.client_command.clone());
        // It would start in the user's home. A folder that is not there any more has no name, and will do all the same.
        command.cwd(".");
        command.env("TERM", "xterm-256color");
        // What says which terminal this is, or how large, is not true of the pane.
        for variable in ["COLORTERM", "COLUMNS", "LINES", "TERM_PROGRAM", "TMUX"] {
            command.env_remove(variable);
        }
        for (name, value) in &window.environment {
            command.env(name, value);
        }
        let reader = master.try_clone_reader().map_err(io::Error::other)?;
        let writer = master.take_writer().map_err(io::Error::other)?;
        let typed = Arc::new(InputQueue::default());
        let name = format!("pane {}", window.id);
        {
            let mut inside = self.lock();
            inside.runs = true;
            inside.emulation.reset();
        }
        let waiting = Arc::clone(&typed);
        // Neither is joined: both end with the program, which closes its side of the terminal.
        let (inside, redraw, answers) = (self.inside(), Arc::clone(redraw), Arc::clone(&typed));
        let (end, ended) = mpsc::channel::<()>();
        thread::Builder::new().name(name.clone()).spawn(move || {
            read(reader, &inside, &answers, &redraw);
            answers.end();
            // Who starts it again must know already that it has ended.
            let _ = ended.recv();
            say_that_it_left(&inside);
            redraw.changed();
        })?;
        thread::Builder::new()
            .name(name.clone())
            .spawn(move || write(writer, &waiting))?;
        let process: Box<dyn portable_pty::Child> =
            slave.spawn_command(command).map_err(io::Error::other)?;
        let process = process
            .downcast::<std::process::Child>()
            .map_err(|_| io::Error::other("not a process of this system"))?;
        let child = ChildProcess::watch(*process, &name, move || {
            on_end();
            drop(end);
        })?;
        self.client = Some(Client {
            window: window.id,
            terminal: Some(master),
            typed,
        });
        Ok(child)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock()
    }

    /// What the session calls its window; the server's has none.
    pub(crate) fn window(&self) -> Option<usize> {
        self.client.as_ref().map(|client| client.window)
    }

    /// Gives it a title, in forms from the longest to the shortest.
    pub(crate) fn set_titles(&mut self, titles: Vec<String>) {
        self.titles = titles;
    }

    /// What it is called: by its program, as windows are, else as it was opened. In forms from the longest to the shortest.
    pub(crate) fn titles(&self, inside: &Inside) -> Vec<String> {
        let Some(title) = inside.emulation.title() else {
            return self.titles.clone();
        };
        let title = text::clean(title).replace(" - ", " · ");
        // How many lines nobody has read stands at the end: `chat 1 - ala (3)`.
        let without_count = title.rsplit_once(" (").map(|(name, _)| name.to_owned());
        std::iter::once(title).chain(without_count).collect()
    }

    /// The name of the member who is in it, where its title, which is ASCII, can tell it.
    pub(crate) fn name(&self) -> Option<String> {
        let titles = self.titles(&self.lock());
        let (_, name) = titles.last()?.split_once(" · ")?;
        let is_whole = self.client.is_some() && !name.contains('?');
        is_whole.then(|| name.to_owned())
    }

    /// A way to write in it for what is no program.
    pub(crate) fn inside(&self) -> Arc<Mutex<Inside>> {
        Arc::clone(&self.inside)
    }

    /// Gives it this many columns and rows inside.
    pub(crate) fn resize(&mut self, size: (u16, u16)) {
        if self.size == size {
            return;
        }
        self.size = size;
        let (columns, rows) = size;
        let mut inside = self.lock();
        if let Some(client) = &self.client {
            inside.emulation.resize(columns, rows);
            if let Some(terminal) = &client.terminal {
                // It fails where the program has ended.
                let _ = terminal.resize(pty_size(size));
            }
        } else {
            let lines = inside.lines.all(columns.max(1).into());
            inside.emulation.show_alone(columns, rows, &lines);
        }
    }

    /// Closes the terminal of a program that has ended.
    pub(crate) fn close_ended(&mut self) {
        if let Some(client) = &mut self.client
            && !self.inside.lock().runs
        {
            client.terminal = None;
        }
    }

    /// Sends the program what was typed, as [`InputQueue::push`] takes it.
    pub(crate) fn send(&self, bytes: &[u8]) {
        if let Some(client) = &self.client {
            client.typed.push(bytes);
        }
    }

    /// Whether what was typed last is not going to reach the program.
    pub(crate) fn refuses(&self) -> bool {
        self.client
            .as_ref()
            .is_some_and(|client| client.typed.refuses())
    }

    /// Tells the program, if it wants to know, that it has the focus now, or no longer.
    pub(crate) fn focus(&self, gained: bool) {
        let report = self.lock().emulation.focus(gained);
        if let Some(report) = report {
            self.send(report.as_bytes());
        }
    }
}

fn pty_size((cols, rows): (u16, u16)) -> PtySize {
    PtySize {
        rows,
        cols,
        ..PtySize::default()
    }
}

/// Writes what is typed, all at once that has come meanwhile; a program that does not read holds up this thread alone.
fn write(mut writer: Box<dyn Write + Send>, typed: &InputQueue) {
    while let Some(bytes) = typed.take() {
        if writer.write_all(&bytes).is_err() {
            return;
        }
    }
}

/// Reads what the program writes, until it has ended.
fn read(
    mut reader: Box<dyn Read + Send>,
    inside: &Mutex<Inside>,
    answers: &InputQueue,
    redraw: &Redraw,
) {
    let mut buffer = [0; 8192];
    loop {
        let count = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        let (answer, has_focus) = {
            let emulation = &mut inside.lock().emulation;
            (emulation.process(&buffer[..count]), emulation.has_focus())
        };
        if has_focus {
            redraw.changed_in_focus();
        } else {
            redraw.changed();
        }
        if !answer.is_empty() {
            answers.push(&answer);
        }
    }
}

fn say_that_it_left(inside: &Mutex<Inside>) {
    let mut inside = inside.lock();
    inside.runs = false;
    inside.emulation.reset();
    inside.emulation.process(LEFT);
}
