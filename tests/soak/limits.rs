//! The server's limits, and its messages when a client exceeds one.

use std::io::Write;
#[cfg(target_os = "linux")]
use std::net::Ipv4Addr;
use std::ops::Range;
use std::thread;

use crate::alone;
use support::{Client, GREETING, Server, chat_server, json, wait_until, with_setup};

/// A number padded with zeros to 1000 bytes.
fn long_line(number: usize) -> String {
    format!("{number:01000}")
}

/// Sends long lines with these numbers, and waits for the echo of each.
fn send_long_lines(speaker: &mut Client, numbers: Range<usize>) {
    for number in numbers {
        let line = long_line(number);
        speaker.send(&line);
        speaker.expect_json(json!({"type": "message", "text": line}));
    }
}

#[test]
fn a_client_that_sends_endlessly_and_reads_nothing_is_disconnected() {
    let _alone = alone();
    let server = Server::start(&[]);
    let client = server.connect_with_small_buffer();
    let questions = "/help\n".repeat(1000);
    let mut socket = client.socket();
    // The server closes the connection with unread input, which resets it.
    let error = wait_until("the client is disconnected", || {
        socket.write_all(questions.as_bytes()).err()
    });
    assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}");
    server.expect_log("left before joining");
    server.stop();
}

#[test]
fn a_full_room_says_so_and_a_vacated_place_can_be_taken() {
    let _alone = alone();
    let server = Server::start(&["-m", "2"]);
    let mut ala = server.join("ala");
    let mut ola = server.join("ola");
    ala.expect("* ola joined");
    let mut jan = server.greeted();
    jan.send("jan");
    jan.expect("! the room is full (2)");
    jan.expect_end();
    let mut json = server.greeted();
    json.send("/json jan");
    json.expect_json(json!({"type": "error", "text": "the room is full (2)"}));
    json.expect_end();
    ola.send("/quit");
    ala.expect("* ola left");
    server.join("jan");
    ala.expect("* jan joined");
}

#[test]
fn an_absent_member_resumes_without_loss_after_1300_clients_join_and_reset() {
    let _alone = alone();
    let server = Server::start(&["--replay", "0"]);
    let mut ola = server.join("ola");
    let student = server.join_json("student");
    let (token, last) = (student.token(), student.welcome["seq"].clone());
    let mut join_and_reset = |numbers: Range<u32>| {
        for number in numbers {
            server.join_json(&format!("m{number}")).reset();
            ola.skip_to(&format!("* m{number} left (connection lost)"));
        }
    };
    // The student is present for a while, and then absent for longer.
    join_and_reset(0..20);
    student.reset();
    server.join_json_live("ala").send("missed");
    join_and_reset(20..1320);
    let mut back = server.resume(&token, last.as_u64().unwrap());
    assert_eq!(back.welcome["name"], "student");
    back.expect_replay(json!({"type": "message", "from": "ala", "text": "missed"}));
}

#[test]
fn a_client_that_sends_too_fast_is_slowed_down_without_loss() {
    const LINES: usize = 17;
    let _alone = alone();
    // The rate allows a burst of ten lines, and then one line a second.
    let server = Server::start(&["--rate", "1"]);
    let mut ola = server.join("ola");
    let mut ala = server.join("ala");
    ola.expect("* ala joined");
    let lines: String = (0..LINES).map(|number| format!("{number}\n")).collect();
    ala.send_bytes(lines.as_bytes());
    for number in 0..10 {
        ola.expect(&format!("ala: {number}"));
    }
    // Others are not slowed down: this message arrives before the remaining lines, which take seven
    // seconds.
    ola.send("hi");
    ala.expect("ola: hi");
    let mut jan = server.join("jan");
    let replayed = jan.skip_to("* end of the past messages");
    assert!(
        replayed.len() < 2 + LINES,
        "all lines were accepted at once: {replayed:?}"
    );
    ola.skip_to("* jan joined");
    ala.finish_sending();
    let rest = jan.skip_to("* ala left");
    let received: Vec<String> = replayed
        .into_iter()
        .chain(rest)
        .filter(|line| line.starts_with("ala: "))
        .collect();
    let all: Vec<String> = (0..LINES).map(|number| format!("ala: {number}")).collect();
    assert_eq!(received, all);
}

