//! One pane: an emulated terminal, and the client that runs in it. The server's pane has no client.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use portable_pty::{CommandBuilder, MasterPty, PtyPair, PtySize, native_pty_system};

use crate::launcher::display::panes::emulation::Emulation;
use crate::launcher::display::panes::input_queue::InputQueue;
use crate::launcher::display::panes::lines::LogLines;
use crate::launcher::display::panes::redraw::Redraw;
use crate::launcher::display::window_spec::WindowSpec;
use crate::launcher::process::ChildProcess;
use crate::protocol::text;
use crate::sync::{Mutex, MutexGuard};

/// The note that a client's pane shows when the client has ended.
const LEFT: &[u8] = b"\x1b[1mended; press Enter to restart it\x1b[m\x1b[?25l";

/// The content of a pane, shared by the thread that reads the client's output and the thread
/// `draw`. No thread waits for I/O or another thread while it holds the lock.
pub(crate) struct PaneContent {
    pub(crate) emulation: Emulation,
    /// Whether a client is running in the pane.
    pub(crate) is_running: bool,
    /// Whether the bell has rung since the pane last had the focus.
    pub(crate) has_bell_mark: bool,
    /// The lines of the server's log. Empty in a client's pane.
    lines: LogLines,
}

impl PaneContent {
    /// Shows whole lines, wrapped between words.
    pub(crate) fn show(&mut self, lines: &[u8]) {
        let columns = self.emulation.screen().size().1;
        let rows = self.lines.add(lines, columns.into());
        self.emulation.process(&rows);
    }
}

pub(crate) struct Pane {
    /// The title to show until the client sets one: variants from the longest to the shortest, of
    /// which the first one that fits is shown.
    titles: Vec<String>,
    content: Arc<Mutex<PaneContent>>,
    client: Option<PaneClient>,
    /// Whether the client is stopped on the user's request.
    pub(crate) is_frozen: bool,
    size: (u16, u16),
}

/// The part of a pane that belongs to its client.
struct PaneClient {
    /// The ID of the client's window in the session.
    window: usize,
    /// The pseudo-terminal. `None` once the client has ended.
    terminal: Option<Box<dyn MasterPty + Send>>,
    input: Arc<InputQueue>,
}

impl Pane {
    /// Creates a pane without a client. `size` is its size in columns and rows, without the border.
    pub(crate) fn new(title: String, size: (u16, u16)) -> Self {
        let content = PaneContent {
            emulation: Emulation::new(size.0, size.1),
            is_running: false,
            has_bell_mark: false,
            lines: LogLines::default(),
        };
        Self {
            titles: vec![title],
            content: Arc::new(Mutex::new(content)),
            client: None,
            is_frozen: false,
            size,
        }
    }

    /// Starts the client of `window` in this pane, for the first time or after the previous client
    /// has ended.
    ///
    /// # Errors
    /// The client, its pseudo-terminal or a thread cannot be started.
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
        // Set the working directory, because the client would otherwise start in the home
        // directory. Unlike a path, `.` also works if the current directory was removed.
        command.cwd(".");
        command.env("TERM", "xterm-256color");
        // Remove the variables that describe the host terminal, because the client uses the
        // emulated one.
        for variable in ["COLORTERM", "COLUMNS", "LINES", "TERM_PROGRAM", "TMUX"] {
            command.env_remove(variable);
        }
        for (name, value) in &window.environment {
            command.env(name, value);
        }
        let reader = master.try_clone_reader().map_err(io::Error::other)?;
        let writer = master.take_writer().map_err(io::Error::other)?;
        let input = Arc::new(InputQueue::default());
        let name = format!("pane {}", window.id);
        {
            let mut content = self.lock();
            content.is_running = true;
            content.emulation.reset();
        }
        let queue = Arc::clone(&input);
        // The two threads of the pane are never joined. Both end when the client ends and so closes
        // its side of the pseudo-terminal.
        let (content, redraw, answers) = (self.content(), Arc::clone(redraw), Arc::clone(&input));
        let (end, ended) = mpsc::channel::<()>();
        thread::Builder::new().name(name.clone()).spawn(move || {
            read(reader, &content, &answers, &redraw);
            answers.end();
            // The note invites the user to restart the client. Show it only after the session has
            // been told that the client has ended: otherwise, the session could receive the request
            // to restart first, and ignore it.
            let _ = ended.recv();
            show_left(&content);
            redraw.request();
        })?;
        thread::Builder::new()
            .name(name.clone())
            .spawn(move || write(writer, &queue))?;
        let process: Box<dyn portable_pty::Child> =
            slave.spawn_command(command).map_err(io::Error::other)?;
        let process = process
            .downcast::<std::process::Child>()
            .map_err(|_| io::Error::other("the client is not a process of this system"))?;
        let child = ChildProcess::watch(*process, &name, move || {
            on_end();
            drop(end);
        })?;
        self.client = Some(PaneClient {
            window: window.id,
            terminal: Some(master),
            input,
        });
        Ok(child)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, PaneContent> {
        self.content.lock()
    }

