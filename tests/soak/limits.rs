//! What the server bears, and what it says where it does not.

use std::io::Write;
use std::thread;

use crate::alone;
use support::{Client, GREETING, Server, chat_server, json, wait_until, with_setup};

/// A line of 1,000 bytes with a number in it.
fn long_line(number: usize) -> String {
    format!("{number:01000}")
}

/// Says long lines with these numbers, and waits for each of them to be sent to all, itself included.
fn say_long(speaker: &mut Client, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let line = long_line(number);
        speaker.send(&line);
        speaker.expect_json(json!({"type": "message", "text": line}));
    }
}

#[test]
fn a_stranger_that_asks_without_end_and_reads_nothing_is_not_waited_for() {
    let _alone = alone();
    let server = Server::start(&[]);
    let stranger = server.connect_with_small_buffer();
    let questions = "/help\n".repeat(1000);
    let mut socket = stranger.socket();
    // The server gives it up, and so breaks the connection.
    let ended = wait_until("it is given up", || {
        socket.write_all(questions.as_bytes()).err()
    });
    assert_ne!(ended.kind(), std::io::ErrorKind::WouldBlock, "{ended}");
    server.expect_log("is gone, without a name");
    server.stop();
}

#[test]
fn a_full_room_says_so_and_a_place_that_is_left_is_free() {
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
fn of_those_who_left_the_last_thousand_can_come_back() {
    let _alone = alone();
    let server = Server::start(&["--replay", "0", "-m", "3"]);
    let mut ola = server.join("ola");
    // Who was here before them all, and leaves after them, is one of the last.
    let first = server.join_json("first");
    let first_token = first.token();
    let tokens: Vec<String> = (0..1001)
        .map(|number| {
            let member = server.join_json(&format!("m{number}"));
            let token = member.token();
            member.hang_up();
            ola.skip_to(&format!("* m{number} left"));
            token
        })
        .collect();
    first.hang_up();
    ola.skip_to("* first left");
    let mut stranger = server.greeted();
    for token in &tokens[..2] {
        stranger.send(&format!("/resume {token} 0"));
        let unknown = "nobody can come back by that token: log in with /json NAME";
        stranger.expect_json(json!({"type": "error", "text": unknown}));
    }
    assert_eq!(server.resume(&first_token, 0).welcome["name"], "first");
    for number in [2, 1000] {
        let back = server.resume(&tokens[number], 0);
        assert_eq!(back.welcome["name"], format!("m{number}"));
        back.hang_up();
        ola.skip_to(&format!("* m{number} left"));
    }
}

#[test]
fn a_client_that_sends_too_fast_is_slowed_down_and_loses_nothing() {
    const LINES: usize = 17;
    let _alone = alone();
    // A burst of 10, and then 1 a second.
    let server = Server::start(&["--rate", "1"]);
    let mut ola = server.join("ola");
    let mut ala = server.join("ala");
    ola.expect("* ala joined");
    let lines: String = (0..LINES).map(|number| format!("{number}\n")).collect();
    ala.send_bytes(lines.as_bytes());
    for number in 0..10 {
        ola.expect(&format!("ala: {number}"));
    }
    // Nobody else is slowed down: this overtakes what is to come for seven seconds.
    ola.send("hi");
    ala.expect("ola: hi");
    let mut jan = server.join("jan");
    let past = jan.skip_to("* end of the past messages");
    assert!(past.len() < 2 + LINES, "all of it passed at once: {past:?}");
    ola.skip_to("* jan joined");
    ala.finish_sending();
    let rest = jan.skip_to("* ala left");
    let heard: Vec<String> = past
        .into_iter()
        .chain(rest)
        .filter(|line| line.starts_with("ala: "))
        .collect();
    let all: Vec<String> = (0..LINES).map(|number| format!("ala: {number}")).collect();
    assert_eq!(heard, all);
}

#[test]
fn without_a_limit_nobody_is_slowed_down() {
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
fn a_client_that_is_cut_gets_the_reason_even_when_it_has_more_to_send() {
    let _alone = alone();
    let mut server = Server::start_with_console(&["--rate", "1"]);
    let mut ola = server.join("ola");
    let mut ala = server.join("ala");
    ola.expect("* ala joined");
    // Ten pass; what is left is in the server's hands, and in the kernel's.
    ala.send_bytes("flood\n".repeat(20_000).as_bytes());
    for _ in 0..10 {
        ola.expect("ala: flood");
    }
    server.type_line("/kick ala too much");
    ola.skip_to("* ala left (kicked: too much)");
    // It goes on as if nothing had happened, which does not break the connection before it has read.
    ala.send_bytes("flood\n".repeat(200_000).as_bytes());
    ala.skip_to("! you were kicked: too much");
    ala.expect_end();
}

#[test]
fn a_stranger_that_is_refused_gets_the_reason_even_when_it_has_more_to_send() {
    const HELPS: usize = 200;
    let _alone = alone();
    let server = Server::start(&[]);
    let mut stranger = server.connect_with_small_buffer();
    // The kernel holds back most of the answers when the connection ends, and has input that nobody reads.
    stranger.send_bytes("/help\n".repeat(HELPS).as_bytes());
    stranger.send_bytes("*\n".repeat(10_000).as_bytes());
    stranger.expect(GREETING);
    for _ in 0..4 * HELPS {
        stranger.expect_start("* ");
    }
    for _ in 0..5 {
        stranger.expect("! a name begins with a letter or digit");
    }
    stranger.expect("! that was wrong 5 times: connect again");
    stranger.expect_end();
}

#[test]
fn a_client_that_is_slowed_down_is_gone_when_its_connection_breaks() {
    let _alone = alone();
    let server = Server::start(&["--rate", "1"]);
    let mut ola = server.join("ola");
    let mut ala = server.join("ala");
    ola.expect("* ala joined");
    ala.send_bytes("flood\n".repeat(50).as_bytes());
    for _ in 0..10 {
        ola.expect("ala: flood");
    }
    ala.reset();
    let rest = ola.skip_to("* ala left (connection lost)");
    assert!(rest.iter().all(|line| line == "ala: flood"), "{rest:?}");
}

#[test]
fn the_stranger_that_has_waited_longest_gives_its_seat_to_one_more() {
    let _alone = alone();
    let server = Server::start(&[]);
    let mut first = server.greeted();
    let mut second = server.greeted();
    let mut others: Vec<Client> = (2..512).map(|_| server.connect()).collect();
    for stranger in &mut others {
        stranger.expect(GREETING);
    }
    let mut last = server.greeted();
    first.expect("! too many are waiting without a name: connect again");
    first.expect_end();
    // A member takes no seat of a stranger.
    second.send("ala");
    second.expect_start("* welcome, ala: ");
    let _one_more = server.greeted();
    last.send("ola");
    last.expect_start("* welcome, ola: ");
}

#[test]
fn where_descriptors_are_few_the_server_says_so_and_goes_on_with_what_there_is() {
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
    let mut strangers: Vec<Client> = (0..8).map(|_| server.greeted()).collect();
    let mut last = server.greeted();
    strangers[0].expect("! too many are waiting without a name: connect again");
    strangers[0].expect_end();
    members.pop();
    members[0].skip_to("* m23 left");
    last.send("ola");
    last.expect_start("* welcome, ola: 24 online");
}

#[test]
#[cfg(target_os = "linux")]
fn where_mappings_are_few_the_server_says_how_many_members_have_a_thread() {
    let _alone = alone();
    let server = Server::start(&["-m", "20000"]);
    let mappings = std::fs::read_to_string("/proc/sys/vm/max_map_count").expect("Linux has it");
    let threads = (mappings.trim().parse::<usize>().expect("a number") - 1024) / 4;
    // An eighth is for threads that write, 256 are for connections that end.
    let members = threads - threads / 8 - 256;
    server.expect_log("only this machine can join");
    if members < 20_000 {
        let mend = "raise `sysctl vm.max_map_count`";
        server.expect_log(&format!(
            "! {threads} threads are enough for {members} members, not 20000: {mend}"
        ));
    }
    server.stop();
}

#[test]
fn who_gives_no_name_in_time_is_closed_with_a_reason() {
    let _alone = alone();
    let server = Server::start(&["--login-time", "2000"]);
    let mut ala = server.join("ala");
    let mut silent = server.greeted();
    let mut slow = server.greeted();
    slow.send_bytes(b"o");
    let mut wrong = server.greeted();
    wrong.send("*");
    wrong.expect_start("! a name begins");
    for stranger in [&mut silent, &mut slow, &mut wrong] {
        stranger.expect("! no name within 2 s: connect again when you have one");
        stranger.expect_end();
    }
    // A member has all the time in the world.
    ala.send("/online");
    ala.expect("* 1 online: ala");
}

#[test]
fn a_thousand_lines_without_a_name_are_enough() {
    let _alone = alone();
    let server = Server::start(&[]);
    let mut stranger = server.greeted();
    stranger.send_bytes(&[b'\n'; 1000]);
    stranger.expect("! 1000 lines without a name: connect again");
    stranger.expect_end();
    let mut late = server.greeted();
    late.send_bytes(&[b'\n'; 999]);
    late.send("ala");
    late.expect_start("* welcome, ala: 1 online");
}

#[test]
fn sixty_four_kib_without_a_line_ending_end_a_member_with_a_reason() {
    let _alone = alone();
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let mut ala = server.join("ala");
    ola.expect("* ala joined");
    ala.send_bytes(b"before\n");
    ala.send_bytes(&vec![b'x'; 64 * 1024]);
    ala.expect("! 64 KiB without a line ending: end each line with LF");
    ala.expect_end();
    ola.expect_all(&["ala: before", "* ala left (a line without end)"]);
}

#[test]
fn sixty_four_kib_without_a_line_ending_end_a_stranger_with_a_reason() {
    let _alone = alone();
    let server = Server::start(&[]);
    let mut stranger = server.greeted();
    stranger.send_bytes(&vec![b'x'; 64 * 1024]);
    stranger.expect("! 64 KiB without a line ending: end each line with LF");
    stranger.expect_end();
}

#[test]
fn less_than_64_kib_without_a_line_ending_is_a_line_that_is_too_long() {
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
fn a_member_that_does_not_read_is_cut_with_a_reason_and_delays_nobody() {
    let _alone = alone();
    let server = Server::start(&["--rate", "0"]);
    let mut ola = server.join("ola");
    let slow = server.join_with_small_buffer("slow");
    let mut speaker = server.join_json_live("speaker");
    ola.expect_all(&["* slow joined", "* speaker joined"]);
    let mut said = 0;
    // All that the kernel takes, and half a MiB behind that.
    let cut = thread::scope(|scope| {
        let listener = scope.spawn(move || {
            let mut heard = 0;
            loop {
                let line = ola.line();
                if line.starts_with('*') {
                    assert_eq!(line, "* slow left (too slow)");
                    // The reason waits for a second.
                    let mut slow = slow;
                    return (heard, slow.lines_to_end());
                }
                assert_eq!(line, format!("speaker: {}", long_line(heard)));
                heard += 1;
            }
        });
        while !listener.is_finished() && said < 20_000 {
            let line = long_line(said);
            speaker.send(&line);
            while speaker.json()["text"] != *line {}
            said += 1;
        }
        listener.join().unwrap()
    });
    let (heard, mut lines) = cut;
    let reason = lines.pop().unwrap();
    assert_eq!(
        reason,
        "! you were cut: your connection takes messages too slowly; join again"
    );
    assert_eq!(lines.remove(0), "* speaker joined");
    assert!(lines.len() < heard, "it got {} of {heard}", lines.len());
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
    // More than the kernel takes, and less than a member may be behind.
    let mut said = 0;
    while !has_writer(&server, "slow") {
        say_long(&mut speaker, said..said + 50);
        said += 50;
    }
    say_long(&mut speaker, said..said + 100);
    said += 100;
    speaker.send("/msg slow psst");
    speaker.expect_json(json!({"type": "private", "to": "slow"}));
    for number in 0..said {
        slow.expect(&format!("speaker: {}", long_line(number)));
    }
    slow.expect("[speaker] psst");
    // It has caught up, and what follows comes in its place.
    wait_until("its writer has ended", || {
        (!has_writer(&server, "slow")).then_some(())
    });
    say_long(&mut speaker, said..said + 1);
    slow.expect(&format!("speaker: {}", long_line(said)));
}

/// Whether `name` is so far behind that a thread of its own writes to it.
fn has_writer(server: &Server, name: &str) -> bool {
    server.threads().contains(&format!("w:{name}"))
}

#[test]
fn a_long_past_does_not_cut_a_newcomer_that_reads_slowly() {
    // More than the kernel takes, and half a MiB behind that.
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
    wait_until("a thread writes to the slow one", || {
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
