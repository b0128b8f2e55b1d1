//! The README's examples, run exactly as written.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use support::desktop::Desktop;
use support::session::Session;
use support::wait::wait_at_most;
use support::{Program, Server, Signal, program, reserved_port, run, wait_until};

/// The port in the README, which the tests replace with their server's port.
const PORT: &str = "9999";

/// Commands that other tests run, such as a session in windows, and commands that take too long:
/// the tests themselves and the benchmark.
const ELSEWHERE: [&str; 3] = ["./run.sh -c 3 -p 8080", "./run.sh test", "./run.sh bench"];

/// A command in a `console` block, and the output shown below it.
struct Example {
    command: String,
    output: Vec<String>,
}

fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The README's fenced blocks in `language`.
fn blocks(language: &str) -> Vec<String> {
    let readme = file("README.md");
    let begin = format!("```{language}\n");
    let mut blocks = readme.split(&begin);
    // Skip the text before the first block.
    blocks.next();
    blocks
        .map(|rest| rest.split("```").next().unwrap_or_default().to_owned())
        .collect()
}

fn examples() -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    for block in blocks("console") {
        for line in block.lines() {
            if let Some(command) = line.strip_prefix("$ ") {
                examples.push(Example {
                    command: command.into(),
                    output: Vec::new(),
                });
            } else {
                let example = examples.last_mut().expect("a block begins with a command");
                example.output.push(line.into());
            }
        }
    }
    examples
}

/// `line` with the values that differ in every run replaced: room ID, token and times.
fn timeless(line: &str) -> String {
    let mut line = line.to_owned();
    for field in ["\"room\":\"", "\"token\":\"", "\"time\":\""] {
        if let Some(at) = line.find(field) {
            let start = at + field.len();
            let length = line[start..].find('"').expect("the string ends");
            line.replace_range(start..start + length, "_");
        }
    }
    line
}

#[test]
fn every_console_example_of_the_readme_is_run_by_a_test() {
    let mut run = 0;
    for Example { command, .. } in examples() {
        if ELSEWHERE.contains(&command.as_str()) {
            continue;
        }
        assert!(
            command.starts_with("printf ") || command.starts_with("ps "),
            "no test runs {command:?}"
        );
        run += 1;
    }
    assert_eq!(run, 3, "the blocks were not found");
}

#[test]
fn netcat_prints_what_the_examples_in_the_readme_show() {
    let server = Server::start(&[]);
    let port = server.port().to_string();
    for Example { command, output } in examples() {
        if !command.starts_with("printf ") {
            continue;
        }
        let mut shell = program("sh");
        shell.args(["-c", &command.replace(PORT, &port)]);
        let exit = run(shell).expect_code(0);
        let got: Vec<String> = exit.stdout.lines().map(timeless).collect();
        let shown: Vec<String> = output.iter().map(|line| timeless(line)).collect();
        assert_eq!(got, shown, "{command}");
        // The next example expects an empty room.
        wait_until("the client has left", || {
            server.program.stdout().contains(" left").then_some(())
        });
    }
    server.stop();
}

#[test]
fn ps_shows_the_names_of_the_threads() {
    let server = Server::start(&[]);
    let _ala = server.join("ala");
    let command = examples().into_iter().map(|example| example.command);
    let ps = command
        .into_iter()
        .find(|command| command.starts_with("ps "));
    let ps = ps.expect("the README shows a ps command");
    let newest = "$(pgrep -n chat-server)";
    assert!(ps.contains(newest), "{ps}");
    // The newest server may be another test's.
    let ps = ps.replace(newest, &server.pid().to_string());
    wait_until("the thread names are set", || {
        let mut shell = program("sh");
        shell.args(["-c", &ps]);
        let threads = run(shell).expect_code(0).stdout;
        let has = |name: &str| threads.lines().any(|line| line == name);
        (has("accept") && has("deliver") && has("c:ala")).then_some(())
    });
    server.stop();
}

#[test]
fn the_python_client_can_chat_and_has_at_most_ten_lines() {
    let server = Server::start(&[]);
    let [source] = &blocks("python")[..] else {
        panic!("one block of Python is in the README")
    };
    let lines = source.lines().filter(|line| !line.trim().is_empty());
    assert!(lines.count() <= 10);
    let mut ola = server.join("ola");
    let mut python = Command::new("python3");
    python.args(["-c", &source.replace(PORT, &server.port().to_string())]);
    python.stdin(Stdio::piped());
    let mut python = Program::start(python);
    python.type_line("ala");
    ola.expect("* ala joined");
    python.type_line("cześć");
    ola.expect("ala: cześć");
    ola.send("hi");
    python.expect_stdout("ola: hi");
    python.close_stdin();
    ola.expect("* ala left");
    assert_eq!(python.exit().expect_code(0).stderr, "");
    server.stop();
}

