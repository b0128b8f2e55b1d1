//! Exhausted resources: descriptors, threads, seats, memory, and time to log in.

use std::io::Write;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use crate::alone;
use support::faults::Faults;
use support::{Client, GREETING, Server, chat_server, json, memory, run, wait_until, with_setup};

#[test]
fn a_server_out_of_descriptors_reports_this_and_later_accepts_the_client() {
    let _alone = alone();
    let server = Server::start(&[]);
    let mut members: Vec<Client> = (0..10)
        .map(|number| server.join(&format!("m{number}")))
        .collect();
    server.limit_descriptors_to_open();
    let mut waiting = server.connect();
    waiting.send("late");
    let report = "! cannot accept connections: Too many open files";
    server.expect_log(report);
    let (before, began) = (server.cpu_time(), Instant::now());
    wait_until("the server reports it again", || {
        let reports = server.program.stdout().matches(report).count();
        (reports > 1).then(|| assert_eq!(reports, 2, "two reports"))
    });
    let share = (server.cpu_time() - before).as_secs_f64() / began.elapsed().as_secs_f64();
    assert!(share < 0.05, "{share} of a processor while waiting");
    // Members can still chat.
    members[0].send("hi");
    members[1].skip_to("m0: hi");
    members.truncate(2);
    waiting.expect(GREETING);
    waiting.expect_start("* welcome, late: ");
    server.stop();
}

#[test]
fn a_storm_of_joins_and_leaves_stays_within_the_thread_limit() {
    /// Threads of members, finishing threads, and the server's own.
    const MAX_THREADS: usize = 128 + 256 + 8;
    let _alone = alone();
    let server = Server::start(&["--rate", "0"]);
    let mut ala = server.join("ala");
    // A long replay makes each join take longer on the delivery thread than on the others.
    for number in 0..100 {
        ala.send(&format!("{number} {}", "x".repeat(1000)));
    }
    ala.send("/online");
    ala.expect("* 1 online: ala");
    let peak = thread::scope(|scope| {
        let storm: Vec<_> = (0..2)
            .map(|storm| {
                let server = &server;
                scope.spawn(move || {
                    for number in 0..2000 {
                        let mut client = server.connect();
                        client.send(&format!("/json n{storm}_{number}"));
                    }
                })
            })
            .collect();
        let mut peak = 0;
        while storm.iter().any(|storm| !storm.is_finished()) {
            let tasks = server.process().tasks().expect("it runs");
            peak = peak.max(tasks.count());
            thread::sleep(Duration::from_millis(5));
        }
        peak
    });
    assert!(peak <= MAX_THREADS, "{peak} threads");
    let mut late = server.connect();
    late.send("/json late");
    // A busy machine needs minutes for the storm, so each line has its own deadline.
    while ala.line() != "* late joined" {}
    late.expect(GREETING);
    late.expect_json(json!({"type": "welcome"}));
    server.stop();
}