    /// The ID of the pane's window. `None` for the server's pane.
    pub(crate) fn window(&self) -> Option<usize> {
        self.client.as_ref().map(|client| client.window)
    }

    /// Sets the title to show until the client sets one: variants from the longest to the shortest,
    /// of which the first one that fits is shown.
    pub(crate) fn set_titles(&mut self, titles: Vec<String>) {
        self.titles = titles;
    }

    /// The title that the client has set or, if it has set none, the pane's own title. Returns
    /// variants from the longest to the shortest, of which the first one that fits is to be shown.
    pub(crate) fn titles(&self, content: &PaneContent) -> Vec<String> {
        let Some(title) = content.emulation.title() else {
            return self.titles.clone();
        };
        let title = text::clean(title).replace(" - ", " · ");
        // Add a variant without the number of unread lines, with which the title may end: `chat 1 -
        // ala (3)`.
        let without_count = title.rsplit_once(" (").map(|(name, _)| name.to_owned());
        std::iter::once(title).chain(without_count).collect()
    }

    pub(crate) fn content(&self) -> Arc<Mutex<PaneContent>> {
        Arc::clone(&self.content)
    }

    /// Sets the size of the pane's content in columns and rows, without the border. The client
    /// learns of a new size from its pseudo-terminal.
    pub(crate) fn resize(&mut self, size: (u16, u16)) {
        if self.size == size {
            return;
        }
        self.size = size;
        let (columns, rows) = size;
        let mut content = self.lock();
        if let Some(client) = &self.client {
            content.emulation.resize(columns, rows);
            if let Some(terminal) = &client.terminal {
                // Ignore an error, which means that the client has ended.
                let _ = terminal.resize(pty_size(size));
            }
        } else {
            let lines = content.lines.all(columns.max(1).into());
            content.emulation.resize_and_show(columns, rows, &lines);
        }
    }

    /// Closes the pseudo-terminal if the client has ended.
    pub(crate) fn close_ended(&mut self) {
        if let Some(client) = &mut self.client
            && !self.content.lock().is_running
        {
            client.terminal = None;
        }
    }

    /// Queues input for the client. If the input does not fit in the queue, rejects it, as
    /// described at [`InputQueue::push`].
    pub(crate) fn send(&self, bytes: &[u8]) {
        if let Some(client) = &self.client {
            client.input.push(bytes);
        }
    }

    /// Whether the last input was rejected, because the client does not read its input.
    pub(crate) fn rejects_input(&self) -> bool {
        self.client
            .as_ref()
            .is_some_and(|client| client.input.is_rejecting())
    }

    /// Gives the pane the focus, or takes the focus away. Reports the change to the client if the
    /// client has asked for reports.
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

/// Writes queued input to the client. If the client does not read, only this thread blocks.
fn write(mut writer: Box<dyn Write + Send>, input: &InputQueue) {
    while let Some(bytes) = input.take() {
        if writer.write_all(&bytes).is_err() {
            return;
        }
    }
}

/// Reads the client's output until the client has ended, and answers its queries.
fn read(
    mut reader: Box<dyn Read + Send>,
    content: &Mutex<PaneContent>,
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
            let emulation = &mut content.lock().emulation;
            (emulation.process(&buffer[..count]), emulation.has_focus())
        };
        if has_focus {
            redraw.request_in_focus();
        } else {
            redraw.request();
        }
        if !answer.is_empty() {
            answers.push(&answer);
        }
    }
}

fn show_left(content: &Mutex<PaneContent>) {
    let mut content = content.lock();
    content.is_running = false;
    content.emulation.reset();
    content.emulation.process(LEFT);
}
