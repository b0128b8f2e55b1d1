//! The history file: its contents, restarts, damage, and failing writes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use support::faults::Faults;
use support::{Client, Exit, Server, Value, chat_server, json, run, with_setup};
use tempfile::TempDir;

/// A temporary directory for a history file.
struct History {
    directory: TempDir,
}

impl History {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        Self { directory }
    }

    fn with_content(content: &str) -> Self {
        let history = Self::new();
        history.write(content);
        history
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("room.jsonl")
    }

    fn arg(&self) -> String {
        self.path().to_str().expect("a path in UTF-8").to_owned()
    }

    /// Another path in the directory, to move the file to.
    fn other_path(&self) -> PathBuf {
        self.directory.path().join("other.jsonl")
    }

    /// Changes the file as another program might.
    fn change(&self, change: impl FnOnce(File) -> io::Result<()>) {
        let file = OpenOptions::new().append(true).open(self.path());
        change(file.expect("it is there")).expect("it can be changed");
    }

    fn write(&self, content: &str) {
        fs::write(self.path(), content).expect("it can be written");
    }

    fn read(&self) -> String {
        fs::read_to_string(self.path()).expect("it can be read")
    }

    /// The events in the file, without the first line.
    fn events(&self) -> Vec<Value> {
        let text = self.read();
        assert!(text.ends_with('\n'), "whole lines: {text:?}");
        let lines = text.lines().skip(1);
        lines
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }

    fn server(&self, args: &[&str]) -> Server {
        Server::start(&[&["--history", &self.arg()], args].concat())
    }

    /// Runs a server that must exit with 1.
    fn failing_server(&self) -> Exit {
        let arg = self.arg();
        run(chat_server(&["-p", "0", "--history", &arg])).expect_code(1)
    }
}

/// Reads events up to the first of this type.
fn skip_to_type(client: &mut Client, kind: &str) -> Value {
    loop {
        let event = client.json();
        if event["type"] == kind {
            return event;
        }
    }
}

const ROOM: &str = r#"{"type":"room","room":"0123456789abcdef"}
"#;

/// A history with one message.
const ONE_MESSAGE: &str = r#"{"type":"room","room":"0123456789abcdef"}
{"type":"joined","seq":1,"time":"2026-01-31T10:00:00.123Z","id":3,"name":"ala"}
{"type":"message","seq":2,"time":"2026-01-31T10:00:01.000Z","id":3,"from":"ala","text":"hi"}
"#;

#[test]
fn the_history_file_has_the_room_id_and_the_events_json_clients_receive() {
    let history = History::new();
    let server = history.server(&[]);
    let mut json = server.join_json("json 3ID12");
    let mut ala = server.join("ala");
    ala.send_bytes("hi\n/msg json secret\n/nick ola\n/online\n/nonsense\n/quit\n".as_bytes());
    let mut events = Vec::new();
    loop {
        let event = json.json();
        let last = event["type"] == "left";
        // Answers to one client have no event number and are not stored.
        if event.get("seq").is_some() {
            events.push(event);
        }
        if last {
            break;
        }
    }
    let room = json.welcome["room"].clone();
    server.stop();
    events.push(json.expect_json(json!({"type": "shutdown"})));
    let first: Value = serde_json::from_str(history.read().lines().next().unwrap()).unwrap();
    assert_eq!(first, json!({"type": "room", "room": room}));
    assert_eq!(history.events(), events);
    assert!(!history.read().contains("secret"));
}

#[test]
fn a_history_is_accepted_with_any_member_colors_even_invalid_ones() {
    let member = r#""id":3,"name":"ala""#;
    for color in ["", r#","color":7"#, r#","color":70"#, r#","color":"red""#] {
        let content = ONE_MESSAGE.replace(member, &format!("{member}{color}"));
        let history = History::with_content(&content);
        let server = history.server(&[]);
        let mut ola = server.join_json("ola");
        ola.expect_replay(json!({"type": "message", "seq": 2, "from": "ala"}));
        // Past members are not present, so the first color is free.
        ola.expect_json(json!({"type": "joined", "seq": 3, "id": 4, "color": 0}));
        server.stop();
        assert!(history.read().starts_with(&content));
    }
}

