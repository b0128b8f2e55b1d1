//! No accepted event is lost by a kill, a damaged file, a failing disk, or a shutdown under load.

#![cfg(target_os = "linux")] // A preloaded library makes calls fail.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use support::faults::Faults;
use support::{
    Client, Server, Signal, Value, chat_server, json, program, run, wait_until, with_setup,
};
use tempfile::TempDir;

/// A temporary directory for a history file.
struct Room(TempDir);

impl Room {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("room.jsonl")
    }

    fn command(&self) -> Command {
        let path = self.path();
        let path = path.to_str().expect("a path in UTF-8");
        chat_server(&["-p", "0", "--rate", "0", "--history", path])
    }

    fn server(&self) -> Server {
        Server::start_as(self.command())
    }

    fn read(&self) -> Vec<u8> {
        fs::read(self.path()).expect("it can be read")
    }

    /// The events in the file after byte `start`.
    fn events_after(&self, start: usize) -> Vec<Value> {
        let text = String::from_utf8(self.read().split_off(start)).expect("UTF-8");
        let lines = text
            .lines()
            .filter(|line| !line.contains("\"type\":\"room\""));
        lines
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }
}

/// Runs `command` in a mount namespace where the directory of `room` is a tmpfs of `kib` KiB.
/// `None` if the system does not allow that.
fn on_a_small_disk(room: &Room, kib: u32, command: &Command) -> Option<Command> {
    let mut command_with_disk = program("unshare");
    command_with_disk.arg("--mount");
    // Without root privileges, a user namespace gives them to the command.
    if !rustix::process::geteuid().is_root() {
        command_with_disk.arg("--map-root-user");
    }
    let directory = room.0.path().display();
    let mount = with_setup(
        &format!("mount -t tmpfs -o size={kib}k tmpfs {directory}"),
        command,
    );
    let mut probe = Command::new(command_with_disk.get_program());
    probe.args(command_with_disk.get_args());
    probe.args(["mount", "-t", "tmpfs", "tmpfs", "/tmp"]);
    let can = run(probe);
    if !can.status.success() {
        // Written directly, since the test harness hides the output of a passing test.
        let _ = writeln!(
            io::stderr(),
            "NOT TESTED: a full disk, since no file system can be mounted here: {}",
            can.stderr
        );
        return None;
    }
    command_with_disk
        .arg(mount.get_program())
        .args(mount.get_args());
    Some(command_with_disk)
}

/// Sends messages, each time after the echo of the last ones, and returns all events received until
/// the connection ended.
fn chat_to_the_end(mut client: Client) -> Vec<Value> {
    let mut seen = Vec::new();
    while let Some(line) = client.line_or_broken() {
        let event: Value = serde_json::from_str(&line).expect("a whole line is JSON");
        if event["replay"] == true {
            continue;
        }
        if event["type"] != "message" || event["id"] == client.welcome["id"] {
            // An error means that the server is gone, which the next read detects.
            let _ = client.socket().write_all(b"one\ntwo\n");
        }
        seen.push(event);
    }
    seen
}

/// Lets three members chat until the file has grown, then calls `end`, which must end the server.
/// Returns the events that each member received.
fn chat_until(room: &Room, server: Server, end: impl FnOnce(Server)) -> Vec<Vec<Value>> {
    let begin = room.read().len();
    let speakers: Vec<Client> = (0..3)
        .map(|number| server.join_json(&format!("m{number}")))
        .collect();
    thread::scope(|scope| {
        let chatting: Vec<_> = speakers
            .into_iter()
            .map(|client| scope.spawn(|| chat_to_the_end(client)))
            .collect();
        wait_until("the members have chatted enough", || {
            (room.read().len() > begin + 20_000).then_some(())
        });
        end(server);
        chatting
            .into_iter()
            .map(|thread| thread.join().expect("it chats"))
            .collect()
    })
}

