//! Sessions in unusual environments: each starts and ends, or says why it cannot start and what to
//! try. None hangs or leaves anything behind.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirEntry};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use support::desktop::Desktop;
use support::sandbox::{MARK, Sandbox};
use support::session::Session;
use support::shell::Shell;
use support::wait::{DEADLINE, wait_at_most};
use tempfile::TempDir;

/// Number of sessions that run in parallel; each spends most of its time waiting.
const AT_ONCE: usize = 4;

/// Time until a session with scarce resources is ended, however far it has got.
const SCARCE_TIME: Duration = Duration::from_secs(1);

/// The values of `-t` that are tried.
const TERMINALS: [&str; 3] = ["none", "panes", "xterm"];

/// A session in an environment that a few lines of Python set up.
#[derive(Clone, Copy, Debug)]
struct Hostile<'a> {
    python: &'a str,
    /// Beginning of a command line, to which the session's own command line is appended.
    wrapper: &'a [&'a str],
    programs: &'a Path,
    terminal: &'a str,
    /// Whether it is enough to report what is missing, in a window or a line of the log.
    is_scarce: bool,
}

/// The outcome of a session.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Works,
    Refused(String),
}

fn programs() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_chat-run")).parent().unwrap()
}

impl<'a> Hostile<'a> {
    fn new(python: &'a str, terminal: &'a str) -> Self {
        Self {
            python,
            wrapper: &[],
            programs: programs(),
            terminal,
            is_scarce: false,
        }
    }

    /// Runs the session, and ends it if it works. Checks that nothing is left and that the
    /// terminal is restored.
    fn run(&self, desktop: &Desktop) -> Outcome {
        let script = format!(
            "import os, resource, signal, sys\n{}\nos.execv(sys.argv[1], sys.argv[1:])",
            self.python
        );
        let mut command: Vec<OsString> = self.wrapper.iter().map(OsString::from).collect();
        command.extend(["python3", "-c", &script].map(OsString::from));
        command.push(self.programs.join("chat-run").into());
        let session = [
            "-p",
            "0",
            "-c",
            "1",
            "--names",
            "ala",
            "--window-time",
            "5000",
            "-t",
        ];
        command.extend(session.map(OsString::from));
        command.push(self.terminal.into());
        let environment: Vec<(&str, OsString)> = match self.terminal {
            "xterm" => desktop.environment().into_iter(),
            _ => Vec::new().into_iter(),
        }
        .map(|(name, value)| (name, value.into()))
        .collect();

        let mut shell = Shell::new(&command, &environment);
        shell.run_command();
        let sign = match self.terminal {
            "none" => "join from here:",
            _ => "ala joined",
        };
        let mut begun = None;
        let works = shell.wait_for(&format!("start or end of {self:?}"), || {
            let has_ended = shell.exit_code().is_some();
            // The time starts when Python has been replaced by `chat-run`.
            if self.is_scarce
                && begun.is_none()
                && shell.sandbox.running().iter().any(|one| one.is("chat-run"))
            {
                begun = Some(Instant::now());
            }
            let is_enough = begun.is_some_and(|begun: Instant| begun.elapsed() > SCARCE_TIME);
            let has_begun = is_enough || shell.screen.text().contains(sign);
            (has_ended || has_begun).then_some(!has_ended)
        });
        if works {
            shell.screen.type_keys("\x03");
        }
        let code = shell.end();
        shell.expect_terminal_restored();
        let written = shell.written();
        assert!(!written.contains("panicked"), "{self:?}: {written}");
        assert!(!written.contains("Traceback"), "{self:?}: {written}");
        // On a busy machine, Ctrl+C may arrive before the launcher handles signals.
        let by_interrupt = 128 + Signal::INT.as_raw();
        if code == 0 || self.is_scarce && works && code == by_interrupt {
            return Outcome::Works;
        }
        assert!(
            code == 1 && (!works || self.is_scarce),
            "{self:?}: {}",
            shell.captured()
        );
        let (_, error) = written.rsplit_once("error: ").unwrap_or_default();
        let error = error.lines().next().unwrap_or_default();
        assert_ne!(error, "", "{self:?}: {}", shell.captured());
        Outcome::Refused(error.trim_end().to_owned())
    }
}

/// Runs all sessions, [`AT_ONCE`] in parallel, and passes each outcome to `check`.
fn run_all(all: &[Hostile<'_>], check: impl Fn(&Hostile<'_>, Outcome) + Sync) {
    let desktop = &Desktop::new();
    let check = &check;
    thread::scope(|scope| {
        for first in 0..AT_ONCE {
            scope.spawn(move || {
                for hostile in all.iter().skip(first).step_by(AT_ONCE) {
                    check(hostile, hostile.run(desktop));
                }
            });
        }
    });
}

fn assert_works(hostile: &Hostile<'_>, outcome: Outcome) {
    assert_eq!(outcome, Outcome::Works, "{hostile:?}");
}

/// Each environment with each terminal.
fn with_each_terminal<'a>(setups: &[&'a str]) -> Vec<Hostile<'a>> {
    let with = |python: &&'a str| TERMINALS.map(|terminal| Hostile::new(python, terminal));
    setups.iter().flat_map(with).collect()
}

