//! The file of typed lines: links and other clients that have it open stay intact.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use support::client::chat_client_for;
use support::faults::Faults;
use support::screen::Screen;
use support::{Client, Server, wait_until};
use tempfile::TempDir;

/// The file of typed lines in a new state directory.
fn file_of_lines() -> (TempDir, PathBuf) {
    let state = tempfile::tempdir().unwrap();
    fs::create_dir(state.path().join("chat-run")).unwrap();
    let file = state.path().join("chat-run/history");
    (state, file)
}

/// Lines `line 1` to `line {count}`.
fn numbered(count: usize) -> String {
    (1..=count).map(|n| format!("line {n}\n")).collect()
}

/// A client that keeps its state in `state`.
#[track_caller]
fn start(server: &Server, state: &Path, name: &str) -> Screen {
    let mut command = chat_client_for(server, &["-n", name]);
    command.env("XDG_STATE_HOME", state);
    let client = Screen::start(&command, 60, 10);
    client.expect(&format!("* welcome, {name}"));
    client
}

/// Types a line and waits until it was sent.
#[track_caller]
fn say(client: &mut Screen, to: &mut Client, line: &str) {
    client.type_keys(&format!("{line}\r"));
    to.skip_to(&format!("ala: {line}"));
}

#[track_caller]
fn leave(mut client: Screen) {
    client.type_keys("\x03");
    assert_eq!(client.end().exit_code(), 0);
}

#[test]
fn a_linked_file_of_typed_lines_is_shortened_in_place_and_keeps_its_mode() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let (state, link) = file_of_lines();
    let elsewhere = state.path().join("lines");
    fs::write(&elsewhere, numbered(2001)).unwrap();
    fs::set_permissions(&elsewhere, Permissions::from_mode(0o640)).unwrap();
    let before = fs::metadata(&elsewhere).unwrap();
    symlink(&elsewhere, &link).unwrap();
    let mut ala = start(&server, state.path(), "ala");
    say(&mut ala, &mut ola, "the last one");
    leave(ala);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    let after = fs::metadata(&elsewhere).unwrap();
    assert_eq!((after.ino(), after.mode()), (before.ino(), before.mode()));
    let kept = fs::read_to_string(&elsewhere).unwrap();
    let expected = numbered(2001).split_off(numbered(1001).len()) + "the last one\n";
    assert_eq!(kept, expected);
    assert_eq!(fs::read_dir(state.path()).unwrap().count(), 2);
    assert_eq!(fs::read_dir(link.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn a_history_file_behind_a_dangling_link_is_created_readable_only_by_its_owner() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let (state, link) = file_of_lines();
    let elsewhere = state.path().join("lines");
    symlink(&elsewhere, &link).unwrap();
    let mut ala = start(&server, state.path(), "ala");
    say(&mut ala, &mut ola, "first");
    leave(ala);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "first\n");
    assert_eq!(fs::metadata(&elsewhere).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn three_clients_that_share_a_file_of_typed_lines_lose_no_line() {
    let server = Server::start(&["--rate", "0", "--replay", "0"]);
    let mut ola = server.join("ola");
    let (state, file) = file_of_lines();
    fs::write(&file, numbered(2001)).unwrap();
    let mut clients = ["ala", "jan", "ewa"].map(|name| start(&server, state.path(), name));
    for round in 0..20 {
        for (index, client) in clients.iter_mut().enumerate() {
            client.type_keys(&format!("round {round} of client {index}\r"));
        }
    }
    let mut said = 0;
    while said < 60 {
        said += usize::from(ola.line().contains(" of client "));
    }
    // A client that starts while others have the long file open doesn't shorten it.
    let mut added = fs::OpenOptions::new().append(true).open(&file).unwrap();
    std::io::Write::write_all(&mut added, numbered(2001).as_bytes()).unwrap();
    leave(start(&server, state.path(), "iga"));
    for client in clients {
        leave(client);
    }
    let kept = fs::read_to_string(&file).unwrap();
    for round in 0..20 {
        for index in 0..3 {
            let line = format!("round {round} of client {index}\n");
            assert_eq!(kept.matches(&line).count(), 1, "{line}");
        }
    }
    assert!(kept.ends_with(&numbered(2001)));
    // The next client is alone, so it shortens the file.
    leave(start(&server, state.path(), "ala"));
    let kept = fs::read_to_string(&file).unwrap();
    assert_eq!(kept.lines().count(), 1000);
}

#[test]
fn a_locked_file_of_typed_lines_does_not_block_the_client() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let (state, file) = file_of_lines();
    fs::write(&file, "earlier\n").unwrap();
    let locked = fs::File::open(&file).unwrap();
    locked.lock().unwrap();
    let mut ala = start(&server, state.path(), "ala");
    say(&mut ala, &mut ola, "one");
    assert_eq!(fs::read_to_string(&file).unwrap(), "earlier\n");
    locked.unlock().unwrap();
    say(&mut ala, &mut ola, "two");
    wait_until("both lines are in the file", || {
        (fs::read_to_string(&file).unwrap() == "earlier\none\ntwo\n").then_some(())
    });
    leave(ala);
}

#[test]
fn a_damaged_file_of_typed_lines_is_read_and_continued_on_a_new_line() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let (state, file) = file_of_lines();
    let before = b"\xef\xbb\xbffirst\r\n\na\xffb\nto\x1brn";
    fs::write(&file, before).unwrap();
    let mut ala = start(&server, state.path(), "ala");
    // The emulator doesn't show the replacement character between the letters.
    for shown in ["to␛rn", "ab", "first"] {
        ala.type_keys("\x1b[A");
        ala.expect(&format!("> {shown}\n"));
    }
    ala.type_keys("\x15");
    say(&mut ala, &mut ola, "next");
    leave(ala);
    assert_eq!(
        fs::read(&file).unwrap(),
        [&before[..], b"\nnext\n"].concat()
    );
}

