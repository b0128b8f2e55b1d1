//! The one file that `./run.sh dist` makes: what is in it, and that its programs run where there is nothing but a kernel.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use support::{Program, program, run};
use tempfile::TempDir;

/// Makes the file in `folder`. Its programs are not optimized, which takes longest and is what the test of `cargo install` does.
fn dist(folder: &Path) -> PathBuf {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/run.sh"));
    for (setting, value) in [("OPT_LEVEL", "0"), ("LTO", "off"), ("CODEGEN_UNITS", "16")] {
        command.env(format!("CARGO_PROFILE_RELEASE_{setting}"), value);
    }
    let output = command
        .arg("dist")
        .arg(folder)
        .output()
        .expect("run.sh runs");
    assert!(output.status.success(), "{output:?}");
    let path = String::from_utf8(output.stdout).expect("it is UTF-8");
    PathBuf::from(path.trim_end())
}

/// The folder in the file, unpacked. Building it takes a minute or two, so it is shared.
fn unpacked() -> &'static Path {
    static UNPACKED: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_folder, unpacked) = UNPACKED.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let file = dist(folder.path());
        let mut tar = program("tar");
        tar.arg("xf").arg(&file).arg("-C").arg(folder.path());
        run(tar).expect_code(0);
        let name = file.file_name().and_then(|name| name.to_str());
        let name = name.and_then(|name| name.strip_suffix(".tar.gz"));
        let unpacked = folder.path().join(name.expect("it is a .tar.gz"));
        (folder, unpacked)
    });
    unpacked
}

/// A program in a world in which there is nothing but the unpacked folder: no /proc, no /dev, no /etc.
fn alone(name: &str, arguments: &[&str]) -> Command {
    // Where only root may do that, one that is root to itself alone does.
    let mut command = if rustix::process::geteuid().is_root() {
        program("chroot")
    } else {
        let mut command = program("unshare");
        command.args(["--map-root-user", "chroot"]);
        command
    };
    let path = std::env::var("PATH").unwrap_or_default();
    command.env_clear().env("PATH", format!("{path}:/usr/sbin"));
    command
        .arg(unpacked())
        .arg(format!("/bin/{name}"))
        .args(arguments);
    command.stdin(Stdio::piped());
    command
}

#[test]
fn the_programs_run_where_there_is_nothing_else() {
    let mut server = Program::start(alone("chat-server", &["-p", "0", "--supervised"]));
    server.expect_stdout("listening on ");
    let port = server.stdout();
    let port = port
        .lines()
        .find_map(|line| line.strip_prefix("listening on 127.0.0.1:"));
    let port = port.expect("it says the port").to_owned();
    let mut client = alone("chat-client", &[&port]);
    client.stdout(Stdio::piped());
    let mut client = client.spawn().expect("chroot runs");
    let mut input = client.stdin.take().expect("it is piped");
    input
        .write_all("ala\ncześć\n".as_bytes())
        .expect("it reads");
    drop(input);
    let output = client.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{output:?}");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(shown.contains("* welcome, ala: 1 online"), "{shown}");
    server.expect_stdout("ala: cześć");
    server.close_stdin();
    server.exit().expect_code(0);
}

#[test]
fn the_launcher_finds_its_server_and_says_why_there_are_no_windows() {
    let mut session = Program::start(alone("chat-run", &["-p", "0", "-t", "none"]));
    session.expect_stdout("nc 127.0.0.1 ");
    session.type_line("/quit");
    session
        .exit()
        .expect_code(0)
        .expect_stdout("the room is closed: ");
    let refused = run(alone("chat-run", &["-p", "0"])).expect_code(1);
    assert!(
        refused.stderr.contains("there is no display"),
        "{}",
        refused.stderr
    );
}

#[test]
fn every_program_has_its_page_and_its_completions() {
    for name in ["chat-run", "chat-server", "chat-client"] {
        let share = unpacked().join("share");
        for file in [
            format!("man/man1/{name}.1"),
            format!("bash-completion/completions/{name}"),
            format!("zsh/site-functions/_{name}"),
            format!("fish/vendor_completions.d/{name}.fish"),
        ] {
            let text = fs::read_to_string(share.join(&file)).expect(&file);
            let text = text.replace("\\-", "-");
            assert!(text.contains("password"), "{file}");
            // That is for the programs among each other.
            assert!(!text.contains("supervised"), "{file}");
        }
    }
    for file in ["README.md", "LICENSE-MIT", "LICENSE-APACHE"] {
        assert!(unpacked().join(file).is_file(), "{file}");
    }
}

#[test]
fn the_same_files_give_the_same_tar() {
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    // The first one builds, where it has to.
    unpacked();
    let [one, other] = folders
        .each_ref()
        .map(|folder| fs::read(dist(folder.path())).expect("it is there"));
    assert!(one == other, "two tars differ");
}
