//! Consoles and job control: the room never stops for its terminal, and a console reads lines
//! whenever its job is in the foreground.

#![cfg(target_os = "linux")] // `setsid`, `script`, and /proc.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use support::sandbox::{MARK, Sandbox};
use support::screen::Screen;
use support::{Client, Server, bin, program, reserved_port, wait_until};

/// A terminal with a line editor, and one without.
const TERMS: [&str; 2] = ["xterm-256color", "dumb"];

/// A program with a console, which is a job of a shell.
struct Job {
    screen: Screen,
    term: &'static str,
    address: SocketAddr,
    /// The command line, without a path.
    command: String,
    /// Number of times that the shell has reported the job as stopped.
    stops: usize,
}

/// Calls `test` for each program with a console, on each kind of terminal. The shell has run
/// `setup` and not started the program yet.
fn for_each_job(setup: &str, test: impl Fn(Job)) {
    for program in ["chat-server", "chat-run -t none"] {
        for term in TERMS {
            test(Job::new(program, term, setup));
        }
    }
}

/// A command that runs `shell` with its options, finds the programs, and has no startup files.
fn shell(options: &[&str], term: &str) -> Command {
    let chat_run = PathBuf::from(bin("chat-run"));
    let programs = chat_run.parent().expect("a directory").display();
    let mut shell = program("bash");
    shell.args(["--norc", "--noprofile"]).args(options);
    shell.env("PS1", "$ ").env("HISTFILE", "/dev/null");
    let path = std::env::var("PATH").unwrap_or_default();
    shell.env("PATH", format!("{programs}:{path}"));
    shell.env("TERM", term);
    shell
}

/// An address for a server to listen on.
fn address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, reserved_port()).into()
}

/// Joins the room as soon as its server listens.
#[track_caller]
fn join(address: SocketAddr, name: &str) -> Client {
    let socket = wait_until("a server", || TcpStream::connect(address).ok());
    Client::from_socket(socket).join(name)
}

/// Checks that the console carries out a line.
#[track_caller]
fn expect_console(screen: &mut Screen, member: &mut Client, text: &str) {
    screen.type_keys(&format!("/say {text}\r"));
    member.skip_to(&format!("* the server: {text}"));
}

impl Job {
    fn new(program: &str, term: &'static str, setup: &str) -> Self {
        let mut screen = Screen::start(&shell(&["-i"], term), 100, 60);
        screen.expect("$");
        if !setup.is_empty() {
            screen.type_keys(&format!("{setup}\r"));
        }
        let address = address();
        Self {
            screen,
            term,
            address,
            command: format!("{program} -p {}", address.port()),
            stops: 0,
        }
    }

    /// Runs the program in the foreground.
    fn run(&mut self) {
        self.screen.type_keys(&format!("{}\r", self.command));
        self.screen.expect("only this machine can join");
        self.expect_foreground();
    }

    /// Waits until the program, and not the shell, reads what is typed.
    #[track_caller]
    fn expect_foreground(&self) {
        if self.term == "dumb" {
            // The shell's own line editor turns canonical mode off.
            let is_canonical = || self.screen.modes().contains("ICANON").then_some(());
            wait_until("canonical mode", is_canonical);
        } else {
            self.screen.expect_last_row(">");
        }
    }

    /// Presses Ctrl+Z, and waits until the shell has the terminal.
    #[track_caller]
    fn stop(&mut self) {
        self.stops += 1;
        self.screen.type_keys("\x1a");
        self.screen.wait("another stop", |text| {
            (text.matches("Stopped").count() == self.stops).then_some(())
        });
    }

    /// Waits for the shell's prompt. Until then, the program could read what is typed.
    #[track_caller]
    fn expect_prompt(&self) {
        self.screen.expect_last_row("$");
    }

    /// Types a command, and waits until the shell has carried it out.
    #[track_caller]
    fn expect_shell(&mut self, number: usize) {
        self.screen
            .type_keys(&format!("echo answer $(({number}))\r"));
        self.screen.expect(&format!("\nanswer {number}"));
    }
}

#[test]
fn a_background_room_stays_open_and_its_console_accepts_lines_after_each_fg() {
    for_each_job("", |mut job| {
        job.run();
        let mut ala = join(job.address, "ala");
        let mut ola = join(job.address, "ola");
        for number in 0..2 {
            job.stop();
            job.screen.type_keys("bg\r");
            job.expect_shell(number);
            ala.send(&format!("in the background {number}"));
            ola.skip_to(&format!("ala: in the background {number}"));
            job.screen.type_keys("fg\r");
            job.expect_foreground();
            expect_console(&mut job.screen, &mut ola, &format!("after fg {number}"));
        }
    });
}

