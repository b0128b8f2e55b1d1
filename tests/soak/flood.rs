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

/// Reads lines with chat-client until so many of them contain `part`. Returns their number, which
/// is smaller if the client is disconnected.
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

#[test]
fn a_client_that_keeps_reading_survives_private_bursts_from_many_members() {
    const SENDERS: usize = 24;
    let _alone = alone();
    let server = Server::start(&[]);
    // A relayed control character takes three bytes.
    let lines = format!("/msg teacher {}\n", "\x01".repeat(1000)).repeat(BURST);
    let received = read_with_client(&server, "␁", SENDERS * BURST, || {
        thread::scope(|scope| {
            for number in 0..SENDERS {
                let (server, lines) = (&server, &lines);
                scope.spawn(move || send_and_read(server, &format!("m{number}"), lines));
            }
        });
    });
    assert_eq!(received, SENDERS * BURST);
}

#[test]
fn a_client_that_keeps_reading_survives_public_bursts_from_many_members() {
    const SENDERS: usize = 40;
    let _alone = alone();
    let server = Server::start(&[]);
    let lines = format!("burst {}\n", "\x01".repeat(1000)).repeat(BURST);
    let received = read_with_client(&server, "burst", SENDERS * BURST, || {
        thread::scope(|scope| {
            for number in 0..SENDERS {
                let (server, lines) = (&server, &lines);
                scope.spawn(move || send_and_read(server, &format!("m{number}"), lines));
            }
        });
    });
    assert_eq!(received, SENDERS * BURST);
}

#[test]
fn a_client_that_keeps_reading_survives_members_that_join_send_a_burst_and_leave_in_a_loop() {
    const SENDERS: usize = 8;
    const ROUNDS: usize = 4;
    let _alone = alone();
    let server = Server::start(&[]);
    let lines = format!("burst {}\n", "\x01".repeat(1000)).repeat(BURST);
    let expected = SENDERS * ROUNDS * BURST;
    let received = read_with_client(&server, "burst", expected, || {
        thread::scope(|scope| {
            for sender in 0..SENDERS {
                let (server, lines) = (&server, &lines);
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        send_and_read(server, &format!("m{sender}x{round}"), lines);
                    }
                });
            }
        });
    });
    assert_eq!(received, expected);
}

/// Floods a room in which the member `slow` reads with `read`, until `slow` is cut. Another member
/// reads everything.
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
fn a_member_that_does_not_read_is_cut_while_many_send() {
    flood_until_slow_is_cut(|_| {});
}

#[test]
fn a_member_that_reads_a_trickle_cannot_hold_the_room() {
    flood_until_slow_is_cut(|slow| {
        let mut buffer = [0; 4096];
        while let Ok(1..) = slow.socket().read(&mut buffer) {
            thread::sleep(Duration::from_millis(20));
        }
    });
}