#[test]
fn without_a_rate_limit_no_client_is_slowed_down() {
    let _alone = alone();
    let server = Server::start(&["--rate", "0"]);
    let mut ola = server.join("ola");
    let mut ala = server.join("ala");
    let lines: String = (0..5000).map(|number| format!("{number}\n")).collect();
    ala.send_bytes(lines.as_bytes());
    ola.expect("* ala joined");
    for number in 0..5000 {
        ola.expect(&format!("ala: {number}"));
    }
}

#[test]
fn a_kicked_client_gets_the_reason_even_while_it_is_sending() {
    let _alone = alone();
    let mut server = Server::start_with_console(&["--rate", "1"]);
    let mut ola = server.join("ola");
    let mut ala = server.join("ala");
    ola.expect("* ala joined");
    // Ten lines are accepted; the rest waits in the server's and the kernel's buffers.
    ala.send_bytes("flood\n".repeat(20_000).as_bytes());
    for _ in 0..10 {
        ola.expect("ala: flood");
    }
    server.type_line("/kick ala too much");
    ola.skip_to("* ala left (kicked: too much)");
    // Lines that `ala` still sends must not reset the connection before `ala` has read the reason.
    ala.send_bytes("flood\n".repeat(200_000).as_bytes());
    ala.skip_to("! you were kicked: too much");
    ala.expect_end();
}

#[test]
fn a_refused_client_gets_the_reason_even_while_it_is_sending() {
    const HELPS: usize = 200;
    let _alone = alone();
    let server = Server::start(&[]);
    let mut client = server.connect_with_small_buffer();
    // When the server closes, the kernel still holds most answers, and there is unread input.
    client.send_bytes("/help\n".repeat(HELPS).as_bytes());
    client.send_bytes("*\n".repeat(10_000).as_bytes());
    client.expect(GREETING);
    for _ in 0..4 * HELPS {
        client.expect_start("* ");
    }
    for _ in 0..5 {
        client.expect("! a name begins with a letter or digit");
    }
    client.expect("! that was wrong 5 times: connect again");
    client.expect_end();
}

#[test]
fn a_client_that_hangs_up_delivers_no_more_lines_than_the_rate_permits() {
    const LINES: usize = 3000;
    let _alone = alone();
    let server = Server::start(&["--rate", "1"]);
    let mut ola = server.join("ola");
    let mut ala = server.join("ala");
    ola.expect("* ala joined");
    // Long blank lines make the server read more bytes at once.
    ala.send_bytes(format!("{}\n", " ".repeat(1000)).repeat(4).as_bytes());
    ala.send_bytes("a\n".repeat(LINES).as_bytes());
    ola.expect("ala: a");
    ala.reset();
    let rest = ola.skip_to("* ala left (connection lost)");
    assert!(rest.iter().all(|line| line == "ala: a"), "{rest:?}");
    // A burst of ten, and one more for each second that this test took so far.
    assert!(rest.len() < LINES / 10, "{} were delivered", rest.len());
}

#[test]
fn resuming_in_a_loop_delivers_no_more_lines_than_the_rate_permits() {
    const LINES: usize = 200;
    let _alone = alone();
    let server = Server::start(&["--rate", "1"]);
    let mut ola = server.join("ola");
    let token = server.join_json("ala").token();
    let mut delivered = 0;
    for _ in 0..5 {
        let mut ala = server.connect().named("ala");
        ala.send_bytes(format!("/resume {token} 999\n{}", "a\n".repeat(LINES)).as_bytes());
        ala.expect(GREETING);
        ala.expect_json(json!({"type": "welcome"}));
        ala.reset();
        let lines = ola.skip_to("* ala left (connection lost)");
        delivered += lines.iter().filter(|line| *line == "ala: a").count();
    }
    assert!(delivered < LINES, "{delivered} were delivered");
}