#[test]
fn a_console_started_in_the_background_accepts_lines_after_fg() {
    for_each_job("", |mut job| {
        job.screen.type_keys(&format!("{} &\r", job.command));
        let mut ala = join(job.address, "ala");
        job.expect_shell(1);
        job.screen.type_keys("fg\r");
        job.expect_foreground();
        expect_console(&mut job.screen, &mut ala, "in the foreground");
        job.stop();
        job.expect_shell(2);
    });
}

#[test]
fn tostop_pauses_the_log_of_a_background_job_but_not_the_room() {
    for_each_job("stty tostop", |mut job| {
        job.screen.type_keys(&format!("{} &\r", job.command));
        let mut ala = join(job.address, "ala");
        let mut ola = join(job.address, "ola");
        ala.send("started in the background");
        ola.skip_to("ala: started in the background");
        job.expect_shell(1);
        let text = job.screen.text();
        assert!(!text.contains("ala: started"), "{text}");
        job.screen.type_keys("fg\r");
        job.screen.expect("ala: started in the background");
        job.expect_foreground();
        job.stop();
        job.screen.type_keys("bg\r");
        ala.send("moved to the background");
        ola.skip_to("ala: moved to the background");
        job.expect_shell(2);
        let text = job.screen.text();
        assert!(!text.contains("ala: moved"), "{text}");
        job.screen.type_keys("fg\r");
        job.screen.expect("ala: moved to the background");
        job.expect_foreground();
        expect_console(&mut job.screen, &mut ola, "in the foreground");
    });
}

#[test]
fn a_console_accepts_lines_on_a_terminal_that_is_not_its_controlling_terminal() {
    for_each_job("", |mut job| {
        job.screen
            .type_keys(&format!("setsid -w {}\r", job.command));
        let mut ala = join(job.address, "ala");
        job.expect_foreground();
        expect_console(&mut job.screen, &mut ala, "in a session of its own");
        let end = if job.term == "dumb" {
            "/quit\r"
        } else {
            "\x03"
        };
        job.screen.type_keys(end);
        ala.skip_to("* the server is shutting down");
        job.screen.expect("the room is closed: ");
        drop(ala);
        job.expect_prompt();
        job.expect_shell(1);
    });
}

#[test]
fn ctrl_c_ends_a_session_whose_terminal_is_not_its_controlling_terminal() {
    for_each_job("", |mut job| {
        // Output to a pipe turns the line editor off, so the terminal sends SIGINT, but only to
        // setsid.
        let command = format!("setsid -w {} | cat\r", job.command);
        job.screen.type_keys(&command);
        let mut ala = join(job.address, "ala");
        let joined = Instant::now();
        // If the owner of the terminal (setsid) exits within a second, the program takes itself for
        // a job that was detached on purpose.
        wait_until("the second", || {
            (joined.elapsed() > Duration::from_secs(1)).then_some(())
        });
        job.screen.type_keys("\x03");
        ala.expect("* the server is shutting down");
        ala.expect_end();
        drop(ala);
        wait_until("the end of the server", || {
            TcpStream::connect(job.address).is_err().then_some(())
        });
        job.expect_prompt();
        job.expect_shell(1);
    });
}

#[test]
fn a_console_accepts_lines_on_a_terminal_that_controls_no_process() {
    for name in ["chat-server", "chat-run"] {
        for term in TERMS {
            let address = address();
            let mut command = program(&bin(name));
            command.env("TERM", term);
            command.args(["-p", &address.port().to_string()]);
            if name == "chat-run" {
                command.args(["-t", "none"]);
            }
            let mut screen = Screen::start_uncontrolled(&command, 100, 24);
            let mut ala = join(address, "ala");
            screen.expect("* ala joined");
            expect_console(&mut screen, &mut ala, "hi");
            screen.type_keys("/quit\r");
            assert_eq!(screen.end().exit_code(), 0, "{name} {term}");
        }
    }
}