#[test]
fn every_run_sh_command_in_the_tables_of_the_readme_starts_a_session() {
    let readme = file("README.md");
    let commands: Vec<(&str, &str)> = readme
        .split('`')
        .filter_map(|code| code.split_once("./run.sh "))
        .filter(|(_, options)| options.starts_with("--") && *options != "--help")
        .collect();
    assert_eq!(commands.len(), 6, "{commands:?}");
    let dir = tempfile::tempdir().expect("a temporary directory");
    for (environment, options) in commands {
        // Other tests open windows; this one checks that the options are accepted.
        let mut launcher = program(env!("CARGO_BIN_EXE_chat-run"));
        launcher.args(options.split_whitespace());
        launcher.args(["-t", "none", "-p", "0"]).current_dir(&dir);
        launcher.stdin(Stdio::null());
        if let Some((name, value)) = environment.trim().split_once('=') {
            launcher.env(name, value);
        }
        let session = Program::start(launcher);
        session.expect_stdout("listening on ");
        session.signal(Signal::TERM);
        session
            .exit()
            .expect_code(0)
            .expect_stdout("the room is closed: ");
    }
    let history = dir.path().join("room.jsonl");
    assert!(history.is_file(), "{}", history.display());
}

/// The arguments of each cargo command between backquotes.
fn cargo_commands() -> Vec<Vec<String>> {
    let readme = file("README.md");
    let codes = readme
        .split('`')
        .filter_map(|code| code.strip_prefix("cargo "));
    codes
        .map(|code| code.split_whitespace().map(str::to_owned).collect())
        .collect()
}

fn cargo(arguments: &[&str]) -> Output {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "cargo {arguments:?}: {output:?}");
    output
}

#[test]
fn the_cargo_commands_of_the_readme_install_and_start_the_programs() {
    let mut reached = Vec::new();
    for words in cargo_commands() {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        if let ["install", ..] = words[..] {
            let root = tempfile::tempdir().expect("a temporary directory");
            let root_dir = root.path().to_str().expect("the path is UTF-8");
            cargo(&[&words[..], &["--locked", "--root", root_dir][..]].concat());
            assert!(root.path().join("bin/chat-client").is_file());
        } else {
            // The command itself would not return. `--version` does, and its output shows that the
            // option reached the program and not cargo.
            let output = cargo(&[&words[..], &["--version"][..]].concat());
            let version = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(
                version.starts_with(&format!("chat-{} ", words[0])),
                "{version}"
            );
        }
        reached.push(words[0].to_owned());
    }
    assert_eq!(reached, ["install", "server", "client"]);
}

#[test]
fn links_in_the_documentation_point_to_existing_files() {
    for (page, dir) in [
        ("README.md", ""),
        ("ARCHITECTURE.md", ""),
        ("CONTRIBUTING.md", ""),
        ("docs/reading.md", "docs/"),
    ] {
        for link in file(page).split("](").skip(1) {
            let link = link.split(')').next().unwrap_or_default();
            if !link.starts_with("http") {
                let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(dir).join(link);
                assert!(path.exists(), "{page} links to {link}");
            }
        }
    }
}

/// Time limit for a release build from scratch on a busy machine.
const BUILD: Duration = Duration::from_secs(600);

#[test]
fn the_first_command_of_the_readme_builds_and_opens_three_windows() {
    let command = "./run.sh -c 3 -p 8080";
    assert!(
        file("README.md").contains(&format!("\n$ {command}\n")),
        "{command}"
    );
    // Port 8080 may be in use.
    let port = reserved_port().to_string();
    let desktop = Desktop::new();
    let run = concat!(env!("CARGO_MANIFEST_DIR"), "/run.sh");
    let arguments = ["-c", "3", "-p", &port];
    let mut session = Session::start_program(&desktop, run, &arguments, |command| {
        // Rust is installed in the user's home directory, not in the desktop's empty one.
        let home = PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
        for (variable, dir) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
            let set = std::env::var_os(variable).unwrap_or_else(|| home.join(dir).into());
            command.env(variable, set);
        }
        for variable in ["CARGO_TARGET_DIR", "RUSTUP_TOOLCHAIN"] {
            if let Some(set) = std::env::var_os(variable) {
                command.env(variable, set);
            }
        }
    });
    wait_at_most(
        BUILD,
        "server",
        || session.captured(),
        || session.shown().contains("listening on").then_some(()),
    );
    assert_eq!(session.port().to_string(), port);
    let windows = session.wait_for_windows(3);
    for (window, name) in windows.iter().zip(["ala", "ola", "jan"]) {
        session.wait_for("question", || {
            desktop
                .text_in(window)
                .contains("name, and group")
                .then_some(())
        });
        desktop.type_in(window, name);
        session.wait_for_text(&format!("{name} joined"));
    }
    session.ctrl_c();
    assert_eq!(session.wait(), 0, "{}", session.shown());
    session.assert_cleaned_up();
}