#[test]
fn joining_again_does_not_renew_the_burst_of_an_address() {
    const MEMBERS: usize = 80;
    let _alone = alone();
    // The rate allows a burst of ten lines, and then one line a second.
    let server = Server::start(&["--rate", "1"]);
    let mut ola = server.join_json_live("ola");
    let lines: String = (0..10).map(|number| format!("{number}\n")).collect();
    // While no one leaves, each member has a burst.
    let mut members: Vec<Client> = (0..MEMBERS)
        .map(|number| server.join(&format!("m{number}")))
        .collect();
    for member in &mut members {
        member.send_bytes(lines.as_bytes());
    }
    let mut delivered = 0;
    while delivered < MEMBERS {
        delivered += usize::from(ola.json()["text"] == "9");
    }
    for member in members {
        member.hang_up();
    }
    let mut late = server.join("late");
    late.send_bytes(lines.as_bytes());
    while ola.json()["from"] != "late" {}
    ola.send("hi");
    loop {
        let event = ola.json();
        match event["from"].as_str() {
            Some("ola") => break,
            Some("late") => assert_ne!(event["text"], "9", "all lines were delivered at once"),
            _ => {}
        }
    }
}

#[test]
fn each_online_answer_in_a_large_room_counts_as_many_lines_and_delays_no_one() {
    const MEMBERS: usize = 250;
    const LINES: usize = 20;
    let _alone = alone();
    // The rate allows a burst of ten lines, and then one line a second.
    let server = Server::start(&["-m", "300", "--rate", "1"]);
    let _members: Vec<Client> = (0..MEMBERS)
        .map(|number| server.join(&format!("m{number}")))
        .collect();
    let mut ala = server.join_json("ala");
    let mut ola = server.join("ola");
    ala.send_bytes("/online\n".repeat(LINES).as_bytes());
    let mut answers = 0;
    loop {
        let event = ala.json();
        if event["type"] == "online" {
            answers += 1;
            if answers == 1 {
                ola.send("hi");
            }
        }
        if event["text"] == "hi" {
            break;
        }
    }
    // Each answer counts as 26 lines, so the second one takes 17 s more.
    assert_eq!(answers, 1);
}

#[test]
fn the_oldest_connection_without_a_name_makes_room_for_a_new_one() {
    let _alone = alone();
    let server = Server::start(&[]);
    let mut first = server.greeted();
    let mut second = server.greeted();
    let mut others: Vec<Client> = (2..512).map(|_| server.connect()).collect();
    for client in &mut others {
        client.expect(GREETING);
    }
    let mut last = server.greeted();
    first.expect("! too many clients are logging in: connect again");
    first.expect_end();
    // A login frees a seat, so one more connection fits.
    second.send("ala");
    second.expect_start("* welcome, ala: ");
    let _one_more = server.greeted();
    last.send("ola");
    last.expect_start("* welcome, ola: ");
}

#[test]
#[cfg(target_os = "linux")]
fn an_address_that_connects_in_a_loop_does_not_close_the_login_of_another_address() {
    let _alone = alone();
    let server = Server::start(&[]);
    let mut person = server.greeted();
    let attacker = Ipv4Addr::new(127, 0, 0, 2);
    let mut others: Vec<Client> = (0..600).map(|_| server.connect_from(attacker)).collect();
    others[599].expect(GREETING);
    others[0].expect(GREETING);
    others[0].expect("! too many clients are logging in: connect again");
    person.send("ala");
    person.expect_start("* welcome, ala: ");
}