#[test]
fn a_job_started_by_setsid_leaves_the_terminal_to_the_shell() {
    for_each_job("", |mut job| {
        // Without `-w`, setsid exits at once.
        job.screen.type_keys(&format!("setsid {}\r", job.command));
        let mut ala = join(job.address, "ala");
        for number in 0..5 {
            job.expect_shell(number);
        }
        job.screen.type_keys("echo /say $((1))\r");
        job.screen.expect("\n/say 1");
        ala.send("/online");
        ala.expect("* 1 online: ala");
    });
}

/// Runs `command` on a terminal that closes when this process is killed with SIGKILL. The programs
/// are marked as those of `sandbox`.
fn on_a_closable_terminal(command: &str, term: &str, sandbox: &Sandbox) -> Screen {
    let mut wrapper = shell(&["-c", "exec script -qec \"$0\" /dev/null", command], term);
    wrapper.env(MARK, sandbox.mark());
    Screen::start(&wrapper, 100, 24)
}

#[track_caller]
fn kill(screen: &Screen) {
    let pid = Pid::from_raw(screen.pid().cast_signed()).expect("a process");
    kill_process(pid, Signal::KILL).expect("it runs");
}

#[test]
fn a_terminal_that_closes_ends_the_session_even_without_sighup() {
    for name in ["chat-server", "chat-run -t none"] {
        for term in TERMS {
            let (sandbox, address) = (Sandbox::new(), address());
            let command = format!("setsid -w {name} -p {}", address.port());
            let screen = on_a_closable_terminal(&command, term, &sandbox);
            let mut ala = join(address, "ala");
            screen.expect("* ala joined");
            kill(&screen);
            ala.expect("* the server is shutting down");
            ala.expect_end();
            drop(ala);
            wait_until("the programs' exit", || {
                sandbox.running().is_empty().then_some(())
            });
        }
    }
}

#[test]
fn a_terminal_that_closes_does_not_end_a_session_that_ignores_sighup() {
    for name in ["chat-server", "chat-run -t none"] {
        for term in TERMS {
            let (sandbox, address) = (Sandbox::new(), address());
            let command = format!("trap '' HUP; setsid -w {name} -p {}", address.port());
            let screen = on_a_closable_terminal(&command, term, &sandbox);
            let mut ala = join(address, "ala");
            let mut ola = join(address, "ola");
            screen.expect("* ola joined");
            kill(&screen);
            for number in 0..100 {
                ala.send(&number.to_string());
                ola.expect(&format!("ala: {number}"));
            }
        }
    }
}

/// Runs `command` on a terminal that controls another session, and closes the terminal as soon as
/// `is_ready` returns. Asserts that the program then exits with 0 and has written no error.
fn expect_exit_after_closing(command: &str, term: &str, is_ready: impl FnOnce(&Screen)) {
    let sandbox = Sandbox::new();
    let [errors, status] = ["errors", "status"].map(|name| sandbox.path(name));
    // The trap keeps the shell, and only the shell, alive.
    let command = format!(
        "trap : HUP; setsid -w {command} 2>{}; echo $? >{}",
        errors.display(),
        status.display(),
    );
    let screen = on_a_closable_terminal(&command, term, &sandbox);
    is_ready(&screen);
    kill(&screen);
    let status = wait_until("the program's exit", || {
        let status = fs::read_to_string(&status).unwrap_or_default();
        status.ends_with('\n').then_some(status)
    });
    let errors = fs::read_to_string(errors).expect("a file");
    assert_eq!((status.as_str(), errors.as_str()), ("0\n", ""), "{command}");
}

#[test]
fn a_client_leaves_without_an_error_when_its_terminal_closes_without_sighup() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    for term in TERMS {
        let command = format!("chat-client {} -n ala", server.address);
        expect_exit_after_closing(&command, term, |_| ola.expect("* ala joined"));
        ola.expect("* ala left");
    }
}

#[test]
fn panes_end_without_an_error_when_their_terminal_closes_without_sighup() {
    let command = format!("chat-run -t panes -c 1 -p {} --names ala", address().port());
    expect_exit_after_closing(&command, TERMS[0], |screen| screen.expect("* welcome, ala"));
}

#[test]
fn ctrl_d_does_not_end_a_console_without_line_editing() {
    for_each_job("", |mut job| {
        job.screen.type_keys(&format!("{} | cat\r", job.command));
        job.screen.expect("only this machine can join");
        let mut ala = join(job.address, "ala");
        job.screen.type_keys("\x04");
        expect_console(&mut job.screen, &mut ala, "still here");
    });
}
