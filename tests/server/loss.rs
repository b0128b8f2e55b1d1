//! What was said is not lost: by a kill, by a damaged file, by a disk that fails, or at the end under load.

#![cfg(target_os = "linux")] // Calls are made to fail by a library that is preloaded.

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

/// A folder with a history file in it.
struct Room(TempDir);

impl Room {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder for temporary files"))
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

    /// The events after this many bytes, each with its line's whole text.
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

/// `command` in a world of its own, where the folder of `room` is a file system of so many KiB in memory; none where the system
/// lets nobody do that.
fn on_a_small_disk(room: &Room, kib: u32, command: &Command) -> Option<Command> {
    let mut command_with_disk = program("unshare");
    command_with_disk.arg("--mount");
    // Where only root may do that, one that is root to itself alone does.
    if !rustix::process::geteuid().is_root() {
        command_with_disk.arg("--map-root-user");
    }
    let folder = room.0.path().display();
    let mount = with_setup(
        &format!("mount -t tmpfs -o size={kib}k tmpfs {folder}"),
        command,
    );
    let mut probe = Command::new(command_with_disk.get_program());
    probe.args(command_with_disk.get_args());
    probe.args(["mount", "-t", "tmpfs", "tmpfs", "/tmp"]);
    let can = run(probe);
    if !can.status.success() {
        // Past the test harness, which shows nothing of a test that passes.
        let _ = writeln!(
            io::stderr(),
            "NOT TESTED: a disk that is full, since no file system can be mounted here: {}",
            can.stderr
        );
        return None;
    }
    command_with_disk
        .arg(mount.get_program())
        .args(mount.get_args());
    Some(command_with_disk)
}

/// Says something again and again, as soon as the last of it has come back, and gives all events that it saw until the
/// connection was over.
fn chat_to_the_end(mut client: Client) -> Vec<Value> {
    let mut seen = Vec::new();
    while let Some(line) = client.line_or_broken() {
        let event: Value = serde_json::from_str(&line).expect("a whole line is JSON");
        if event["replay"] == true {
            continue;
        }
        if event["type"] != "message" || event["id"] == client.welcome["id"] {
            // The server may be gone; the next read tells.
            let _ = client.socket().write_all(b"one\ntwo\n");
        }
        seen.push(event);
    }
    seen
}

/// Three members chat until the file has grown; then `end` ends the server. Gives what each saw.
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
        wait_until("enough was said", || {
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
fn after_each_of_a_hundred_kills_all_that_anybody_saw_is_kept_once_and_in_order() {
    let room = Room::new();
    let (mut start, mut last) = (0, 0);
    for _ in 0..100 {
        let server = room.server();
        let seen = chat_until(&room, server, |server| {
            assert_eq!(server.kill().status.code(), None, "killed");
        });
        // Without the line that the kill may have torn.
        let mut file = room.read();
        let last_line = file.iter().rposition(|byte| *byte == b'\n');
        file.truncate(last_line.expect("lines") + 1);
        fs::write(room.path(), &file).expect("it can be written");
        let kept = room.events_after(start);
        let seqs = kept
            .iter()
            .map(|event| event["seq"].as_u64().expect("a number"));
        assert!(
            seqs.eq(last + 1..=last + kept.len() as u64),
            "each event once and in order"
        );
        for event in seen
            .iter()
            .flatten()
            .filter(|event| event.get("seq").is_some())
        {
            let seq = event["seq"].as_u64().expect("a number");
            assert_eq!(kept[(seq - last - 1) as usize], *event);
        }
        assert!(
            seen.iter().all(|seen| seen.len() > 20),
            "they saw what was said"
        );
        (start, last) = (file.len(), last + kept.len() as u64);
        // Few kills tear a line. The next start finds one in any case, and cuts it off.
        file.extend_from_slice(b"{\"type\":\"mess");
        fs::write(room.path(), &file).expect("it can be written");
    }
}

/// A history with three events in it.
const KEPT: &str = r#"{"type":"room","room":"0123456789abcdef"}
{"type":"joined","seq":1,"time":"2026-01-31T10:00:00.123Z","id":3,"name":"ala","group":"3ID12"}
{"type":"message","seq":2,"time":"2026-01-31T10:00:01.000Z","id":3,"from":"ala","text":"zażółć"}
{"type":"message","seq":3,"time":"2026-01-31T10:00:02.000Z","id":3,"from":"ala","text":"hi"}
"#;

#[test]
fn a_file_that_was_torn_at_any_byte_of_its_last_line_begins_with_all_the_others() {
    let room = Room::new();
    let begin = KEPT[..KEPT.len() - 1].rfind('\n').expect("lines") + 1;
    for torn in begin..KEPT.len() {
        fs::write(room.path(), &KEPT[..torn]).expect("it can be written");
        let server = room.server();
        if torn > begin {
            server.expect_log(&format!(
                "was torn: its {} bytes were cut off",
                torn - begin
            ));
        }
        assert_eq!(server.join_json("ola").welcome["seq"], 2, "torn at {torn}");
        server.stop();
        let kept = String::from_utf8(room.read()).expect("UTF-8");
        assert!(kept.starts_with(&KEPT[..begin]), "torn at {torn}");
        assert_eq!(room.events_after(begin)[0]["seq"], 3, "torn at {torn}");
    }
}

#[test]
fn a_byte_that_has_flipped_is_found_and_the_file_left_as_it_is() {
    let room = Room::new();
    let lines: Vec<usize> = KEPT.match_indices('\n').map(|(at, _)| at).collect();
    // Each byte of the second line and the third, their endings included.
    for at in lines[0] + 1..=lines[2] {
        let mut damaged = KEPT.as_bytes().to_vec();
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
fn what_was_said_is_put_on_the_disk_without_anything_more_being_said() {
    let (room, faults) = (Room::new(), Faults::new());
    let server = faults.server(room.command());
    let mut ala = server.join_json_live("ala");
    for _ in 0..3 {
        let before = faults.calls("fdatasync");
        ala.send("hi");
        ala.expect_json(json!({"type": "message"}));
        wait_until("it is put on the disk", || {
            (faults.calls("fdatasync") > before).then_some(())
        });
    }
    server.stop();
}

#[test]
fn a_disk_that_does_not_take_what_was_written_is_told_once_and_at_the_end() {
    let (room, faults) = (Room::new(), Faults::new());
    let server = faults.server(room.command());
    let mut ala = server.join("ala");
    faults.fail("fdatasync");
    ala.send("/nick a1");
    ala.expect("* ala is now a1");
    // Without anything more being said.
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
    let told = lines
        .iter()
        .filter(|line| line.contains("the history cannot be written"))
        .count();
    assert_eq!(told, 0, "{lines:?}");
    let exit = server.stop();
    assert!(
        exit.stdout
            .contains("! the history is not safe on the disk: "),
        "{exit:?}"
    );
    assert!(
        room.events_after(0).iter().any(|event| event["to"] == "a3"),
        "all is written"
    );
}

#[test]
fn a_file_system_that_becomes_read_only_and_writable_again_loses_nothing() {
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
    while ala.json()["text"] != "the history is written again" {}
    server.stop();
    let kept = room.events_after(0);
    let seqs = kept
        .iter()
        .map(|event| event["seq"].as_u64().expect("a number"));
    assert!(seqs.eq(1..=kept.len() as u64), "{kept:#?}");
    assert!(kept.iter().any(|event| event["text"] == "while"));
}

#[test]
fn a_disk_that_is_full_has_whole_lines_alone_and_all_of_them_when_there_is_room_again() {
    const KIB: u32 = 64;
    let room = Room::new();
    let Some(command) = on_a_small_disk(&room, KIB, &room.command()) else {
        return;
    };
    let server = Server::start_as(command);
    // What is in its world is seen from here by its process.
    let folder = format!("/proc/{}/root{}", server.pid(), room.0.path().display());
    let kept = || -> Vec<Value> {
        let text = fs::read_to_string(format!("{folder}/room.jsonl")).expect("it can be read");
        assert!(text.ends_with('\n'), "whole lines: {text:?}");
        let lines = text.lines().skip(1);
        lines
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    };
    let mut ala = server.join_json_live("ala");
    let filler = format!("{folder}/filler");
    let full = fs::write(&filler, vec![0; KIB as usize * 1024]).expect_err("it is too much");
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    let failed = "the history cannot be written: No space left on device (os error 28); the chat goes on without it";
    let mut said = 0;
    // What is left of the file's last block takes some.
    loop {
        ala.send(&format!("{said} {}", "x".repeat(900)));
        said += 1;
        if ala.json()["text"] == failed {
            break;
        }
        assert!(said < 1000, "it is never full");
    }
    let before = kept().len();
    ala.send("while");
    let last = loop {
        let event = ala.json();
        if event["text"] == "while" {
            break event["seq"].clone();
        }
    };
    assert_eq!(kept().len(), before, "the disk is full");
    let text = fs::read_to_string(format!("{folder}/room.jsonl")).expect("it can be read");
    let first: Value = serde_json::from_str(text.lines().next().expect("a line")).expect("JSON");
    assert_eq!(first["seq"], last, "its number is not given again");
    fs::remove_file(filler).expect("it was written");
    while ala.json()["text"] != "the history is written again" {}
    ala.send("after");
    while ala.json()["text"] != "after" {}
    let kept = kept();
    let seqs = kept
        .iter()
        .map(|event| event["seq"].as_u64().expect("a number"));
    assert!(seqs.eq(1..=kept.len() as u64), "{kept:#?}");
    let texts = kept
        .iter()
        .filter(|event| event["type"] == "message")
        .count();
    assert_eq!(texts, said + 2, "each message once");
    server.stop();
}

#[test]
fn all_that_was_taken_before_the_end_is_delivered_and_kept_under_load() {
    let room = Room::new();
    for _ in 0..10 {
        let start = fs::metadata(room.path()).map_or(0, |file| file.len() as usize);
        let seen = chat_until(&room, room.server(), |server| {
            server.program.signal(Signal::TERM);
            server.program.exit().expect_code(0);
        });
        let kept = room.events_after(start);
        assert_eq!(kept.last().expect("events")["type"], "shutdown");
        for seen in seen {
            let begin = kept.len() - seen.len();
            assert_eq!(seen, kept[begin..], "to the last event, as it is kept");
        }
    }
}