#[test]
fn with_few_descriptors_the_server_says_so_and_admits_fewer_members() {
    let _alone = alone();
    let server = Server::start_as(with_setup("ulimit -n 64", &chat_server(&["-p", "0"])));
    let warning = server.expect_log("descriptors");
    assert!(
        warning.ends_with("! 64 descriptors are enough for 24 members, not 128: raise `ulimit -n`"),
        "{warning}"
    );
    let mut members: Vec<Client> = (0..24)
        .map(|number| server.join(&format!("m{number}")))
        .collect();
    for _ in 0..3 {
        let mut late = server.greeted();
        late.send("late");
        late.expect("! the room is full (24)");
        late.expect_end();
    }
    let mut nameless: Vec<Client> = (0..8).map(|_| server.greeted()).collect();
    let mut last = server.greeted();
    nameless[0].expect("! too many clients are logging in: connect again");
    nameless[0].expect_end();
    members.pop();
    members[0].skip_to("* m23 left");
    last.send("ola");
    last.expect_start("* welcome, ola: 24 online");
}

#[test]
fn with_few_memory_mappings_the_server_says_how_many_members_fit() {
    let _alone = alone();
    let server = Server::start(&["-m", "20000"]);
    let mappings = std::fs::read_to_string("/proc/sys/vm/max_map_count").expect("Linux has it");
    let threads = (mappings.trim().parse::<usize>().expect("a number") - 1024) / 4;
    // An eighth is for writer threads, and 256 are for threads of closing connections.
    let members = threads - threads / 8 - 256;
    server.expect_log("only this machine can join");
    if members < 20_000 {
        let fix = "raise `sysctl vm.max_map_count`";
        server.expect_log(&format!(
            "! {threads} threads are enough for {members} members, not 20000: {fix}"
        ));
    }
    server.stop();
}

#[test]
fn a_connection_without_a_name_in_time_is_closed_with_a_reason() {
    let _alone = alone();
    let server = Server::start(&["--login-time", "2000"]);
    let mut ala = server.join("ala");
    let mut silent = server.greeted();
    let mut slow = server.greeted();
    slow.send_bytes(b"o");
    let mut wrong = server.greeted();
    wrong.send("*");
    wrong.expect_start("! a name begins");
    for client in [&mut silent, &mut slow, &mut wrong] {
        client.expect("! no name within 2 s: connect again when you have one");
        client.expect_end();
    }
    // A member has no time limit.
    ala.send("/online");
    ala.expect("* 1 online: ala");
}

#[test]
fn a_thousand_lines_without_a_name_close_the_connection() {
    let _alone = alone();
    let server = Server::start(&[]);
    let mut client = server.greeted();
    client.send_bytes(&[b'\n'; 1000]);
    client.expect("! 1000 lines without a name: connect again");
    client.expect_end();
    let mut late = server.greeted();
    late.send_bytes(&[b'\n'; 999]);
    late.send("ala");
    late.expect_start("* welcome, ala: 1 online");
}

#[test]
fn a_member_that_sends_64_kib_without_a_line_ending_is_disconnected() {
    let _alone = alone();
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let mut ala = server.join("ala");
    ola.expect("* ala joined");
    ala.send_bytes(b"before\n");
    ala.send_bytes(&vec![b'x'; 64 * 1024]);
    ala.expect("! no line ending in 64 KiB: end each line with LF");
    ala.expect_end();
    ola.expect_all(&["ala: before", "* ala left (no line ending in 64 KiB)"]);
}

#[test]
fn a_client_that_sends_64_kib_before_login_is_disconnected() {
    let _alone = alone();
    let server = Server::start(&[]);
    let mut client = server.greeted();
    client.send_bytes(&vec![b'x'; 64 * 1024]);
    client.expect("! no line ending in 64 KiB: end each line with LF");
    client.expect_end();
}

#[test]
fn a_line_of_just_under_64_kib_is_refused_and_the_connection_stays_open() {
    let _alone = alone();
    let server = Server::start(&[]);
    let mut ala = server.join("ala");
    ala.send_bytes(&vec![b'x'; 64 * 1024 - 1]);
    ala.send("");
    ala.expect_start("! that line is too long");
    ala.send("/online");
    ala.expect("* 1 online: ala");
}

