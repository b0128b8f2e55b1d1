//! `run.sh` with a fake cargo that records its calls: when it builds, what it prints, and what it
//! refuses.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// The fake cargo. It "builds" a `chat-run` that prints its arguments.
const CARGO: &str = r#"
echo "$PWD: $*" >>"$CALLS"
case $1 in
metadata)
    echo "{\"target_directory\":\"$PWD/target\"}"
    ;;
build)
    mkdir -p target/release
    printf '%s\n' '#!/bin/sh' 'echo "session $*"' >target/release/chat-run
    chmod +x target/release/chat-run
    ;;
esac
"#;

/// The programs that `./run.sh test` would install if they were missing, which fakes prevent.
const NEEDED: [&str; 20] = [
    "Xvfb",
    "c++",
    "dbus-daemon",
    "gdbus",
    "import",
    "nc",
    "openbox",
    "python3",
    "terminator",
    "gnome-terminal",
    "tmux",
    "wmctrl",
    "xclip",
    "xdotool",
    "xwininfo",
    "xterm",
    "konsole",
    "xfce4-terminal",
    "kitty",
    "alacritty",
];

/// The names of the fuzz targets.
const TARGETS: [&str; 2] = ["first", "second"];

/// A clone without any build output.
struct Clone {
    dir: TempDir,
}