#[test]
fn every_event_that_a_member_saw_survives_a_kill_once_and_in_order() {
    let room = Room::new();
    let (mut start, mut last) = (0, 0);
    for _ in 0..100 {
        let server = room.server();
        let seen = chat_until(&room, server, |server| {
            assert_eq!(server.kill().status.code(), None, "killed");
        });
        // Removes the line that the kill may have left incomplete.
        let mut file = room.read();
        let last_line = file.iter().rposition(|byte| *byte == b'\n');
        file.truncate(last_line.expect("lines") + 1);
        fs::write(room.path(), &file).expect("it can be written");
        let stored = room.events_after(start);
        let seqs = stored
            .iter()
            .map(|event| event["seq"].as_u64().expect("a number"));
        assert!(
            seqs.eq(last + 1..=last + stored.len() as u64),
            "each event once and in order"
        );
        for event in seen
            .iter()
            .flatten()
            .filter(|event| event.get("seq").is_some())
        {
            let seq = event["seq"].as_u64().expect("a number");
            assert_eq!(stored[(seq - last - 1) as usize], *event);
        }
        assert!(
            seen.iter().all(|seen| seen.len() > 20),
            "each member saw messages"
        );
        (start, last) = (file.len(), last + stored.len() as u64);
        // Few kills leave an incomplete line, so the next start always gets one to remove.
        file.extend_from_slice(b"{\"type\":\"mess");
        fs::write(room.path(), &file).expect("it can be written");
    }
}

/// A history with three events.
const HISTORY: &str = r#"{"type":"room","room":"0123456789abcdef"}
{"type":"joined","seq":1,"time":"2026-01-31T10:00:00.123Z","id":3,"name":"ala","group":"3ID12"}
{"type":"message","seq":2,"time":"2026-01-31T10:00:01.000Z","id":3,"from":"ala","text":"zażółć"}
{"type":"message","seq":3,"time":"2026-01-31T10:00:02.000Z","id":3,"from":"ala","text":"hi"}
"#;

#[test]
fn a_history_cut_at_any_byte_of_its_last_line_keeps_the_other_lines() {
    let room = Room::new();
    let begin = HISTORY[..HISTORY.len() - 1].rfind('\n').expect("lines") + 1;
    for cut in begin..HISTORY.len() {
        fs::write(room.path(), &HISTORY[..cut]).expect("it can be written");
        let server = room.server();
        if cut > begin {
            server.expect_log(&format!("torn last line ({} byte", cut - begin));
        }
        assert_eq!(server.join_json("ola").welcome["seq"], 2, "cut at {cut}");
        server.stop();
        let file = String::from_utf8(room.read()).expect("UTF-8");
        assert!(file.starts_with(&HISTORY[..begin]), "cut at {cut}");
        assert_eq!(room.events_after(begin)[0]["seq"], 3, "cut at {cut}");
    }
}

#[test]
fn a_flipped_byte_in_the_history_is_reported_and_the_file_unchanged() {
    let room = Room::new();
    let lines: Vec<usize> = HISTORY.match_indices('\n').map(|(at, _)| at).collect();
    // Each byte of the second and third lines, including their line endings.
    for at in lines[0] + 1..=lines[2] {
        let mut damaged = HISTORY.as_bytes().to_vec();
        damaged[at] ^= 0x80;
        fs::write(room.path(), &damaged).expect("it can be written");
        let line = if at <= lines[1] { 2 } else { 3 };
        let exit = run(room.command()).expect_code(1);
        let place = format!("room.jsonl:{line}: ");
        assert!(exit.stderr.contains(&place), "byte {at}: {exit:?}");
        assert_eq!(room.read(), damaged, "byte {at}");
    }
}

#[test]
fn messages_are_synced_to_disk_without_further_activity() {
    let (room, faults) = (Room::new(), Faults::new());
    let server = faults.server(room.command());
    let mut ala = server.join_json_live("ala");
    for _ in 0..3 {
        let before = faults.calls("fdatasync");
        ala.send("hi");
        ala.expect_json(json!({"type": "message"}));
        wait_until("the message is synced", || {
            (faults.calls("fdatasync") > before).then_some(())
        });
    }
    server.stop();
}

#[test]
fn a_failing_disk_sync_is_reported_once_and_again_at_shutdown() {
    let (room, faults) = (Room::new(), Faults::new());
    let server = faults.server(room.command());
    let mut ala = server.join("ala");
    faults.fail("fdatasync");
    ala.send("/nick a1");
    ala.expect("* ala is now a1");
    // The notice comes without further activity.
    ala.expect_start("* the server: the history cannot be written");
    for number in 2..=3 {
        let before = faults.calls("fdatasync");
        ala.send(&format!("/nick a{number}"));
        wait_until("a sync has failed", || {
            (faults.calls("fdatasync") > before).then_some(())
        });
    }
    ala.send("/online");
    let lines = ala.skip_to("* 1 online: a3");
    let notices = lines
        .iter()
        .filter(|line| line.contains("the history cannot be written"))
        .count();
    assert_eq!(notices, 0, "{lines:?}");
    let exit = server.stop();
    assert!(
        exit.stdout
            .contains("! the history may not have reached the disk: "),
        "{exit:?}"
    );
    assert!(
        room.events_after(0).iter().any(|event| event["to"] == "a3"),
        "all events are in the file"
    );
}