#[test]
fn sessions_start_and_end_in_unusual_environments() {
    let all = with_each_terminal(&[
        "del os.environ['HOME']",
        "os.environ['HOME'] = ''",
        "os.environ['HOME'] = '/nowhere'",
        "os.environ['HOME'] = '/proc'",
        "os.environb[b'HOME'] = b'/\\xff'",
        "os.environ.pop('SHELL', 0)",
        "os.environ['SHELL'] = '/nowhere'",
        "os.environ['LC_ALL'] = 'nonsense'",
        "os.environ['LC_ALL'] = 'xx_YY.UTF-8'",
        "os.environ['LANG'] = '\\x1b'",
        "os.environ['PATH'] = ':' + os.environ['PATH'] + '::'",
        "os.environb[b'PATH'] = b'/\\xff \\n;$(false):' + os.environb[b'PATH']",
        "os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')",
        "os.mkdir('my tmp'); os.environ['TMPDIR'] = os.getcwd() + '/my tmp'",
        "os.mkdir(b'\\xff'); os.environb[b'TMPDIR'] = os.getcwdb() + b'/\\xff'",
        "for n in range(10): os.environ[f'N{n}'] = 100_000 * 'x'",
    ]);
    run_all(&all, assert_works);
}

#[test]
fn sessions_start_and_end_with_signals_blocked_or_ignored() {
    let all = with_each_terminal(&[
        "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))",
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
        "for s in signal.valid_signals() - {9, 19, 32, 33}: signal.signal(s, signal.SIG_IGN)",
    ]);
    run_all(&all, assert_works);
}

#[test]
fn a_session_without_a_terminal_that_can_be_used_says_what_is_missing() {
    let missing = [
        (
            "del os.environ['PATH']",
            "tmux",
            "tmux is not installed; try installing",
        ),
        (
            "os.environ['PATH'] = ''",
            "xterm",
            "xterm is not installed; try installing",
        ),
        (
            "os.environ['DISPLAY'] = ':7777'",
            "xterm",
            "no window opened; try another terminal",
        ),
        (
            "os.environ['DISPLAY'] = '\\x1b nonsense'",
            "xterm",
            "no window opened; try another terminal",
        ),
        ("os.close(0)", "panes", "panes need a terminal as stdin"),
    ];
    let all: Vec<Hostile<'_>> = missing
        .iter()
        .map(|(python, terminal, _)| Hostile::new(python, terminal))
        .collect();
    run_all(&all, |hostile, outcome| {
        let (_, _, reason) = missing
            .iter()
            .find(|(python, terminal, _)| {
                (*python, *terminal) == (hostile.python, hostile.terminal)
            })
            .unwrap();
        let Outcome::Refused(error) = outcome else {
            panic!("{hostile:?} works")
        };
        assert!(error.contains(reason), "{hostile:?}: {error}");
    });
}

/// Python that switches to a user with no other processes.
const AS_ANOTHER_USER: &str = "
mark, uid = os.environ['CHAT_TEST_MARK'], 50000 + os.getpid() % 10000
os.fchown(0, uid, -1)
for name in ['', '/tmp', '/home']: os.chown(mark + name, uid, uid)
os.setgroups([]); os.setresgid(uid, uid, uid); os.setresuid(uid, uid, uid)
";

#[test]
fn a_session_with_scarce_resources_starts_or_says_what_is_missing() {
    let mut setups = Vec::new();
    for descriptors in [4, 8, 10, 12, 14, 16, 20, 24] {
        setups.push(format!(
            "resource.setrlimit(resource.RLIMIT_NOFILE, ({descriptors}, {descriptors}))"
        ));
    }
    if is_root() {
        for threads in [1, 2, 4, 6, 8, 10, 12, 16, 20, 28, 40] {
            setups.push(format!(
                "{AS_ANOTHER_USER}resource.setrlimit(resource.RLIMIT_NPROC, ({threads}, {threads}))"
            ));
        }
    }
    setups.push("for n in range(19): os.environ[f'N{n}'] = 100_000 * 'x'".into());
    let setups: Vec<&str> = setups.iter().map(String::as_str).collect();
    let mut all = with_each_terminal(&setups);
    for hostile in &mut all {
        hostile.is_scarce = true;
    }
    run_all(&all, |hostile, outcome| {
        eprintln!("{hostile:?}: {outcome:?}");
    });
}

fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("NOT TESTED, as only root can change its user: thread limits, umask 0777");
    }
    is_root
}

#[test]
fn sessions_start_and_end_with_umask_0777() {
    if !is_root() {
        return;
    }
    let python = format!("{AS_ANOTHER_USER}os.umask(0o777)");
    // xterm cannot open its own temporary file under this umask, and leaves it behind.
    let mut all = with_each_terminal(&[&python]);
    all.retain(|hostile| hostile.terminal != "xterm");
    run_all(&all, assert_works);
}