impl Clone {
    fn new() -> Self {
        let clone = Self {
            dir: TempDir::new().unwrap(),
        };
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        for dir in ["clone", "bin"] {
            fs::create_dir(clone.path(dir)).unwrap();
        }
        for file in ["run.sh", "Cargo.toml"] {
            fs::copy(package.join(file), clone.path("clone").join(file)).unwrap();
        }
        let targets = clone.path("clone").join("fuzz/fuzz_targets");
        fs::create_dir_all(&targets).unwrap();
        for target in TARGETS {
            fs::write(targets.join(target).with_extension("rs"), "").unwrap();
        }
        clone.put_program("cargo", CARGO);
        clone.put_program("rustc", "echo 'rustc 999.0.0 (of a test)'");
        clone.put_program("cc", "");
        clone.put_program("dpkg-query", "echo 'install ok installed'");
        for program in NEEDED {
            clone.put_program(program, "");
        }
        clone
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn put_program(&self, name: &str, script: &str) {
        let path = self.path("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn run(&self, script: &Path, arguments: &[&str]) -> Run {
        let path = std::env::var("PATH").unwrap();
        let Output {
            status,
            stdout,
            stderr,
        } = Command::new("bash")
            .arg(script)
            .args(arguments)
            .current_dir(self.dir.path())
            .env("PATH", format!("{}:{path}", self.path("bin").display()))
            .env("CALLS", self.path("calls"))
            .output()
            .unwrap();
        Run {
            code: status.code(),
            stdout: String::from_utf8(stdout).unwrap(),
            stderr: String::from_utf8(stderr).unwrap(),
        }
    }

    fn run_sh(&self, arguments: &[&str]) -> Run {
        self.run(&self.path("clone").join("run.sh"), arguments)
    }

    /// The calls of cargo, one `DIRECTORY: ARGUMENTS` a line.
    fn calls(&self) -> String {
        fs::read_to_string(self.path("calls")).unwrap_or_default()
    }
}

/// The exit code and the output of a run.
#[derive(Debug)]
struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

#[test]
fn only_the_first_build_is_announced() {
    let clone = Clone::new();
    let first = clone.run_sh(&["-c", "99"]);
    assert_eq!(first.code, Some(0), "{first:?}");
    assert_eq!(first.stdout, "session -c 99\n");
    assert_eq!(
        first.stderr,
        "building first, which takes a minute or two\n"
    );
    let second = clone.run_sh(&["-c", "3"]);
    assert_eq!(second.stdout, "session -c 3\n", "{second:?}");
    assert_eq!(second.stderr, "");
}

#[test]
fn help_ends_with_the_options_of_chat_run() {
    let help = Clone::new().run_sh(&["--help"]);
    assert_eq!(help.code, Some(0), "{help:?}");
    assert!(help.stdout.contains("./run.sh test"), "{help:?}");
    assert!(help.stdout.ends_with("session --help\n"), "{help:?}");
    assert!(help.stderr.contains("building first"), "{help:?}");
}

#[test]
fn run_sh_rejects_an_unknown_command_before_building() {
    for word in ["tset", "help", "Test", "p1"] {
        let clone = Clone::new();
        let run = clone.run_sh(&[word]);
        assert_eq!(run.code, Some(2), "{run:?}");
        assert_eq!(run.stdout, "");
        for known in [
            word, "`test`", "`soak`", "`fuzz`", "`bench`", "`dist`", "`--help`",
        ] {
            assert!(run.stderr.contains(known), "{run:?}");
        }
        assert_eq!(clone.calls(), "");
    }
}

#[test]
fn soak_and_fuzz_require_a_number_of_minutes() {
    for arguments in [
        &["soak"][..],
        &["soak", "long"],
        &["fuzz"],
        &["fuzz", "1 h"],
    ] {
        let clone = Clone::new();
        let run = clone.run_sh(arguments);
        assert_eq!(run.code, Some(2), "{run:?}");
        let example = format!("./run.sh {} 10", arguments[0]);
        assert!(run.stderr.contains(&example), "{run:?}");
        assert_eq!(clone.calls(), "");
    }
    let clone = Clone::new();
    clone.run_sh(&["soak", "0.5"]);
    assert!(
        clone
            .calls()
            .contains("test --release --locked --test soak"),
        "{}",
        clone.calls()
    );
}

#[test]
fn fuzzing_time_is_split_among_the_targets() {
    let clone = Clone::new();
    let run = clone.run_sh(&["fuzz", "0.5"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    for target in TARGETS {
        let time = format!("--bin {target} -- -max_total_time=16 ");
        assert!(clone.calls().contains(&time), "{}", clone.calls());
    }
}

#[test]
fn run_sh_test_fails_if_a_fuzz_target_fails() {
    let clone = Clone::new();
    clone.put_program("cargo", &format!("{CARGO}\n[ \"$1\" != run ] || exit 77"));
    let run = clone.run_sh(&["test"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(
        run.stderr
            .contains("first failed; add the input named above to fuzz/corpus/first"),
        "{run:?}"
    );
}

#[test]
fn a_number_is_passed_to_chat_run_as_a_port() {
    let run = Clone::new().run_sh(&["8080"]);
    assert_eq!(run.stdout, "session 8080\n", "{run:?}");
}

#[test]
fn all_tests_run_even_if_one_fails() {
    let clone = Clone::new();
    let run = clone.run_sh(&["test", "--test", "room"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let calls = clone.calls();
    assert!(calls.contains(": test "), "{calls}");
    assert!(calls.contains(" --no-fail-fast "), "{calls}");
    assert!(calls.contains(" --test room\n"), "{calls}");
    assert!(
        !calls.contains(": run "),
        "with arguments, only those tests run: {calls}"
    );
}

#[test]
fn a_full_test_run_fuzzes_each_target_for_3_s_from_its_corpus() {
    let clone = Clone::new();
    let run = clone.run_sh(&["test"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let calls = clone.calls();
    for target in TARGETS {
        let call = calls
            .lines()
            .find(|call| call.contains(&format!("--bin {target} ")));
        let call = call.unwrap_or_else(|| panic!("{calls}"));
        assert!(call.contains("-max_total_time=3 "), "{call}");
        assert!(call.ends_with(&format!(" corpus/{target}")), "{call}");
    }
}

#[test]
fn run_sh_starts_a_session_through_a_symlink_from_any_directory() {
    let clone = Clone::new();
    let link = clone.path("bin").join("chat");
    symlink("../clone/run.sh", &link).unwrap();
    let run = clone.run(&link, &[]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(run.stdout, "session \n");
    let dir = clone.path("clone").canonicalize().unwrap();
    let calls = clone.calls();
    assert!(!calls.is_empty());
    for call in calls.lines() {
        assert!(call.starts_with(dir.to_str().unwrap()), "{calls}");
    }
}
