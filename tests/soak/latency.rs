//! How long messages take while other clients connect or send as fast as they can.
//!
//! The tests check that nothing is lost. `./run.sh soak MINUTES` prints the times.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::alone;
use support::{Client, Server};

/// Number of messages that are timed. It is below the burst at the default rate.
const MESSAGES: usize = 90;

/// Pause between two timed messages.
const PACE: Duration = Duration::from_millis(20);

/// Sends messages from one member to another while `attack` runs, and prints how long they took.
/// `attack` runs until its flag is set, and returns the number to print before `what`.
#[track_caller]
fn report_latency(server: &Server, what: &str, attack: impl FnOnce(&AtomicBool) -> usize + Send) {
    let (mut ala, mut ola) = (server.join("ala"), server.join("ola"));
    ala.expect("* ola joined");
    let over = &AtomicBool::new(false);
    let (times, count) = thread::scope(|scope| {
        let attack = scope.spawn(move || attack(over));
        let mut times: Vec<Duration> = (0..MESSAGES)
            .map(|number| {
                let sent = Instant::now();
                ala.send(&format!("timed {number}"));
                let line = format!("ala: timed {number}");
                while ola.line() != line {}
                let time = sent.elapsed();
                thread::sleep(PACE);
                time
            })
            .collect();
        over.store(true, Ordering::Relaxed);
        times.sort_unstable();
        (times, attack.join().expect("the attack did not fail"))
    });
    let (median, slowest) = (times[MESSAGES / 2], times[MESSAGES - 1]);
    eprintln!("latency: {count} {what}: median {median:.1?}, slowest {slowest:.1?}");
}

#[test]
fn messages_arrive_while_clients_connect_and_reset_as_fast_as_they_can() {
    let _alone = alone();
    let server = Server::start(&[]);
    report_latency(&server, "connects and resets", |over| {
        let attack = || {
            let mut count = 0;
            while !over.load(Ordering::Relaxed) {
                server.connect().reset();
                count += 1;
            }
            count
        };
        thread::scope(|scope| {
            let attacks = [(); 4].map(|()| scope.spawn(attack));
            attacks.map(|attack| attack.join().expect("it does not panic"))
        })
        .iter()
        .sum()
    });
    server.stop();
}

#[test]
fn messages_arrive_while_a_hundred_members_send_short_lines_as_fast_as_they_can() {
    let _alone = alone();
    let server = Server::start(&[]);
    let members: Vec<Client> = (0..100)
        .map(|number| server.join(&format!("m{number}")))
        .collect();
    report_latency(&server, "flooders", |over| {
        let mut buffer = vec![0; 64 * 1024];
        for member in &members {
            let socket = member.socket();
            socket.set_nonblocking(true).expect("it is a socket");
        }
        while !over.load(Ordering::Relaxed) {
            for member in &members {
                // An error means that the socket is full, or has no input.
                let _ = member.socket().write(&[b'a', b'\n'].repeat(512));
                let _ = member.socket().read(&mut buffer);
            }
        }
        members.len()
    });
    server.stop();
}