#[test]
fn hundreds_of_resumes_of_one_member_do_not_keep_others_out() {
    let _alone = alone();
    let server = Server::start(&["-m", "2"]);
    let ala = server.join_json("ala");
    let token = ala.token();
    // More connections than member threads. Each resume ends the connection before it.
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

/// The number of bytes that the kernel keeps because the client has not read them, for each of the
/// server's connections with such bytes.
fn unread(server: &Server) -> Vec<u32> {
    let sockets = procfs::net::tcp().expect("/proc is mounted");
    let port = server.port();
    sockets
        .into_iter()
        // The FIN at the end of the output counts as one byte.
        .filter(|socket| socket.local_address.port() == port && socket.tx_queue > 1)
        .map(|socket| socket.tx_queue)
        .collect()
}

/// Starts a server with a replay of `messages` messages of 3 KB each. Returns the server, and the
/// token of a member that joined before these messages.
fn start_with_replay(messages: usize) -> (Server, String) {
    let server = Server::start(&["--rate", "0"]);
    let mut ala = server.join_json_live("ala");
    let lines = format!("{}\n", "\x01".repeat(1000)).repeat(messages);
    let mut socket = ala.socket().try_clone().expect("a descriptor is free");
    thread::scope(|scope| {
        scope.spawn(move || socket.write_all(lines.as_bytes()));
        for _ in 0..messages {
            ala.expect_json(json!({"type": "message"}));
        }
    });
    let token = ala.token();
    (server, token)
}

#[test]
fn connections_that_a_member_has_replaced_without_reading_them_are_reset() {
    const CONNECTIONS: usize = 90;
    let _alone = alone();
    let (server, token) = start_with_replay(500);
    let connections: Vec<Client> = (0..CONNECTIONS)
        .map(|_| {
            let mut client = server.connect_with_small_buffer();
            client.send(&format!("/resume {token} 0"));
            // The greeting arrives together with the replay.
            client.expect(GREETING);
            client
        })
        .collect();
    // The current connection is not reset. For this one, the kernel keeps 256 KiB that it could not
    // send, and the rest of a packet.
    wait_until("the replaced connections are reset", || {
        (unread(&server).len() <= 1).then_some(())
    });
    assert!(unread(&server).iter().all(|bytes| *bytes < 384 * 1024));
    drop(connections);
    server.stop();
}

#[test]
fn few_connections_of_members_that_left_stay_open_for_unread_bytes() {
    const CONNECTIONS: usize = 100;
    /// Few enough that the kernel accepts them all, so that no backlog is needed.
    const MESSAGES: usize = 30;
    let _alone = alone();
    let (server, _token) = start_with_replay(MESSAGES);
    let mut connections: Vec<Client> = (0..CONNECTIONS)
        .map(|number| {
            let mut client = server.connect_with_small_buffer();
            client.send(&format!("/json m{number}\n/quit"));
            client.expect(GREETING);
            client
        })
        .collect();
    wait_until("most connections are reset", || {
        (unread(&server).len() <= 64).then_some(())
    });
    // The others can still be read to the end.
    let mut last = connections.pop().expect("there are some");
    last.expect_json(json!({"type": "welcome"}));
    for _ in 0..MESSAGES {
        last.expect_json(json!({"type": "message"}));
    }
    drop(connections);
    server.stop();
}

#[test]
fn a_newcomer_joins_while_hundreds_of_resumes_with_long_replays_wait() {
    const RESUMES: usize = 400;
    let _alone = alone();
    let server = Server::start(&["--rate", "0"]);
    let mut ola = server.join("ola");
    let ala = server.join_json("ala");
    let token = ala.token();
    ala.reset();
    ola.expect_all(&["* ala joined", "* ala left (connection lost)"]);
    // The replay takes 3 MB, because the server replaces each control character with three bytes.
    for _ in 0..1000 {
        ola.send(&"\u{1}".repeat(1000));
    }
    ola.send("/online");
    ola.expect("* 1 online: ola");
    let send_resume = |_| {
        let mut client = server.connect();
        client.send(&format!("/resume {token} 0"));
        client
    };
    let storm: Vec<Client> = (0..RESUMES).map(send_resume).collect();
    server.join("late");
    server.expect_log("* late joined");
    let log = server.program.stdout();
    let before = log.split("* late joined").next().unwrap_or_default();
    let resumed = before.matches("who came back").count();
    assert!(resumed < RESUMES / 2, "{resumed} members resumed first");
    drop(storm);
    server.stop();
}

#[test]
fn a_client_for_which_no_thread_can_start_gets_an_error_and_others_continue() {
    let _alone = alone();
    let faults = Faults::new();
    let server = faults.server(chat_server(&["-p", "0"]));
    let (mut ala, mut ola) = (server.join("ala"), server.join("ola"));
    ala.expect("* ola joined");
    server.wait_for_member_threads(2);
    faults.fail("pthread_create");
    for _ in 0..4 {
        let mut refused = server.connect();
        // Unread input must not prevent the answer from arriving.
        refused.send_bytes(&b"name\n".repeat(100));
        refused.skip_to("! the server has no thread left: try again later");
        refused.expect_end();
        ola.expect_all(&["* name joined", "* name left (no thread)"]);
    }
    server.expect_log("! name cannot be served: Resource temporarily unavailable");
    ala.send("hi");
    ola.expect("ala: hi");
    faults.stop_failing("pthread_create");
    server.join("late");
    ala.skip_to("* late joined");
    server.stop();
}

#[test]
fn a_server_that_cannot_start_its_threads_exits_and_says_what_to_try() {
    let _alone = alone();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let history = directory.path().join("room.jsonl");
    let history = history.to_str().expect("a path in UTF-8");
    let all = {
        let server = Server::start_with_console(&["--history", history]);
        // The accept thread is the last one to start.
        wait_until("the accept thread runs", || {
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
fn a_thousand_silent_connections_do_not_keep_others_out() {
    let _alone = alone();
    let server = Server::start(&[]);
    // Some 20 KiB for each connection that has a seat.
    let silent = server.assert_memory_growth_below(20 * 1024, || {
        let silent: Vec<Client> = (0..1000).map(|_| server.connect()).collect();
        let mut ala = server.join("ala");
        ala.send("/online");
        ala.expect("* 1 online: ala");
        silent
    });
    wait_until("the oldest connections are closed", || {
        (server.descriptors() < 530).then_some(())
    });
    assert!(
        server.threads().len() < 10,
        "a connection without a name has no thread"
    );
    drop(silent);
    server.stop();
}

#[test]
fn strangers_that_send_60_kb_without_a_line_ending_take_little_memory() {
    let _alone = alone();
    let server = Server::start(&[]);
    let bytes = vec![b'x'; 60_000];
    // Of each line, the server keeps no more bytes than the longest valid line has.
    server.assert_memory_growth_below(10 * 1024, || {
        let mut strangers: Vec<Client> = (0..500).map(|_| server.connect()).collect();
        for stranger in &mut strangers {
            stranger.send_bytes(&bytes);
        }
        for stranger in &mut strangers {
            stranger.send("");
            // The server has then read everything.
            while !stranger.line().starts_with("! that line is too long") {}
        }
        strangers
    });
    server.stop();
}

#[test]
fn a_name_sent_byte_by_byte_gets_no_extra_login_time() {
    let _alone = alone();
    let server = Server::start(&["--login-time", "1000"]);
    let mut slow = server.greeted();
    let socket = slow.socket().try_clone().expect("a descriptor");
    let sender = thread::spawn(move || {
        // Write until the connection ends, at the latest with the test.
        while (&socket).write_all(b"a").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    slow.expect("! no name within 1 s: connect again when you have one");
    slow.expect_end();
    // The server keeps reading for a second, so that the reason arrives.
    sender.join().expect("it does not panic");
}

#[test]
fn ten_thousand_short_connections_leak_nothing() {
    let _alone = alone();
    let server = Server::start(&[]);
    let mut ala = server.join("ala");
    server.wait_for_member_threads(1);
    let (descriptors, threads) = (server.descriptors(), server.threads().len());
    server.assert_memory_growth_below(20 * 1024, || {
        for number in 0..10_000 {
            let client = server.connect();
            // Most connections are reset, so that few ports are in TIME_WAIT.
            if number % 10 > 0 {
                client.reset();
            }
        }
        wait_until("threads and descriptors are released", || {
            let is_any_left =
                server.descriptors() > descriptors || server.threads().len() > threads;
            (!is_any_left).then_some(())
        });
    });
    ala.send("/online");
    ala.expect("* 1 online: ala");
    server.stop();
}

#[test]
fn lines_that_never_end_are_not_buffered() {
    const MEMBERS: usize = 100;
    let _alone = alone();
    let server = Server::start(&[]);
    let mut clients: Vec<Client> = (0..MEMBERS)
        .map(|number| server.join(&format!("m{number}")))
        .collect();
    server.wait_for_member_threads(MEMBERS);
    // Two buffers of the longest read for each member, and not the 60 KiB of a line.
    server.assert_memory_growth_below(MEMBERS as u64 * 48, || {
        for client in &mut clients {
            client.send_bytes(&[b'x'; 60 * 1024]);
        }
        for client in &mut clients {
            client.send("");
            client.skip_to("! that line is too long: the limit is 1024 bytes, so send it in parts");
        }
    });
}

#[test]
fn a_stuck_member_is_disconnected_and_a_slow_reader_gets_everything() {
    // More lines than fit in the kernel's buffers, and fewer than a member may be behind.
    const LINES: usize = 300;
    let _alone = alone();
    let server = Server::start_as(with_setup(
        "ulimit -n 256",
        &chat_server(&["-p", "0", "--rate", "0"]),
    ));
    let mut stuck = server.join_with_small_buffer("stuck");
    let mut slow = server.join_with_small_buffer("slow");
    let mut speaker = server.join_json_live("speaker");
    let (memory_before, _) = memory(&server.process());
    let mut sent = 0;
    // Send until both members have a writer thread.
    while server
        .threads()
        .iter()
        .filter(|name| name.starts_with("w:"))
        .count()
        < 2
    {
        for _ in 0..LINES {
            speaker.send(&format!("{sent:01000}"));
            speaker.expect_json(json!({"type": "message"}));
            sent += 1;
        }
    }
    stuck.expect_all(&["* slow joined", "* speaker joined"]);
    slow.expect("* speaker joined");
    let mut received = 0;
    let began = Instant::now();
    thread::scope(|scope| {
        let left = scope.spawn(|| {
            speaker.expect_json(json!({"type": "left", "name": "stuck", "reason": "too slow"}))
        });
        // The slow member reads a line now and then until the stuck one is disconnected.
        while !left.is_finished() && began.elapsed() < support::DEADLINE {
            slow.expect(&format!("speaker: {received:01000}"));
            received += 1;
            thread::sleep(Duration::from_millis(50));
        }
        left.join().expect("the stuck member is disconnected");
    });
    assert!(received < sent, "the slow member is behind");
    for number in received..sent {
        slow.expect(&format!("speaker: {number:01000}"));
    }
    slow.expect("* stuck left (too slow)");
    let growth = memory(&server.process()).1 - memory_before;
    assert!(growth < 10 * 1024, "memory grew by {growth} KiB");
}