#[test]
fn a_member_that_does_not_read_is_disconnected_without_delaying_others() {
    let _alone = alone();
    let server = Server::start(&["--rate", "0"]);
    let mut ola = server.join("ola");
    let slow = server.join_with_small_buffer("slow");
    let mut speaker = server.join_json_live("speaker");
    ola.expect_all(&["* slow joined", "* speaker joined"]);
    let mut sent = 0;
    // Fills the kernel's buffers and the 512 KiB that a member may be behind.
    let (received, mut lines) = thread::scope(|scope| {
        let listener = scope.spawn(move || {
            let mut received = 0;
            loop {
                let line = ola.line();
                if line.starts_with('*') {
                    assert_eq!(line, "* slow left (too slow)");
                    // The server keeps the connection open so that the reason can be read.
                    let mut slow = slow;
                    return (received, slow.lines_to_end());
                }
                assert_eq!(line, format!("speaker: {}", long_line(received)));
                received += 1;
            }
        });
        while !listener.is_finished() && sent < 20_000 {
            let line = long_line(sent);
            speaker.send(&line);
            while speaker.json()["text"] != *line {}
            sent += 1;
        }
        listener.join().unwrap()
    });
    let reason = lines.pop().unwrap();
    assert_eq!(
        reason,
        "! you were cut: your connection takes messages too slowly; join again"
    );
    assert_eq!(lines.remove(0), "* speaker joined");
    assert!(
        lines.len() < received,
        "it got {} of {received}",
        lines.len()
    );
    for (number, line) in lines.iter().enumerate() {
        assert_eq!(*line, format!("speaker: {}", long_line(number)));
    }
}

#[test]
fn a_member_that_reads_late_but_in_time_misses_nothing() {
    let _alone = alone();
    let server = Server::start(&["--rate", "0"]);
    let mut slow = server.join_with_small_buffer("slow");
    let mut speaker = server.join_json_live("speaker");
    slow.expect("* speaker joined");
    // Send more lines than fit in the kernel's buffers, and fewer than a member may be behind.
    let mut sent = 0;
    while !has_writer(&server, "slow") {
        send_long_lines(&mut speaker, sent..sent + 50);
        sent += 50;
    }
    send_long_lines(&mut speaker, sent..sent + 100);
    sent += 100;
    speaker.send("/msg slow psst");
    speaker.expect_json(json!({"type": "private", "to": "slow"}));
    for number in 0..sent {
        slow.expect(&format!("speaker: {}", long_line(number)));
    }
    slow.expect("[speaker] psst");
    // After `slow` has caught up, later lines arrive in order.
    wait_until("the writer thread has exited", || {
        (!has_writer(&server, "slow")).then_some(())
    });
    send_long_lines(&mut speaker, sent..sent + 1);
    slow.expect(&format!("speaker: {}", long_line(sent)));
}

/// Whether `name` is so far behind that it has its own writer thread.
fn has_writer(server: &Server, name: &str) -> bool {
    server.threads().contains(&format!("w:{name}"))
}

#[test]
fn a_newcomer_that_reads_a_long_replay_slowly_stays_connected() {
    // More than the kernel's buffers and the 512 KiB that a member may be behind.
    const MESSAGES: usize = 7000;
    let _alone = alone();
    let server = Server::start(&["--rate", "0", "--replay", "all"]);
    let mut speaker = server.join("speaker");
    for number in 0..MESSAGES {
        speaker.send(&long_line(number));
    }
    speaker.send("/online");
    speaker.expect("* 1 online: speaker");
    let mut slow = server.join_with_small_buffer("slow");
    speaker.expect("* slow joined");
    wait_until("a writer thread serves the slow member", || {
        has_writer(&server, "slow").then_some(())
    });
    for number in MESSAGES..MESSAGES + 200 {
        speaker.send(&long_line(number));
    }
    speaker.send("/online");
    speaker.expect("* 2 online: speaker, slow");
    slow.expect(&format!("* the last {MESSAGES} messages"));
    for number in 0..MESSAGES {
        slow.expect(&format!("speaker: {}", long_line(number)));
    }
    slow.expect("* end of the past messages");
    for number in MESSAGES..MESSAGES + 200 {
        slow.expect(&format!("speaker: {}", long_line(number)));
    }
}