#[test]
fn a_new_history_file_is_readable_only_by_its_owner() {
    let history = History::new();
    let _server = history.server(&[]);
    let mode = fs::metadata(history.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{mode:o}");
}

#[test]
fn an_existing_history_file_is_restricted_to_its_owner_and_the_log_says_so() {
    for mode in [0o666, 0o640, 0o604] {
        let history = History::with_content(ONE_MESSAGE);
        fs::set_permissions(history.path(), PermissionsExt::from_mode(mode)).unwrap();
        let server = history.server(&[]);
        server.expect_log(&format!(
            "now only its owner can read and write it (it had mode {mode:04o})"
        ));
        let mode = fs::metadata(history.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{mode:o}");
        server.stop();
        let log = history.server(&[]).stop().stdout;
        assert!(!log.contains("its owner"), "{log}");
    }
}

#[test]
fn a_history_with_the_highest_valid_event_number_is_accepted_after_restarts() {
    let highest = 1_u64 << 52;
    let content = ONE_MESSAGE
        .replace("\"seq\":2", &format!("\"seq\":{highest}"))
        .replace("\"id\":3", &format!("\"id\":{highest}"));
    let history = History::with_content(&content);
    for number in [1, 4] {
        let server = history.server(&[]);
        let ola = server.join_json("ola");
        assert_eq!(ola.welcome["seq"], highest + number - 1);
        drop(ola);
        server.expect_log("* ola left");
        server.stop();
    }
}

#[test]
fn messages_event_numbers_and_member_ids_continue_after_a_restart() {
    let history = History::new();
    let server = history.server(&[]);
    let mut ala = server.join_json_live("ala");
    ala.send("before");
    ala.expect_json(json!({"type": "message"}));
    let room = ala.welcome["room"].clone();
    let id = ala.welcome["id"].as_u64().unwrap();
    server.stop();
    let last = skip_to_type(&mut ala, "shutdown")["seq"].as_u64().unwrap();

    let server = history.server(&[]);
    let mut plain = server.join("plain");
    plain.expect_all(&[
        "* the last message",
        "ala: before",
        "* end of the past messages",
    ]);
    let mut ola = server.join_json("ola");
    assert_eq!(ola.welcome["room"], room);
    assert_eq!(
        ola.welcome["seq"],
        last + 1,
        "plain's join event came first"
    );
    assert_eq!(ola.welcome["id"], id + 2);
    ola.expect_json(json!({"type": "message", "id": id, "text": "before", "replay": true}));
    ola.expect_json(json!({"type": "joined", "seq": last + 2, "id": id + 2}));
    server.stop();
    let events = history.events();
    let seqs: Vec<u64> = events
        .iter()
        .map(|event| event["seq"].as_u64().unwrap())
        .collect();
    assert!(seqs.iter().copied().eq(1..=seqs.len() as u64), "{seqs:?}");
}

#[test]
fn rooms_without_a_history_file_have_different_ids() {
    let one = Server::start(&[]).join_json("ala").welcome["room"].clone();
    let other = Server::start(&[]).join_json("ala").welcome["room"].clone();
    assert!(one.as_str().is_some_and(|id| !id.is_empty()));
    assert_ne!(one, other);
}

#[test]
fn an_incomplete_last_history_line_is_removed_with_a_notice() {
    let history = History::with_content(&format!(r#"{ONE_MESSAGE}{{"type":"message","seq":3,"ti"#));
    let server = history.server(&[]);
    server.expect_log("! the history's torn last line (29 bytes) was cut off");
    let mut ala = server.join("ala");
    ala.expect_all(&[
        "* the last message",
        "ala: hi",
        "* end of the past messages",
    ]);
    drop(ala);
    server.stop();
    let events = history.events();
    assert_eq!(events[2]["type"], "joined", "{events:#?}");
    assert_eq!(events[2]["seq"], 3);
}

#[test]
fn an_incomplete_first_history_line_starts_a_new_room() {
    let history = History::with_content(&ROOM[..20]);
    let server = history.server(&[]);
    server.expect_log("torn last line (20 bytes) was cut off");
    let room = server.join_json("ala").welcome["room"].clone();
    server.stop();
    let first: Value = serde_json::from_str(history.read().lines().next().unwrap()).unwrap();
    assert_eq!(first["room"], room);
    assert_eq!(history.events()[0]["seq"], 1);
}

#[test]
fn an_empty_history_file_is_accepted_as_a_new_room() {
    let history = History::with_content("");
    let server = history.server(&[]);
    server.join("ala");
    server.stop();
    assert_eq!(history.events()[0]["seq"], 1);
}

#[test]
fn a_damaged_history_line_is_reported_and_the_file_left_unchanged() {
    for (damaged, line) in [
        (format!("{ONE_MESSAGE}nonsense\n"), 4),
        (format!("{ONE_MESSAGE}\n{{\"torn"), 4),
        (format!("{ONE_MESSAGE}{ONE_MESSAGE}"), 4),
        (ONE_MESSAGE.replace("\"seq\":2", "\"seq\":1"), 3),
        (ONE_MESSAGE.replace("\"id\":3,\"name\"", "\"name\""), 2),
        (
            ONE_MESSAGE.replace("2026-01-31T10:00:01.000Z", "yesterday"),
            3,
        ),
        (
            format!("{ONE_MESSAGE}{{\"type\":\"error\",\"text\":\"x\"}}\n"),
            4,
        ),
        (format!("{ONE_MESSAGE}{{\"type\":\"unheard of\"}}\n"), 4),
        (format!("{ONE_MESSAGE}\u{0}\u{0}\u{0}\n"), 4),
        // After these lines, there would be no number left for the next event or member.
        (
            ONE_MESSAGE.replace("\"seq\":2", "\"seq\":18446744073709551615"),
            3,
        ),
        (
            ONE_MESSAGE.replace("\"id\":3,\"name\"", "\"id\":18446744073709551615,\"name\""),
            2,
        ),
        (
            format!("{ONE_MESSAGE}{{\"type\":\"missing\",\"count\":18446744073709551613}}\n"),
            4,
        ),
        (
            ONE_MESSAGE.replace("def\"", "def\",\"seq\":18446744073709551615"),
            1,
        ),
        // Numbers so high that only an edited file can have them.
        (
            ONE_MESSAGE.replace("\"seq\":2", "\"seq\":9223372036854775807"),
            3,
        ),
        (
            ONE_MESSAGE.replace("\"seq\":2", "\"seq\":4503599627370497"),
            3,
        ),
        (
            ONE_MESSAGE.replace("\"id\":3,\"name\"", "\"id\":4611686018427387904,\"name\""),
            2,
        ),
        (
            format!("{ONE_MESSAGE}{{\"type\":\"missing\",\"count\":9223372036854775804}}\n"),
            4,
        ),
        ("Dear diary,\ntoday".into(), 1),
        ("Dear diary, today".into(), 1),
        ("{}\n".into(), 1),
    ] {
        let history = History::with_content(&damaged);
        let place = format!("{}:{line}: ", history.arg());
        history.failing_server().expect_stderr(&place);
        assert_eq!(history.read(), damaged, "untouched");
    }
}

#[test]
fn a_history_file_with_only_empty_lines_starts_a_new_room() {
    for content in ["\n", "\r\n", "  ", "\u{feff}", "\u{feff}\r\n\n \t\n"] {
        let history = History::with_content(content);
        let server = history.server(&[]);
        let room = server.join_json("ola").welcome["room"].clone();
        server.expect_log("* ola left");
        let log = server.stop().stdout;
        assert!(!log.contains("cut off"), "{content:?}: {log}");
        let server = history.server(&[]);
        assert_eq!(server.join_json("ola").welcome["room"], room, "{content:?}");
    }
}

#[test]
fn a_byte_order_mark_and_empty_last_lines_of_a_history_are_accepted() {
    for content in [
        format!("\u{feff}{ONE_MESSAGE}"),
        format!("{ONE_MESSAGE}\n"),
        format!("{ONE_MESSAGE}\r\n\n \t\n  "),
        format!("\u{feff}{}\r\n", ONE_MESSAGE.replace('\n', "\r\n")),
    ] {
        let history = History::with_content(&content);
        // Start two servers, because the second one also reads what the first one has written.
        for seq in [2, 5] {
            let server = history.server(&[]);
            assert_eq!(server.join_json("ola").welcome["seq"], seq, "{content:?}");
            server.expect_log("* ola left");
            let log = server.stop().stdout;
            assert!(!log.contains("cut off"), "{content:?}: {log}");
        }
    }
}

#[test]
fn the_error_for_a_damaged_history_line_gives_only_its_line_number() {
    for line in ["nonsense", "{\"type\":\"message\",\"seq\":\"x\"}", "[]"] {
        let history = History::with_content(&format!("{ONE_MESSAGE}{line}\n"));
        let place = format!("{}:4: ", history.arg());
        let exit = history.failing_server().expect_stderr(&place);
        assert!(!exit.stderr.contains("column"), "{exit:?}");
    }
}

#[test]
fn the_error_for_a_file_system_without_locks_says_what_to_try() {
    let (history, faults) = (History::new(), Faults::new());
    faults.fail("flock");
    let command = chat_server(&["-p", "0", "--history", &history.arg()]);
    run(faults.in_command(command))
        .expect_code(1)
        .expect_stderr("error: cannot lock the history file ")
        .expect_stderr("name a file on a local disk");
}

#[test]
fn a_history_line_longer_than_any_event_counts_as_damaged() {
    const LONGEST: usize = 64 * 1024;
    // Spaces at the end of a line are ignored.
    let padded = |length: usize| {
        let message = ONE_MESSAGE.lines().last().expect("it has lines");
        let message = message.replace("\"seq\":2", "\"seq\":3");
        let spaces = " ".repeat(length - message.len() - 1);
        format!("{message}{spaces}\n")
    };
    let history = History::with_content(&format!("{ONE_MESSAGE}{}", padded(LONGEST)));
    assert_eq!(history.server(&[]).join_json("ola").welcome["seq"], 3);

    let damaged = format!("{ONE_MESSAGE}{}", padded(LONGEST + 1));
    let history = History::with_content(&damaged);
    let place = format!("{}:4: longer than any event", history.arg());
    history.failing_server().expect_stderr(&place);
    assert_eq!(history.read(), damaged, "untouched");
}

#[test]
fn a_huge_history_line_without_an_ending_is_not_read_into_memory() {
    const TAIL: u64 = 64 * 1024 * 1024;
    let history = History::with_content(ONE_MESSAGE);
    // A sparse file, read as zeros.
    history.change(|file| file.set_len(ONE_MESSAGE.len() as u64 + TAIL));
    let server = history.server(&[]);
    server.expect_log(&format!("torn last line ({TAIL} bytes) was cut off"));
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid()));
    if let Ok(status) = status {
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|peak| peak.trim().strip_suffix(" kB"));
        let kib: u64 = peak.expect("Linux has it").parse().expect("a number");
        assert!(kib < 32 * 1024, "{kib} KiB");
    }
    server.stop();
    assert_eq!(history.events().len(), 3, "two events and the shutdown");

    // A file of zeros is not a history with an incomplete line.
    let file = File::create(history.path()).expect("it can be written");
    file.set_len(TAIL).expect("it can be long");
    history
        .failing_server()
        .expect_stderr("this is not a history file");
}

#[test]
fn the_error_for_a_damaged_history_line_has_no_control_characters() {
    let history = History::with_content(&format!(
        "{ONE_MESSAGE}{}\n",
        r#"{"type":"\u001b]0;title\u0007\u202e"}"#
    ));
    let exit = history.failing_server().expect_stderr(":4: ");
    let error = exit.stderr.trim_end();
    assert!(
        !error.contains(|c: char| c.is_control() || c == '\u{202e}'),
        "{error:?}"
    );
}

#[test]
fn a_history_line_that_is_not_utf8_is_reported_by_its_line_number() {
    let history = History::new();
    let mut damaged = ONE_MESSAGE.as_bytes().to_vec();
    damaged.extend(b"\xff\xfe\n");
    fs::write(history.path(), &damaged).unwrap();
    history.failing_server().expect_stderr(":4: not UTF-8");
    assert_eq!(fs::read(history.path()).unwrap(), damaged);
}

#[test]
fn a_second_server_on_the_same_history_file_does_not_start() {
    let history = History::new();
    let server = history.server(&[]);
    let mut ala = server.join("ala");
    history
        .failing_server()
        .expect_stderr("is in use by another server");
    ala.send("/online");
    ala.expect("* 1 online: ala");
    server.kill();
    history.server(&[]);
}

#[test]
fn the_error_for_an_unusable_history_file_says_why_and_what_to_try() {
    let history = History::new();
    for (path, why) in [
        (
            history.directory.path().join("missing/room.jsonl"),
            "No such file or directory",
        ),
        (history.directory.path().into(), "Is a directory"),
    ] {
        let path = path.to_str().unwrap();
        run(chat_server(&["-p", "0", "--history", path]))
            .expect_code(1)
            .expect_stderr(why)
            .expect_stderr(path)
            .expect_stderr("name a file that can be written");
    }
}

#[test]
fn only_a_regular_file_can_be_a_history() {
    let history = History::new();
    let status = Command::new("mkfifo").arg(history.path()).status().unwrap();
    assert!(status.success());
    history
        .failing_server()
        .expect_stderr("is not a file that can hold a history");
    // Reading it would never end.
    run(chat_server(&["-p", "0", "--history", "/dev/zero"]))
        .expect_code(1)
        .expect_stderr("is not a file that can hold a history");
}

#[test]
fn an_event_is_written_before_it_is_sent_to_members() {
    let history = History::new();
    let server = history.server(&["--rate", "0"]);
    let mut first = server.join_json("first");
    // Many recipients make delivery slow, and the first member receives each event first.
    let _others: Vec<Client> = (0..100)
        .map(|number| server.join(&format!("m{number}")))
        .collect();
    for number in 0..50 {
        let text = format!("text {number}");
        first.send(&text);
        while first.json()["text"] != *text {}
        assert!(
            history.read().contains(&text),
            "{text} was sent before it was stored"
        );
    }
}

/// Starts a server whose files may have at most `bytes` bytes, until [`lift_limit`].
fn server_with_little_space(history: &History, bytes: u64, args: &[&str]) -> Server {
    let arg = history.arg();
    let command = chat_server(&[&["-p", "0", "--history", &arg], args].concat());
    Server::start_as(with_setup(
        &format!("prlimit --pid $$ --fsize={bytes}:unlimited"),
        &command,
    ))
}

fn lift_limit(server: &Server) {
    let pid = server.pid().to_string();
    let status = Command::new("prlimit")
        .args(["--pid", &pid, "--fsize=unlimited"])
        .status();
    assert!(status.expect("prlimit is there").success());
}

/// Start of the notice about a failing write.
const FAILED: &str = "* the server: the history cannot be written: ";

#[test]
fn a_failing_write_is_reported_once_and_the_chat_continues() {
    let history = History::new();
    let server = server_with_little_space(&history, 1000, &[]);
    let mut ala = server.join("ala");
    let mut ola = server.join("ola");
    ala.expect("* ola joined");
    let text = "x".repeat(300);
    for _ in 0..10 {
        ala.send(&text);
    }
    let mut received: Vec<String> = (0..11).map(|_| ola.line()).collect();
    ala.send("/quit");
    received.extend(ola.skip_to("* ala left"));
    let (notices, messages): (Vec<&String>, Vec<&String>) =
        received.iter().partition(|line| line.starts_with('*'));
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert!(notices[0].starts_with(FAILED), "{notices:?}");
    assert_eq!(messages.len(), 10, "all messages arrived");
    drop(ola);
    let exit = server.stop();
    assert_eq!(
        exit.stdout
            .matches("! the history cannot be written")
            .count(),
        1,
        "{exit:?}"
    );
    // Only whole lines, in order, as far as there was space.
    let stored = history.events();
    assert!(history.read().len() <= 1000);
    let seqs = stored.iter().map(|event| event["seq"].as_u64().unwrap());
    assert!(seqs.eq(1..=stored.len() as u64), "{stored:#?}");
}

#[test]
fn queued_events_are_written_when_the_file_is_writable_again() {
    let history = History::new();
    let server = server_with_little_space(&history, 500, &[]);
    let mut ala = server.join("ala");
    let mut json = server.join_json_live("json");
    ala.expect("* json joined");
    for number in 0..20 {
        ala.send(&format!("{number} {}", "x".repeat(100)));
    }
    ala.expect_start(FAILED);
    lift_limit(&server);
    ala.expect("* the server: the history can be written again");
    ala.send("after");
    while json.json()["text"] != "after" {}
    drop((ala, json));
    server.stop();
    let events = history.events();
    let seqs = events.iter().map(|event| event["seq"].as_u64().unwrap());
    assert!(seqs.eq(1..=events.len() as u64), "{events:#?}");
    let messages = events
        .iter()
        .filter(|event| event["type"] == "message")
        .count();
    assert_eq!(messages, 21);
}

#[test]
fn queued_events_are_written_at_shutdown_if_possible() {
    let history = History::new();
    let server = server_with_little_space(&history, 500, &[]);
    let mut ala = server.join_json_live("ala");
    ala.send(&"x".repeat(500));
    skip_to_type(&mut ala, "server");
    lift_limit(&server);
    let log = server.stop().stdout;
    assert!(!log.contains("are not in the history"), "{log}");
    let last = skip_to_type(&mut ala, "shutdown")["seq"].as_u64().unwrap();
    let events = history.events();
    let seqs = events.iter().map(|event| event["seq"].as_u64().unwrap());
    assert!(seqs.eq(1..=last), "{events:#?}");
}

#[test]
fn events_that_could_not_be_written_are_counted_at_shutdown() {
    let history = History::new();
    let server = server_with_little_space(&history, 500, &[]);
    let mut ala = server.join_json_live("ala");
    for _ in 0..10 {
        ala.send(&"x".repeat(100));
    }
    skip_to_type(&mut ala, "server");
    let exit = server.stop();
    let last = skip_to_type(&mut ala, "shutdown")["seq"].as_u64().unwrap();
    let stored = history.events().last().unwrap()["seq"].as_u64().unwrap();
    let count = last - stored;
    exit.expect_stdout(&format!(
        "! the last {count} events are not in the history: File too large"
    ));
}

#[test]
fn events_beyond_the_queue_limit_are_recorded_as_a_count() {
    const MESSAGES: usize = 1500;
    let history = History::new();
    let server = server_with_little_space(&history, 500, &["--rate", "0"]);
    let mut ala = server.join("ala");
    for number in 0..MESSAGES {
        ala.send(&format!("{number:01000}"));
    }
    ala.expect_start(FAILED);
    // All messages are accepted before the limit is lifted.
    ala.send("/online");
    ala.expect("* 1 online: ala");
    lift_limit(&server);
    ala.expect("* the server: the history can be written again");
    ala.send("/nick ola");
    ala.expect("* ala is now ola");
    let mut json = server.join_json("json");
    let last = json.welcome["seq"].as_u64().unwrap();
    skip_to_type(&mut json, "joined");
    server.stop();
    let events = history.events();
    let missing: Vec<u64> = events
        .iter()
        .filter_map(|event| event["count"].as_u64())
        .collect();
    assert_eq!(missing.len(), 1, "{missing:?}");
    let stored = events
        .iter()
        .filter(|event| event["seq"].as_u64().is_some_and(|seq| seq <= last))
        .count() as u64;
    assert_eq!(stored + missing[0], last, "each event is stored or counted");

    // The file is valid.
    let server = history.server(&[]);
    let json = server.join_json("json");
    assert_eq!(
        json.welcome["seq"],
        last + 2,
        "only json's join event and the shutdown followed"
    );
}

#[test]
fn event_numbers_used_while_the_disk_was_full_are_not_reused() {
    let ends: [fn(Server) -> Exit; 2] = [Server::kill, Server::stop];
    for end in ends {
        let history = History::new();
        let server = server_with_little_space(&history, 500, &[]);
        let mut ala = server.join_json_live("ala");
        for number in 0..10 {
            ala.send(&format!("{number} {}", "x".repeat(100)));
        }
        let mut seen = loop {
            let event = ala.json();
            if event["text"]
                .as_str()
                .is_some_and(|text| text.starts_with("9 "))
            {
                break event["seq"].as_u64().unwrap();
            }
        };
        end(server);
        while let Some(line) = ala.line_or_broken() {
            let event: Value = serde_json::from_str(&line).unwrap();
            seen = event["seq"].as_u64().unwrap();
        }
        let stored = history.events().last().unwrap()["seq"].as_u64().unwrap();
        assert!(stored < seen, "{stored}");

        let server = history.server(&[]);
        let lost = seen - stored;
        server.expect_log(&format!(
            "! the last {lost} events are not in the history, because the file could not be written"
        ));
        let ola = server.join_json("ola");
        assert_eq!(ola.welcome["seq"], seen);
        let id = |client: &Client| client.welcome["id"].as_u64().unwrap();
        assert!(id(&ola) > id(&ala), "member IDs are not reused either");
        drop(ola);
        server.stop();
        let events = history.events();
        let missing = events.iter().position(|event| event["count"] == lost);
        let next = &events[missing.expect("it is recorded") + 1];
        assert_eq!(next["seq"], seen + 1);

        let server = history.server(&[]);
        server.join("ala");
        let log = server.stop().stdout;
        assert!(!log.contains("are not in the history"), "{log}");
    }
}

#[test]
fn a_failing_write_leaves_the_first_history_line_unchanged() {
    let history = History::with_content(ONE_MESSAGE);
    let server = server_with_little_space(&history, ONE_MESSAGE.len() as u64, &[]);
    let mut ala = server.join("ala");
    ala.skip_to("* end of the past messages");
    ala.expect_start(FAILED);
    drop(ala);
    server.stop();
    assert_eq!(history.read(), ONE_MESSAGE);
}

#[test]
fn event_numbers_of_events_recorded_as_missing_are_not_reused() {
    let history = History::with_content(&format!(
        "{ONE_MESSAGE}{}\n",
        r#"{"type":"missing","count":7}"#
    ));
    let server = history.server(&[]);
    assert_eq!(server.join_json("ola").welcome["seq"], 9);
}

const ALTERED: &str = "another program has changed the history file";
const MOVED: &str = "the history file was moved, replaced or deleted";

#[test]
fn a_history_changed_by_another_program_is_reported_once() {
    type Change = fn(&History);
    let changes: [(Change, &str); 6] = [
        (
            |history| fs::rename(history.path(), history.other_path()).unwrap(),
            MOVED,
        ),
        (|history| fs::remove_file(history.path()).unwrap(), MOVED),
        (
            |history| {
                fs::copy(history.path(), history.other_path()).unwrap();
                fs::rename(history.other_path(), history.path()).unwrap();
            },
            MOVED,
        ),
        (|history| history.change(|file| file.set_len(0)), ALTERED),
        (|history| history.change(|file| file.set_len(60)), ALTERED),
        (
            |history| history.change(|mut file| file.write_all(b"a note\n")),
            ALTERED,
        ),
    ];
    let rooms = changes.map(|(change, notice)| {
        let history = History::new();
        let server = history.server(&[]);
        let ala = server.join("ala");
        change(&history);
        (history, server, ala, change, notice)
    });
    for (history, server, mut ala, change, notice) in rooms {
        // The notice comes without further activity.
        ala.expect_start(&format!("* the server: {notice}"));
        server.expect_log(&format!("! {notice}"));
        if notice == ALTERED {
            change(&history);
        }
        ala.send_bytes(b"hi\n/online\n");
        ala.expect("* 1 online: ala");
        drop(ala);
        let log = server.stop().stdout;
        assert_eq!(log.matches(&format!("! {notice}")).count(), 1, "{log}");
    }
}

#[test]
fn a_moved_history_file_keeps_receiving_events() {
    let history = History::new();
    let server = history.server(&[]);
    let mut ala = server.join("ala");
    fs::rename(history.path(), history.other_path()).unwrap();
    ala.expect_start(&format!("* the server: {MOVED}"));
    ala.send_bytes(b"hi\n/online\n");
    ala.expect("* 1 online: ala");
    drop(ala);
    server.stop();
    fs::rename(history.other_path(), history.path()).unwrap();
    let events = history.events();
    let kinds = events.iter().map(|event| event["type"].as_str().unwrap());
    assert!(
        kinds.take(3).eq(["joined", "server", "message"]),
        "{events:#?}"
    );
}

#[test]
fn a_room_continues_in_a_history_file_that_was_truncated() {
    let history = History::new();
    let server = history.server(&[]);
    let mut ala = server.join_json_live("ala");
    ala.send("before");
    let before = ala.expect_json(json!({"type": "message"}));
    history.change(|file| file.set_len(0));
    ala.send("after");
    skip_to_type(&mut ala, "message");
    server.stop();
    let last = skip_to_type(&mut ala, "shutdown")["seq"].as_u64().unwrap();
    let events = history.events();
    assert_eq!(
        events[0],
        json!({"type": "missing", "count": before["seq"]})
    );
    let seqs = events[1..]
        .iter()
        .map(|event| event["seq"].as_u64().unwrap());
    assert!(seqs.eq(3..=last), "{events:#?}");

    let server = history.server(&[]);
    let ola = server.join_json("ola");
    assert_eq!(ola.welcome["room"], ala.welcome["room"]);
    assert_eq!(ola.welcome["seq"], last);
    let id = |client: &Client| client.welcome["id"].as_u64().unwrap();
    assert!(id(&ola) > id(&ala), "no member ID is reused");
}

#[test]
fn a_truncated_history_file_is_not_padded_when_the_next_write_fails() {
    let history = History::new();
    let server = server_with_little_space(&history, 1000, &[]);
    let mut ala = server.join("ala");
    ala.send_bytes(format!("{}\n/online\n", "x".repeat(300)).as_bytes());
    ala.expect("* 1 online: ala");
    let header = history.read().find('\n').unwrap() as u64 + 1;
    history.change(|file| file.set_len(header));
    ala.send_bytes(format!("{}\n/online\n", "x".repeat(900)).as_bytes());
    ala.skip_to("* 1 online: ala");
    drop(ala);
    server.stop();
    for event in history.events() {
        assert_ne!(event["type"], "joined", "that line was truncated");
    }
}
