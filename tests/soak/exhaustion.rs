//! What the server does where something has run out: descriptors, threads, seats, memory, patience.

use std::io::Write;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use crate::alone;
use support::faults::Faults;
use support::{Client, GREETING, Server, chat_server, json, memory, run, wait_until, with_setup};

#[test]
fn without_descriptors_it_waits_without_spinning_says_so_now_and_then_and_recovers() {
    let _alone = alone();
    let server = Server::start(&[]);
    let mut members: Vec<Client> = (0..10)
        .map(|number| server.join(&format!("m{number}")))
        .collect();
    server.limit_descriptors_to_open();
    let mut waiting = server.connect();
    waiting.send("late");
    let complaint = "! nobody can connect: Too many open files";
    server.expect_log(complaint);
    let (before, began) = (server.cpu_time(), Instant::now());
    wait_until("it complains once more", || {
        let said = server.program.stdout().matches(complaint).count();
        (said > 1).then(|| assert_eq!(said, 2, "it is told twice"))
    });
    let share = (server.cpu_time() - before).as_secs_f64() / began.elapsed().as_secs_f64();
    assert!(share < 0.05, "{share} of a processor, for nothing");
    // Those who are here chat on meanwhile.
    members[0].send("hi");
    members[1].skip_to("m0: hi");
    members.truncate(2);
    waiting.expect(GREETING);
    waiting.expect_start("* welcome, late: ");
    server.stop();
}

#[test]
fn a_storm_of_those_who_join_and_are_gone_takes_no_more_threads_than_there_are_places() {
    /// Members, those that end, and the threads of the server itself.
    const PLACES: usize = 128 + 256 + 8;
    let _alone = alone();
    let server = Server::start(&["--rate", "0"]);
    let mut ala = server.join("ala");
    // A past that takes the delivery thread longer than a coming takes the others.
    for number in 0..100 {
        ala.send(&format!("{number} {}", "x".repeat(1000)));
    }
    ala.send("/online");
    ala.expect("* 1 online: ala");
    let most = thread::scope(|scope| {
        let storm: Vec<_> = (0..2)
            .map(|storm| {
                let server = &server;
                scope.spawn(move || {
                    for number in 0..2000 {
                        let mut gone = server.connect();
                        gone.send(&format!("/json n{storm}_{number}"));
                    }
                })
            })
            .collect();
        let mut most = 0;
        while storm.iter().any(|storm| !storm.is_finished()) {
            let tasks = server.process().tasks().expect("it runs");
            most = most.max(tasks.count());
            thread::sleep(Duration::from_millis(5));
        }
        most
    });
    assert!(most <= PLACES, "it had {most} threads");
    ala.send("hi");
    server.join_json("late");
    server.stop();
}

#[test]
fn a_storm_of_those_who_come_back_keeps_nobody_out() {
    let _alone = alone();
    let server = Server::start(&["-m", "2"]);
    let ala = server.join_json("ala");
    let token = ala.token();
    // More than there are threads for members, none of which has one yet, and each ends the one before.
    let mut storm: Vec<Client> = (0..400).map(|_| server.greeted()).collect();
    for client in &mut storm {
        client.send(&format!("/resume {token} 0"));
    }
    for client in &mut storm {
        client.expect_json(json!({"type": "welcome", "name": "ala"}));
    }
    server.join("late");
    server.stop();
}

#[test]
fn without_a_thread_a_client_is_told_and_the_others_go_on() {
    let _alone = alone();
    let faults = Faults::new();
    let server = faults.server(chat_server(&["-p", "0"]));
    let (mut ala, mut ola) = (server.join("ala"), server.join("ola"));
    ala.expect("* ola joined");
    server.wait_for_member_threads(2);
    faults.fail("pthread_create");
    for _ in 0..4 {
        let mut refused = server.connect();
        // What it has sent already does not cost it the answer.
        refused.send_bytes(&b"name\n".repeat(100));
        refused.skip_to("! the server has no thread left: try again later");
        refused.expect_end();
        ola.expect_all(&["* name joined", "* name left (no thread)"]);
    }
    let complaint = "! name cannot be served: Resource temporarily unavailable";
    server.expect_log(complaint);
    ala.send("hi");
    ola.expect("ala: hi");
    faults.stop_failing("pthread_create");
    server.join("late");
    ala.skip_to("* late joined");
    server.stop();
}

#[test]
fn a_server_that_cannot_have_one_of_its_threads_says_what_to_try_and_does_not_start() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let history = folder.path().join("room.jsonl");
    let history = history.to_str().expect("a path in UTF-8");
    let all = {
        let server = Server::start_with_console(&["--history", history]);
        // The last that it starts.
        wait_until("it accepts", || {
            let threads = server.threads();
            threads
                .contains(&"accept".to_owned())
                .then_some(threads.len() - 1)
        })
    };
    let command = || {
        let mut command = chat_server(&["-p", "0", "--supervised", "--history", history]);
        command.stdin(Stdio::piped());
        command
    };
    for count in 0..all {
        let faults = Faults::new();
        faults.fail_after("pthread_create", count);
        run(faults.in_command(command()))
            .expect_code(1)
            .expect_stderr("raise `ulimit -u`");
    }
    let faults = Faults::new();
    faults.fail_after("pthread_create", all);
    let server = faults.server(command());
    let mut refused = server.join("ala");
    refused.expect("! the server has no thread left: try again later");
}

