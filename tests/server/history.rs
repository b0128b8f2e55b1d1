//! The history file: what it holds, what a restart makes of it, and what happens where it cannot be written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use support::{Client, Exit, Server, Value, chat_server, json, run, with_setup};
use tempfile::TempDir;

/// A folder with a history file in it, or a place for one.
struct History {
    folder: TempDir,
}

impl History {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder for temporary files");
        Self { folder }
    }

    fn of(content: &str) -> Self {
        let history = Self::new();
        history.write(content);
        history
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("room.jsonl")
    }

    fn arg(&self) -> String {
        self.path().to_str().expect("a path in UTF-8").to_owned()
    }

    /// Where it may be moved.
    fn other(&self) -> PathBuf {
        self.folder.path().join("other.jsonl")
    }

    /// Does what another program may do.
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

    /// The lines after the first one.
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

    /// A server that is to fail, and how it did.
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

/// A history with a message in it.
const ONE: &str = r#"{"type":"room","room":"0123456789abcdef"}
{"type":"joined","seq":1,"time":"2026-01-31T10:00:00.123Z","id":3,"name":"ala"}
{"type":"message","seq":2,"time":"2026-01-31T10:00:01.000Z","id":3,"from":"ala","text":"hi"}
"#;

#[test]
fn the_file_names_the_room_and_holds_its_events_as_a_json_client_gets_them() {
    let history = History::new();
    let server = history.server(&[]);
    let mut json = server.join_json("json 3ID12");
    let mut ala = server.join("ala");
    ala.send_bytes("hi\n/msg json secret\n/nick ola\n/online\n/nonsense\n/quit\n".as_bytes());
    let mut events = Vec::new();
    loop {
        let event = json.json();
        let last = event["type"] == "left";
        // What is for one client alone has no number, and is not kept.
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
fn a_history_is_read_with_and_without_colors() {
    let member = r#""id":3,"name":"ala""#;
    for color in ["", r#","color":7"#, r#","color":70"#, r#","color":"red""#] {
        let content = ONE.replace(member, &format!("{member}{color}"));
        let history = History::of(&content);
        let server = history.server(&[]);
        let mut ola = server.join_json("ola");
        ola.expect_replay(json!({"type": "message", "seq": 2, "from": "ala"}));
        // No one of the past is here.
        ola.expect_json(json!({"type": "joined", "seq": 3, "id": 4, "color": 0}));
        server.stop();
        assert!(history.read().starts_with(&content));
    }
}

#[test]
fn a_new_file_can_be_read_by_its_owner_alone() {
    let history = History::new();
    let _server = history.server(&[]);
    let mode = fs::metadata(history.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{mode:o}");
}

#[test]
fn the_conversation_its_numbers_and_its_ids_go_on_after_a_restart() {
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
        "* the last 1 messages",
        "ala: before",
        "* end of the past messages",
    ]);
    let mut ola = server.join_json("ola");
    assert_eq!(ola.welcome["room"], room);
    assert_eq!(ola.welcome["seq"], last + 1, "plain's joining came before");
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
fn rooms_without_a_history_have_ids_of_their_own() {
    let one = Server::start(&[]).join_json("ala").welcome["room"].clone();
    let other = Server::start(&[]).join_json("ala").welcome["room"].clone();
    assert!(one.as_str().is_some_and(|id| !id.is_empty()));
    assert_ne!(one, other);
}

#[test]
fn a_torn_last_line_is_cut_off_with_a_notice() {
    let history = History::of(&format!(r#"{ONE}{{"type":"message","seq":3,"ti"#));
    let server = history.server(&[]);
    server.expect_log("! the history's last line was torn: its 29 bytes were cut off");
    let mut ala = server.join("ala");
    ala.expect_all(&[
        "* the last 1 messages",
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
fn a_first_line_that_was_torn_begins_a_new_room() {
    let history = History::of(&ROOM[..20]);
    let server = history.server(&[]);
    server.expect_log("was torn: its 20 bytes were cut off");
    let room = server.join_json("ala").welcome["room"].clone();
    server.stop();
    let first: Value = serde_json::from_str(history.read().lines().next().unwrap()).unwrap();
    assert_eq!(first["room"], room);
    assert_eq!(history.events()[0]["seq"], 1);
}

#[test]
fn an_empty_file_begins_a_room() {
    let history = History::of("");
    let server = history.server(&[]);
    server.join("ala");
    server.stop();
    assert_eq!(history.events()[0]["seq"], 1);
}

#[test]
fn a_damaged_line_is_named_and_the_file_is_left_as_it_is() {
    for (damaged, line) in [
        (format!("{ONE}nonsense\n"), 4),
        (format!("{ONE}\n{{\"torn"), 4),
        (format!("{ONE}{ONE}"), 4),
        (ONE.replace("\"seq\":2", "\"seq\":1"), 3),
        (ONE.replace("\"id\":3,\"name\"", "\"name\""), 2),
        (ONE.replace("2026-01-31T10:00:01.000Z", "yesterday"), 3),
        (format!("{ONE}{{\"type\":\"error\",\"text\":\"x\"}}\n"), 4),
        (format!("{ONE}{{\"type\":\"unheard of\"}}\n"), 4),
        (format!("{ONE}\u{0}\u{0}\u{0}\n"), 4),
        // Behind these there is no number for the next event, or the next member.
        (ONE.replace("\"seq\":2", "\"seq\":18446744073709551615"), 3),
        (
            ONE.replace("\"id\":3,\"name\"", "\"id\":18446744073709551615,\"name\""),
            2,
        ),
        (
            format!("{ONE}{{\"type\":\"missing\",\"count\":18446744073709551613}}\n"),
            4,
        ),
        (
            ONE.replace("def\"", "def\",\"seq\":18446744073709551615"),
            1,
        ),
        ("Dear diary,\ntoday".into(), 1),
        ("Dear diary, today".into(), 1),
        ("{}\n".into(), 1),
    ] {
        let history = History::of(&damaged);
        let place = format!("{}:{line}: ", history.arg());
        history.failing_server().expect_stderr(&place);
        assert_eq!(history.read(), damaged, "untouched");
    }
}

#[test]
fn a_line_is_as_long_as_an_event_may_be_or_damaged() {
    const LONGEST: usize = 64 * 1024;
    // Blanks at the end of a line mean nothing.
    let padded = |length: usize| {
        let message = ONE.lines().last().expect("it has lines");
        let message = message.replace("\"seq\":2", "\"seq\":3");
        let blanks = " ".repeat(length - message.len() - 1);
        format!("{message}{blanks}\n")
    };
    let history = History::of(&format!("{ONE}{}", padded(LONGEST)));
    assert_eq!(history.server(&[]).join_json("ola").welcome["seq"], 3);

    let damaged = format!("{ONE}{}", padded(LONGEST + 1));
    let history = History::of(&damaged);
    let place = format!("{}:4: longer than any event", history.arg());
    history.failing_server().expect_stderr(&place);
    assert_eq!(history.read(), damaged, "untouched");
}

#[test]
fn a_line_without_an_end_takes_no_memory() {
    const TAIL: u64 = 64 * 1024 * 1024;
    let history = History::of(ONE);
    // Nothing of it is on the disk: it is read as zeros.
    history.change(|file| file.set_len(ONE.len() as u64 + TAIL));
    let server = history.server(&[]);
    server.expect_log(&format!("was torn: its {TAIL} bytes were cut off"));
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid()));
    if let Ok(status) = status {
        let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let most = most.and_then(|most| most.trim().strip_suffix(" kB"));
        let kib: u64 = most.expect("it is told").parse().expect("a number");
        assert!(kib < 32 * 1024, "{kib} KiB");
    }
    server.stop();
    assert_eq!(history.events().len(), 3, "and the shutdown");

    // What is not a history at all is not one that was torn.
    let file = File::create(history.path()).expect("it can be written");
    file.set_len(TAIL).expect("it can be long");
    history
        .failing_server()
        .expect_stderr("this is not a history file");
}

#[test]
fn what_a_damaged_line_says_does_not_control_the_operators_terminal() {
    let history = History::of(&format!(
        "{ONE}{}\n",
        r#"{"type":"\u001b]0;title\u0007\u202e"}"#
    ));
    let exit = history.failing_server().expect_stderr(":4: ");
    let said = exit.stderr.trim_end();
    assert!(
        !said.contains(|c: char| c.is_control() || c == '\u{202e}'),
        "{said:?}"
    );
}

#[test]
fn a_damaged_line_that_is_not_utf8_is_named() {
    let history = History::new();
    let mut damaged = ONE.as_bytes().to_vec();
    damaged.extend(b"\xff\xfe\n");
    fs::write(history.path(), &damaged).unwrap();
    history.failing_server().expect_stderr(":4: not UTF-8");
    assert_eq!(fs::read(history.path()).unwrap(), damaged);
}

#[test]
fn a_second_server_on_the_same_file_does_not_start() {
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
fn a_file_that_cannot_be_opened_says_why_and_what_to_try() {
    let folder = History::new();
    for (path, why) in [
        (
            folder.folder.path().join("missing/room.jsonl"),
            "No such file or directory",
        ),
        (folder.folder.path().into(), "Is a directory"),
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
fn what_is_no_file_cannot_be_a_history() {
    let history = History::new();
    let status = Command::new("mkfifo").arg(history.path()).status().unwrap();
    assert!(status.success());
    history
        .failing_server()
        .expect_stderr("is not a file that can hold a history");
    // It would be read without end.
    run(chat_server(&["-p", "0", "--history", "/dev/zero"]))
        .expect_code(1)
        .expect_stderr("is not a file that can hold a history");
}

#[test]
fn what_a_member_is_sent_is_in_the_file_already() {
    let history = History::new();
    let server = history.server(&["--rate", "0"]);
    let mut first = server.join_json("first");
    // It takes some time until all of them are sent something, and the first is sent it first.
    let _others: Vec<Client> = (0..100)
        .map(|number| server.join(&format!("m{number}")))
        .collect();
    for number in 0..50 {
        let text = format!("text {number}");
        first.send(&text);
        while first.json()["text"] != *text {}
        assert!(
            history.read().contains(&text),
            "{text} was sent before it was kept"
        );
    }
}

/// A server whose file may have so many bytes; its limit can be lifted later.
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

const FAILED: &str = "* the server: the history cannot be written: ";

#[test]
fn a_file_that_cannot_be_written_is_told_once_and_the_chat_goes_on() {
    let history = History::new();
    let server = server_with_little_space(&history, 1000, &[]);
    let mut ala = server.join("ala");
    let mut ola = server.join("ola");
    ala.expect("* ola joined");
    let text = "x".repeat(300);
    for _ in 0..10 {
        ala.send(&text);
    }
    let mut heard: Vec<String> = (0..11).map(|_| ola.line()).collect();
    ala.send("/quit");
    heard.extend(ola.skip_to("* ala left"));
    let (told, said): (Vec<&String>, Vec<&String>) =
        heard.iter().partition(|line| line.starts_with('*'));
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with(FAILED), "{told:?}");
    assert_eq!(said.len(), 10, "all that was said came");
    drop(ola);
    let exit = server.stop();
    assert_eq!(
        exit.stdout
            .matches("! the history cannot be written")
            .count(),
        1,
        "{exit:?}"
    );
    // Whole lines only, in order, as far as there was space.
    let kept = history.events();
    assert!(history.read().len() <= 1000);
    let seqs = kept.iter().map(|event| event["seq"].as_u64().unwrap());
    assert!(seqs.eq(1..=kept.len() as u64), "{kept:#?}");
}

#[test]
fn what_was_waiting_is_written_when_that_is_possible_again() {
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
    ala.expect("* the server: the history is written again");
    ala.send("after");
    while json.json()["text"] != "after" {}
    drop((ala, json));
    server.stop();
    let events = history.events();
    let seqs = events.iter().map(|event| event["seq"].as_u64().unwrap());
    assert!(seqs.eq(1..=events.len() as u64), "{events:#?}");
    let said = events
        .iter()
        .filter(|event| event["type"] == "message")
        .count();
    assert_eq!(said, 21);
}

#[test]
fn what_was_waiting_is_written_at_the_end_where_that_is_possible() {
    let history = History::new();
    let server = server_with_little_space(&history, 500, &[]);
    let mut ala = server.join_json_live("ala");
    ala.send(&"x".repeat(500));
    skip_to_type(&mut ala, "server");
    lift_limit(&server);
    let said = server.stop().stdout;
    assert!(!said.contains("are not in the history"), "{said}");
    let last = skip_to_type(&mut ala, "shutdown")["seq"].as_u64().unwrap();
    let events = history.events();
    let seqs = events.iter().map(|event| event["seq"].as_u64().unwrap());
    assert!(seqs.eq(1..=last), "{events:#?}");
}

#[test]
fn what_the_disk_did_not_take_is_told_at_the_end() {
    let history = History::new();
    let server = server_with_little_space(&history, 500, &[]);
    let mut ala = server.join_json_live("ala");
    for _ in 0..10 {
        ala.send(&"x".repeat(100));
    }
    skip_to_type(&mut ala, "server");
    let exit = server.stop();
    let last = skip_to_type(&mut ala, "shutdown")["seq"].as_u64().unwrap();
    let kept = history.events().last().unwrap()["seq"].as_u64().unwrap();
    let count = last - kept;
    exit.expect_stdout(&format!(
        "! the last {count} events are not in the history: File too large"
    ));
}

#[test]
fn beyond_what_may_wait_the_number_of_missing_events_is_kept() {
    const MESSAGES: usize = 1500;
    let history = History::new();
    let server = server_with_little_space(&history, 500, &["--rate", "0"]);
    let mut ala = server.join("ala");
    for number in 0..MESSAGES {
        ala.send(&format!("{number:01000}"));
    }
    ala.expect_start(FAILED);
    // All was said before the limit is lifted.
    ala.send("/online");
    ala.expect("* 1 online: ala");
    lift_limit(&server);
    ala.expect("* the server: the history is written again");
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
    let known = events
        .iter()
        .filter(|event| event["seq"].as_u64().is_some_and(|seq| seq <= last))
        .count() as u64;
    assert_eq!(known + missing[0], last, "each event is there or counted");

    // And the file is a good one.
    let server = history.server(&[]);
    let json = server.join_json("json");
    assert_eq!(
        json.welcome["seq"],
        last + 2,
        "json's joining, the shutdown, and nothing else"
    );
}

#[test]
fn numbers_that_were_given_while_the_disk_was_full_are_not_given_again() {
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
        let kept = history.events().last().unwrap()["seq"].as_u64().unwrap();
        assert!(kept < seen, "{kept}");

        let server = history.server(&[]);
        let lost = seen - kept;
        server.expect_log(&format!(
            "! the last {lost} events are not in the history: they could not be written"
        ));
        let ola = server.join_json("ola");
        assert_eq!(ola.welcome["seq"], seen);
        let id = |client: &Client| client.welcome["id"].as_u64().unwrap();
        assert!(id(&ola) > id(&ala), "nor an id");
        drop(ola);
        server.stop();
        let events = history.events();
        let missing = events.iter().position(|event| event["count"] == lost);
        let next = &events[missing.expect("it is recorded") + 1];
        assert_eq!(next["seq"], seen + 1);

        let server = history.server(&[]);
        server.join("ala");
        let said = server.stop().stdout;
        assert!(!said.contains("are not in the history"), "{said}");
    }
}

#[test]
fn a_first_line_that_was_made_by_somebody_else_is_left_as_it_is() {
    let history = History::of(ONE);
    let server = server_with_little_space(&history, ONE.len() as u64, &[]);
    let mut ala = server.join("ala");
    ala.skip_to("* end of the past messages");
    ala.expect_start(FAILED);
    drop(ala);
    server.stop();
    assert_eq!(history.read(), ONE);
}

#[test]
fn numbers_of_missing_events_are_not_given_again() {
    let history = History::of(&format!("{ONE}{}\n", r#"{"type":"missing","count":7}"#));
    let server = history.server(&[]);
    assert_eq!(server.join_json("ola").welcome["seq"], 9);
}

const ALTERED: &str = "another program has changed the history file";
const MOVED: &str = "the history file was moved, replaced or deleted";

#[test]
fn what_another_program_does_to_the_file_is_told_once_and_the_chat_goes_on() {
    type Meddling = fn(&History);
    let meddlings: [(Meddling, &str); 6] = [
        (
            |history| fs::rename(history.path(), history.other()).unwrap(),
            MOVED,
        ),
        (|history| fs::remove_file(history.path()).unwrap(), MOVED),
        (
            |history| {
                fs::copy(history.path(), history.other()).unwrap();
                fs::rename(history.other(), history.path()).unwrap();
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
    let rooms = meddlings.map(|(meddle, told)| {
        let history = History::new();
        let server = history.server(&[]);
        let ala = server.join("ala");
        meddle(&history);
        (history, server, ala, meddle, told)
    });
    for (history, server, mut ala, meddle, told) in rooms {
        // Without anybody's saying anything.
        ala.expect_start(&format!("* the server: {told}"));
        server.expect_log(&format!("! {told}"));
        if told == ALTERED {
            meddle(&history);
        }
        ala.send_bytes(b"hi\n/online\n");
        ala.expect("* 1 online: ala");
        drop(ala);
        let said = server.stop().stdout;
        assert_eq!(said.matches(&format!("! {told}")).count(), 1, "{said}");
    }
}

#[test]
fn what_is_said_goes_to_the_file_where_it_was_moved() {
    let history = History::new();
    let server = history.server(&[]);
    let mut ala = server.join("ala");
    fs::rename(history.path(), history.other()).unwrap();
    ala.expect_start(&format!("* the server: {MOVED}"));
    ala.send_bytes(b"hi\n/online\n");
    ala.expect("* 1 online: ala");
    drop(ala);
    server.stop();
    fs::rename(history.other(), history.path()).unwrap();
    let events = history.events();
    let kinds = events.iter().map(|event| event["type"].as_str().unwrap());
    assert!(
        kinds.take(3).eq(["joined", "server", "message"]),
        "{events:#?}"
    );
}

#[test]
fn in_a_file_that_was_emptied_the_room_goes_on() {
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
    assert!(id(&ola) > id(&ala), "no id is given again");
}

#[test]
fn a_file_that_was_cut_short_is_not_filled_up_where_it_cannot_be_written() {
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
        assert_ne!(event["type"], "joined", "it was cut off");
    }
}