#[test]
fn no_event_is_lost_while_the_file_system_is_temporarily_read_only() {
    let (room, faults) = (Room::new(), Faults::new());
    let server = faults.server(room.command());
    let mut ala = server.join_json_live("ala");
    ala.send("before");
    faults.fail("write");
    let failed = "the history cannot be written: Read-only file system (os error 30); the chat goes on without it";
    ala.send("while");
    while ala.json()["text"] != failed {}
    assert!(!String::from_utf8_lossy(&room.read()).contains("while"));
    faults.stop_failing("write");
    while ala.json()["text"] != "the history can be written again" {}
    server.stop();
    let stored = room.events_after(0);
    let seqs = stored
        .iter()
        .map(|event| event["seq"].as_u64().expect("a number"));
    assert!(seqs.eq(1..=stored.len() as u64), "{stored:#?}");
    assert!(stored.iter().any(|event| event["text"] == "while"));
}

#[test]
fn a_full_disk_gets_only_whole_lines_and_the_rest_once_there_is_space() {
    const KIB: u32 = 64;
    let room = Room::new();
    let Some(command) = on_a_small_disk(&room, KIB, &room.command()) else {
        return;
    };
    let server = Server::start_as(command);
    // The path of the tmpfs from outside of its mount namespace.
    let directory = format!("/proc/{}/root{}", server.pid(), room.0.path().display());
    let stored = || -> Vec<Value> {
        let text = fs::read_to_string(format!("{directory}/room.jsonl")).expect("it can be read");
        assert!(text.ends_with('\n'), "whole lines: {text:?}");
        let lines = text.lines().skip(1);
        lines
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    };
    let mut ala = server.join_json_live("ala");
    let filler = format!("{directory}/filler");
    let full = fs::write(&filler, vec![0; KIB as usize * 1024]).expect_err("it does not fit");
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    let failed = "the history cannot be written: No space left on device (os error 28); the chat goes on without it";
    let mut sent = 0;
    // The rest of the file's last block still holds some messages.
    loop {
        ala.send(&format!("{sent} {}", "x".repeat(900)));
        sent += 1;
        if ala.json()["text"] == failed {
            break;
        }
        assert!(sent < 1000, "the disk is never full");
    }
    let before = stored().len();
    ala.send("while");
    let last = loop {
        let event = ala.json();
        if event["text"] == "while" {
            break event["seq"].clone();
        }
    };
    assert_eq!(stored().len(), before, "the disk is full");
    let text = fs::read_to_string(format!("{directory}/room.jsonl")).expect("it can be read");
    let first: Value = serde_json::from_str(text.lines().next().expect("a line")).expect("JSON");
    assert_eq!(first["seq"], last, "the first line reserves its number");
    fs::remove_file(filler).expect("it was written");
    while ala.json()["text"] != "the history can be written again" {}
    ala.send("after");
    while ala.json()["text"] != "after" {}
    let stored = stored();
    let seqs = stored
        .iter()
        .map(|event| event["seq"].as_u64().expect("a number"));
    assert!(seqs.eq(1..=stored.len() as u64), "{stored:#?}");
    let texts = stored
        .iter()
        .filter(|event| event["type"] == "message")
        .count();
    assert_eq!(texts, sent + 2, "each message once");
    server.stop();
}

#[test]
fn events_accepted_before_shutdown_are_delivered_and_stored_under_load() {
    let room = Room::new();
    for _ in 0..10 {
        let start = fs::metadata(room.path()).map_or(0, |file| file.len() as usize);
        let seen = chat_until(&room, room.server(), |server| {
            server.program.signal(Signal::TERM);
            server.program.exit().expect_code(0);
        });
        let stored = room.events_after(start);
        assert_eq!(stored.last().expect("events")["type"], "shutdown");
        for seen in seen {
            let begin = stored.len() - seen.len();
            assert_eq!(seen, stored[begin..], "all events up to the last one");
        }
    }
}
