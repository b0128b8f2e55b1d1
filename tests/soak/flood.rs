//! Many members that send as much as they may at once, and members that read fast, slowly or not
//! at all.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use crate::alone;
use support::client::chat_client_for;
use support::{Client, Program, Server};

/// Number of lines in a burst at the default rate.
const BURST: usize = 100;

/// Reads lines with chat-client until `expected` of them contain `part`. Returns the number of such
/// lines, which is smaller if the client is disconnected.
#[track_caller]
fn read_with_client(server: &Server, part: &str, expected: usize, send: impl FnOnce()) -> usize {
    let mut command = chat_client_for(server, &["-n", "teacher", "--no-reconnect"]);
    command.stdout(std::process::Stdio::piped());
    let mut client = Program::start_unread(command);
    let mut lines = BufReader::new(client.take_stdout()).lines();
    let welcome = lines.next().expect("a line").expect("text");
    assert!(welcome.contains("welcome"), "{welcome}");
    thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let lines = lines.map_while(Result::ok);
            let with_part = lines.filter(|line| line.contains(part));
            with_part.take(expected).count()
        });
        send();
        reader.join().expect("the reader did not panic")
    })
}

/// Sends `lines` as `name`, and reads everything until the server closes the connection.
fn send_and_read(server: &Server, name: &str, lines: &str) {
    let mut member = server.join(name);
    let mut socket = member.socket().try_clone().expect("a descriptor is free");
    let reader = thread::spawn(move || std::io::copy(&mut socket, &mut std::io::sink()));
    member.send_bytes(lines.as_bytes());
    member.finish_sending();
    // An error means that the connection broke, which the receivers notice as missing lines.
    let _ = reader.join().expect("the reader did not panic");
}

/// Asserts that a client that keeps reading gets every line, while each of `senders` members joins,
/// sends a burst of `line` and leaves, `rounds` times in a row. `shown` is a part of each line as
/// the client shows it.
#[track_caller]
fn expect_all_lines(senders: usize, rounds: usize, line: &str, shown: &str) {
    let server = Server::start(&[]);
    let lines = line.repeat(BURST);
    let expected = senders * rounds * BURST;
    let received = read_with_client(&server, shown, expected, || {
        thread::scope(|scope| {
            for sender in 0..senders {
                let (server, lines) = (&server, &lines);
                scope.spawn(move || {
                    for round in 0..rounds {
                        send_and_read(server, &format!("m{sender}x{round}"), lines);
                    }
                });
            }
        });
    });
    assert_eq!(received, expected);
}

/// A line of control characters, each of which takes three bytes when it is relayed.
fn controls(start: &str) -> String {
    format!("{start} {}\n", "\x01".repeat(1000))
}

#[test]
fn a_client_that_keeps_reading_survives_private_bursts_from_many_members() {
    let _alone = alone();
    expect_all_lines(24, 1, &controls("/msg teacher"), "␁");
}

#[test]
fn a_client_that_keeps_reading_survives_public_bursts_from_many_members() {
    let _alone = alone();
    expect_all_lines(40, 1, &controls("burst"), "burst");
}

#[test]
fn a_reading_client_survives_members_that_repeatedly_join_send_and_leave() {
    let _alone = alone();
    expect_all_lines(8, 4, &controls("burst"), "burst");
}

/// Floods a room in which the member `slow` reads with `read`, until `slow` is disconnected.
/// Another member reads everything.
#[track_caller]
fn flood_until_slow_is_cut(read: impl FnOnce(&Client) + Send) {
    const SENDERS: usize = 4;
    let _alone = alone();
    let server = Server::start(&["--rate", "0"]);
    let mut ola = server.join("ola");
    let slow = server.join_with_small_buffer("slow");
    ola.expect("* slow joined");
    let line = format!("{}\n", "x".repeat(1000));
    let senders: Vec<Client> = (0..SENDERS)
        .map(|number| server.join(&format!("m{number}")))
        .collect();
    thread::scope(|scope| {
        for sender in &senders {
            let (mut socket, line) = (sender.socket(), line.as_bytes());
            scope.spawn(move || std::io::copy(&mut socket, &mut std::io::sink()));
            // Sending fails when the test shuts the socket down.
            scope.spawn(move || while sender.socket().write_all(line).is_ok() {});
        }
        scope.spawn(|| read(&slow));
        while ola.line() != "* slow left (too slow)" {}
        for client in &senders {
            // An error means that the server has closed the connection.
            let _ = client.socket().shutdown(Shutdown::Both);
        }
    });
}

#[test]
fn a_member_that_does_not_read_is_disconnected_while_many_others_send() {
    flood_until_slow_is_cut(|_| {});
}

#[test]
fn a_member_that_reads_very_slowly_is_disconnected_while_many_others_send() {
    flood_until_slow_is_cut(|slow| {
        let mut buffer = [0; 4096];
        while let Ok(1..) = slow.socket().read(&mut buffer) {
            thread::sleep(Duration::from_millis(20));
        }
    });
}

#[test]
fn at_most_sixteen_members_that_read_slowly_take_megabytes_of_the_servers_memory() {
    const SLOW: usize = 20;
    let _alone = alone();
    let server = Server::start(&["--rate", "0"]);
    let mut ola = server.join("ola");
    let slow: Vec<Client> = (0..SLOW)
        .map(|number| server.join_with_small_buffer(&format!("s{number}")))
        .collect();
    let lines = format!("{}\n", "x".repeat(1000)).repeat(3000) + "end\n";
    let left = thread::scope(|scope| {
        for slow in &slow {
            scope.spawn(|| {
                let mut buffer = [0; 4096];
                while let Ok(1..) = slow.socket().read(&mut buffer) {
                    thread::sleep(Duration::from_millis(20));
                }
            });
        }
        scope.spawn(|| send_and_read(&server, "ala", &lines));
        let lines = ola.skip_to("ala: end");
        for slow in &slow {
            // An error means that the server has closed the connection.
            let _ = slow.socket().shutdown(Shutdown::Both);
        }
        lines
            .iter()
            .filter(|line| line.ends_with("left (too slow)"))
            .count()
    });
    assert!(left >= SLOW - 16, "{left}");
}
