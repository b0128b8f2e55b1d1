//! The archive built by `./run.sh dist`: its content, and its programs, which need only a kernel.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use support::{Program, program, run};
use tempfile::TempDir;

/// Builds the archive in `dir`, without optimization, which takes longest and which the test of
/// `cargo install` covers.
fn dist(dir: &Path) -> PathBuf {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/run.sh"));
    for (setting, value) in [("OPT_LEVEL", "0"), ("LTO", "off"), ("CODEGEN_UNITS", "16")] {
        command.env(format!("CARGO_PROFILE_RELEASE_{setting}"), value);
    }
    let output = command.arg("dist").arg(dir).output().expect("run.sh runs");
    assert!(output.status.success(), "{output:?}");
    let path = String::from_utf8(output.stdout).expect("the path is UTF-8");
    PathBuf::from(path.trim_end())
}

/// The unpacked archive. A build takes a minute or two, so the tests share one.
fn unpacked() -> &'static Path {
    static UNPACKED: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_dir, unpacked) = UNPACKED.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = dist(dir.path());
        let mut tar = program("tar");
        tar.arg("xf").arg(&file).arg("-C").arg(dir.path());
        run(tar).expect_code(0);
        let name = file.file_name().and_then(|name| name.to_str());
        let name = name.and_then(|name| name.strip_suffix(".tar.gz"));
        let unpacked = dir.path().join(name.expect("the archive is a .tar.gz"));
        (dir, unpacked)
    });
    unpacked
}

/// A program whose root directory is the unpacked archive: no /proc, no /dev, no /etc.
fn alone(name: &str, arguments: &[&str]) -> Command {
    // Only root may change the root directory. In a user namespace, any user is root.
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
fn the_server_and_the_client_run_without_any_other_files() {
    let mut server = Program::start(alone("chat-server", &["-p", "0", "--supervised"]));
    server.expect_stdout("listening on ");
    let port = server.stdout();
    let port = port
        .lines()
        .find_map(|line| line.strip_prefix("listening on 127.0.0.1:"));
    let port = port.expect("the server prints its port").to_owned();
    let mut client = alone("chat-client", &[&port]);
    client.stdout(Stdio::piped());
    let mut client = client.spawn().expect("chroot runs");
    let mut input = client.stdin.take().expect("stdin is piped");
    input
        .write_all("ala\ncześć\n".as_bytes())
        .expect("the client reads its stdin");
    drop(input);
    let output = client.wait_with_output().expect("the client ends");
    assert!(output.status.success(), "{output:?}");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(shown.contains("* welcome, ala: 1 online"), "{shown}");
    server.expect_stdout("ala: cześć");
    server.close_stdin();
    server.exit().expect_code(0);
}

#[test]
fn the_launcher_finds_its_server_and_reports_a_missing_display() {
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
fn every_program_has_a_man_page_and_completions() {
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
            // This option is internal.
            assert!(!text.contains("supervised"), "{file}");
        }
    }
    for file in ["README.md", "LICENSE-MIT", "LICENSE-APACHE"] {
        assert!(unpacked().join(file).is_file(), "{file}");
    }
}

#[test]
fn the_archive_is_reproducible() {
    let dirs = [(); 2].map(|()| tempfile::tempdir().expect("a temporary directory"));
    // Build here if no other test has, so that both calls below find everything built.
    unpacked();
    let [one, other] = dirs
        .each_ref()
        .map(|dir| fs::read(dist(dir.path())).expect("the archive exists"));
    assert!(one == other, "the two archives differ");
}