#[test]
fn without_file_locks_typed_lines_are_saved_but_their_file_is_not_shortened() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let (state, file) = file_of_lines();
    fs::write(&file, numbered(2001)).unwrap();
    let faults = Faults::new();
    faults.fail("flock");
    let mut command = chat_client_for(&server, &["-n", "ala"]);
    command.env("XDG_STATE_HOME", state.path());
    let mut ala = Screen::start(&faults.in_command(command), 60, 10);
    ala.expect("* welcome, ala");
    say(&mut ala, &mut ola, "one");
    leave(ala);
    assert_eq!(fs::read_to_string(&file).unwrap(), numbered(2001) + "one\n");
}

#[test]
fn a_client_without_a_state_directory_still_recalls_its_lines() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    // No directory can be created in /proc.
    let mut ala = start(&server, Path::new("/proc/state"), "ala");
    say(&mut ala, &mut ola, "one");
    ala.type_keys("\x1b[A");
    ala.expect("> one");
    leave(ala);
}

#[test]
fn saving_a_shorter_name_through_a_link_leaves_nothing_of_the_longer_name() {
    let server = Server::start(&[]);
    let (state, file) = file_of_lines();
    let elsewhere = state.path().join("elsewhere");
    let link = file.with_file_name("name");
    fs::write(&elsewhere, "Maximilian 3ID12\n").unwrap();
    symlink(&elsewhere, &link).unwrap();
    let mut command = chat_client_for(&server, &[]);
    command.env("XDG_STATE_HOME", state.path());
    let mut ala = Screen::start(&command, 60, 10);
    ala.expect("[Maximilian 3ID12]");
    ala.type_keys("ala\r");
    ala.expect("* welcome, ala");
    wait_until("the name is saved", || {
        (fs::read_to_string(&elsewhere).unwrap() == "ala\n").then_some(())
    });
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    leave(ala);
}