#[test]
fn a_thousand_silent_connections_keep_nobody_out() {
    let _alone = alone();
    let server = Server::start(&[]);
    // Some 20 KiB for each of those that have a seat.
    let silent = server.assert_memory_growth_below(20 * 1024, || {
        let silent: Vec<Client> = (0..1000).map(|_| server.connect()).collect();
        let mut ala = server.join("ala");
        ala.send("/online");
        ala.expect("* 1 online: ala");
        silent
    });
    wait_until("who came too early for a seat is gone", || {
        (server.descriptors() < 530).then_some(())
    });
    assert!(server.threads().len() < 10, "a stranger has no thread");
    drop(silent);
    server.stop();
}

#[test]
fn a_name_that_comes_byte_by_byte_has_no_more_time_than_another() {
    let _alone = alone();
    let server = Server::start(&["--login-time", "1000"]);
    let mut slow = server.greeted();
    let socket = slow.socket().try_clone().expect("a descriptor");
    let dripping = thread::spawn(move || {
        // Until the connection is over, which it is in any case when the test is.
        while (&socket).write_all(b"a").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    slow.expect("! no name within 1 s: connect again when you have one");
    slow.expect_end();
    // The server reads on for a second, so that its reason arrives.
    dripping.join().expect("it does not panic");
}

#[test]
fn ten_thousand_connects_and_closes_leave_nothing_behind() {
    let _alone = alone();
    let server = Server::start(&[]);
    let mut ala = server.join("ala");
    server.wait_for_member_threads(1);
    let (descriptors, threads) = (server.descriptors(), server.threads().len());
    server.assert_memory_growth_below(20 * 1024, || {
        for number in 0..10_000 {
            let client = server.connect();
            // Most break off, so that no port has to wait.
            if number % 10 > 0 {
                client.reset();
            }
        }
        wait_until("their threads and descriptors are gone", || {
            let is_left = server.descriptors() > descriptors || server.threads().len() > threads;
            (!is_left).then_some(())
        });
    });
    ala.send("/online");
    ala.expect("* 1 online: ala");
    server.stop();
}

#[test]
fn lines_that_never_end_are_not_kept() {
    const MEMBERS: usize = 100;
    let _alone = alone();
    let server = Server::start(&[]);
    let mut clients: Vec<Client> = (0..MEMBERS)
        .map(|number| server.join(&format!("m{number}")))
        .collect();
    server.wait_for_member_threads(MEMBERS);
    // Two buffers of the longest read each, and not 60 KiB more.
    server.assert_memory_growth_below(MEMBERS as u64 * 48, || {
        for client in &mut clients {
            client.send_bytes(&[b'x'; 60 * 1024]);
        }
        for client in &mut clients {
            client.send("");
            client.skip_to("! that line is too long: it may have 1024 bytes, send it in parts");
        }
    });
}

#[test]
fn a_member_without_progress_is_cut_and_one_that_reads_slowly_gets_everything() {
    // More than the kernel takes, and less than a member may be behind.
    const LINES: usize = 300;
    let _alone = alone();
    let server = Server::start_as(with_setup(
        "ulimit -n 256",
        &chat_server(&["-p", "0", "--rate", "0"]),
    ));
    let mut stuck = server.join_with_small_buffer("stuck");
    let mut slow = server.join_with_small_buffer("slow");
    let mut speaker = server.join_json_live("speaker");
    let (began_with, _) = memory(&server.process());
    let mut said = 0;
    // Until both have a thread of their own that writes to them.
    while server
        .threads()
        .iter()
        .filter(|name| name.starts_with("w:"))
        .count()
        < 2
    {
        for _ in 0..LINES {
            speaker.send(&format!("{said:01000}"));
            speaker.expect_json(json!({"type": "message"}));
            said += 1;
        }
    }
    stuck.expect_all(&["* slow joined", "* speaker joined"]);
    slow.expect("* speaker joined");
    let mut heard = 0;
    let began = Instant::now();
    thread::scope(|scope| {
        let left = scope.spawn(|| {
            speaker.expect_json(json!({"type": "left", "name": "stuck", "reason": "too slow"}))
        });
        // It takes a little now and then, for longer than the other one takes nothing.
        while !left.is_finished() && began.elapsed() < support::DEADLINE {
            slow.expect(&format!("speaker: {heard:01000}"));
            heard += 1;
            thread::sleep(Duration::from_millis(50));
        }
        left.join().expect("the stuck one is cut");
    });
    assert!(heard < said, "it was slow");
    for number in heard..said {
        slow.expect(&format!("speaker: {number:01000}"));
    }
    slow.expect("* stuck left (too slow)");
    let took = memory(&server.process()).1 - began_with;
    assert!(took < 10 * 1024, "it took {took} KiB");
}