/// A directory whose name begins with `name`, with hard links to the programs.
fn programs_in(name: &[u8]) -> TempDir {
    let dir = tempfile::Builder::new()
        .prefix(OsStr::from_bytes(name))
        .tempdir_in(programs())
        .unwrap();
    for program in ["chat-run", "chat-server", "chat-client"] {
        fs::hard_link(programs().join(program), dir.path().join(program)).unwrap();
    }
    dir
}

#[test]
fn the_programs_run_from_directories_with_unusual_names() {
    let dirs = [
        programs_in(b"a b'c\"$(false);{1,2}[x]*?~#&|<>`\\`"),
        programs_in("żółw".as_bytes()),
        programs_in(b"line\nline\t\x1b[31m"),
        programs_in(b"\xff;"),
    ];
    let mut all = Vec::new();
    for dir in &dirs {
        all.extend(TERMINALS.map(|terminal| Hostile {
            programs: dir.path(),
            ..Hostile::new("", terminal)
        }));
    }
    run_all(&all, assert_works);
}

/// Beginning of a command line that runs in new namespaces, or `None`, with a notice, if they are
/// not permitted.
fn in_namespaces(options: &[&'static str], script: &'static str) -> Option<Vec<&'static str>> {
    let mut wrapper = vec!["unshare"];
    if !rustix::process::geteuid().is_root() {
        wrapper.push("-r");
    }
    wrapper.extend(options);
    wrapper.extend(["sh", "-c", script, "sh"]);
    let mut command = Command::new(wrapper[0]);
    command.args(&wrapper[1..]).arg("true");
    let may = command.status().is_ok_and(|status| status.success());
    if !may {
        eprintln!("NOT TESTED, as it is not permitted here: {wrapper:?}");
    }
    may.then_some(wrapper)
}

#[test]
fn sessions_start_and_end_without_proc_or_shm_and_as_process_1() {
    let wrappers = [
        in_namespaces(&["-m"], r#"mount -t tmpfs none /proc && exec "$@""#),
        in_namespaces(
            &["-m"],
            r#"mount -t tmpfs -o ro none /dev/shm && exec "$@""#,
        ),
        in_namespaces(&["-pf"], r#"exec "$@""#),
        in_namespaces(&["-pf", "--mount-proc"], r#"exec "$@""#),
    ];
    let mut all = Vec::new();
    for wrapper in wrappers.iter().flatten() {
        all.extend(TERMINALS.map(|terminal| Hostile {
            wrapper,
            ..Hostile::new("", terminal)
        }));
    }
    run_all(&all, assert_works);
}

#[test]
fn sessions_start_and_end_with_closed_standard_streams() {
    for closed in ["0", "1", "2", "0, 1", "0, 1, 2"] {
        let sandbox = Sandbox::new();
        let script = format!(
            "import os, sys\nfor fd in [{closed}]: os.close(fd)\nos.execv(sys.argv[1], sys.argv[1:])"
        );
        let mut command = Command::new("python3");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_chat-run")]);
        command.args(["-p", "0", "-t", "none"]);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.env(MARK, sandbox.mark());
        let mut session = command.spawn().unwrap();
        let captured = || format!("{closed}: {:#?}", sandbox.running());
        wait_at_most(DEADLINE, "open room", captured, || {
            let mut all = sandbox.running().into_iter();
            let server = all.find(|process| process.is("chat-server"))?;
            let threads = fs::read_dir(format!("/proc/{}/task", server.pid)).ok()?;
            let name = |thread: DirEntry| fs::read_to_string(thread.path().join("comm"));
            let mut names = threads.flatten().filter_map(|thread| name(thread).ok());
            names.any(|name| name == "accept\n").then_some(())
        });
        kill_process(Pid::from_child(&session), Signal::TERM).unwrap();
        assert_eq!(session.wait().unwrap().code(), Some(0), "{closed}");
        assert_eq!(sandbox.leftovers(&[]), [""; 0], "{closed}");
    }
}

#[test]
fn time_spent_suspended_does_not_count_towards_a_windows_time_limit() {
    let desktop = Desktop::new();
    // The window of ala takes 0.5 s to open, so that the launcher is stopped before that. The
    // window of ola never opens.
    let script =
        "case \"$*\" in *ola*) exec sleep 600;; esac\nsleep 0.5; exec /usr/bin/xterm \"$@\"";
    desktop.put_program("xterm", script);
    let start = |name| {
        let arguments = ["-p", "0", "-t", "xterm", "-c", "1", "--names", name];
        let window_time = ["--window-time", "4000"];
        Session::start(&desktop, &[&arguments[..], &window_time].concat())
    };
    let mut session = start("ala");
    session.process("sh", "ala");
    session.signal(Signal::STOP);
    // The other session starts later, so when it gives up its window, the time limit for the first
    // session's window has passed too.
    let mut other = start("ola");
    other.wait_for_text("did not open");
    assert_eq!(other.wait(), 1, "{}", other.shown());
    session.signal(Signal::CONT);
    session.wait_for_text("ala joined");
    session.wait_for_windows(1);
    session.ctrl_c();
    assert_eq!(session.wait(), 0, "{}", session.shown());
    session.assert_cleaned_up();
    assert!(
        !session.shown().contains("did not open"),
        "{}",
        session.shown()
    );
}
