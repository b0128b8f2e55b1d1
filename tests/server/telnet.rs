//! Clients that speak telnet (RFC 854), or send each key as it is pressed.

use std::io::Read;

use support::{Client, GREETING, Server, json};

const IAC: u8 = 255;
const DONT: u8 = 254;
const DO: u8 = 253;
const WONT: u8 = 252;
const WILL: u8 = 251;
const SB: u8 = 250;
const ERASE_LINE: u8 = 248;
const ERASE_CHARACTER: u8 = 247;
const ARE_YOU_THERE: u8 = 246;
const INTERRUPT: u8 = 244;
const DATA_MARK: u8 = 242;
const SE: u8 = 240;

const TIMING_MARK: u8 = 6;
const WINDOW_SIZE: u8 = 31;

/// Two members, of which the first one sends telnet commands.
fn ala_and_ola(server: &Server) -> [Client; 2] {
    let mut ala = server.join("ala");
    let ola = server.join("ola");
    ala.expect("* ola joined");
    [ala, ola]
}

#[test]
fn a_telnet_client_can_join_and_talk() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let mut ala = server.connect();
    // The first bytes that PuTTY sends.
    ala.send_bytes(&[
        IAC, WILL, 31, IAC, WILL, 32, IAC, WILL, 24, IAC, WILL, 39, IAC, DO, 1, IAC, WILL, 3, IAC,
        DO, 3,
    ]);
    let answers = [
        IAC, DONT, 31, IAC, DONT, 32, IAC, DONT, 24, IAC, DONT, 39, IAC, WONT, 1, IAC, DONT, 3,
        IAC, WONT, 3,
    ];
    // On a busy machine, the greeting may come before some of the answers.
    let mut bytes = ala.bytes(answers.len() + GREETING.len() + 1);
    let greeting = bytes
        .windows(GREETING.len())
        .position(|part| part == GREETING.as_bytes());
    let greeting = greeting.expect("a greeting among the bytes");
    bytes.drain(greeting..=greeting + GREETING.len());
    assert_eq!(bytes, answers);
    ala.send_bytes(b"ala 3ID12\r\n");
    ala.expect("* welcome, ala: 2 online; /help lists the commands");
    ala.send_bytes(b"zazolc\r\n/online\r\n");
    ala.expect("* 2 online: ola, ala (3ID12)");
    ola.expect_all(&["* ala (3ID12) joined", "ala: zazolc"]);
}

#[test]
fn telnet_commands_are_taken_out_of_any_place_in_a_line() {
    let server = Server::start(&[]);
    let [mut ala, mut ola] = ala_and_ola(&server);
    let commands: [&[u8]; 10] = [
        &[IAC, 241], // no operation
        &[IAC, 249], // go ahead
        &[IAC, INTERRUPT],
        &[IAC, 243], // break
        &[IAC, 239], // end of record
        &[IAC, WONT, 1],
        &[IAC, DONT, 3],
        &[IAC, SB, 24, 0, b'x', b'\n', b'\r', IAC, SE],
        &[IAC, SB, WINDOW_SIZE, 0, IAC, IAC, 0, 24, IAC, SE],
        &[IAC, DATA_MARK],
    ];
    for command in commands {
        for at in 0..=5 {
            ala.send_bytes(&[&b"hello"[..at], command, &b"hello"[at..], b"\n"].concat());
            ola.expect("ala: hello");
        }
        ala.send_bytes(&[b"hello\r", command, b"\n"].concat());
        ola.expect("ala: hello");
    }
    ala.send("/online");
    ala.expect("* 2 online: ala, ola");
}

#[test]
fn after_ctrl_c_telnet_gets_the_timing_mark_that_it_waits_for() {
    let server = Server::start(&[]);
    let [mut ala, mut ola] = ala_and_ola(&server);
    for _ in 0..3 {
        ala.send_bytes(&[IAC, INTERRUPT, IAC, DO, TIMING_MARK]);
        ala.expect_bytes(&[IAC, WONT, TIMING_MARK]);
    }
    ala.send("still here");
    ola.expect("ala: still here");
    ola.send("yes");
    ala.expect("ola: yes");
}

#[test]
fn a_telnet_data_mark_sent_as_urgent_data_does_not_break_a_line() {
    let server = Server::start(&[]);
    let [mut ala, mut ola] = ala_and_ola(&server);
    ala.send_bytes(&[b'h', IAC, INTERRUPT, IAC]);
    let sent = socket2::SockRef::from(ala.socket()).send_out_of_band(&[DATA_MARK]);
    assert_eq!(sent.unwrap(), 1);
    ala.send_bytes(&[IAC, DO, TIMING_MARK, b'i', b'\n']);
    ala.expect_bytes(&[IAC, WONT, TIMING_MARK]);
    ola.expect("ala: hi");
}

#[test]
fn each_telnet_option_is_refused_once_and_a_refusal_is_not_answered() {
    let server = Server::start(&["--rate", "0"]);
    let mut login = server.greeted();
    let [ala, _ola] = ala_and_ola(&server);
    for client in [&mut login, &mut { ala }] {
        for _ in 0..3 {
            for option in (0..=255).filter(|option| *option != TIMING_MARK) {
                client.send_bytes(&[IAC, WILL, option, IAC, DO, option]);
                client.send_bytes(&[IAC, WONT, 1, IAC, DONT, 1]);
            }
        }
        for option in (0..=255).filter(|option| *option != TIMING_MARK) {
            client.expect_bytes(&[IAC, DONT, option, IAC, WONT, option]);
        }
        client.send("/help");
        client.expect_start("* ");
    }
}

#[test]
fn an_answer_to_a_telnet_command_does_not_split_a_line() {
    let server = Server::start(&[]);
    let [mut ala, mut ola] = ala_and_ola(&server);
    for number in 0..50 {
        ola.send(&format!("{number}"));
        ala.send_bytes(&[IAC, ARE_YOU_THERE]);
    }
    for number in 0..50 {
        let is_answer = |line: &str| line == "* the server is here";
        let lines = ala.skip_to(&format!("ola: {number}"));
        assert!(lines.iter().all(|line| is_answer(line)), "{lines:?}");
    }
}

#[test]
fn a_telnet_client_can_check_that_the_server_is_there_and_erase_typed_text() {
    let server = Server::start(&[]);
    let mut ala = server.greeted();
    ala.send_bytes(&[IAC, ARE_YOU_THERE]);
    ala.expect("* the server is here");
    ala.send_bytes(&[b'a', b'l', b'x', IAC, ERASE_CHARACTER, b'a', b'\n']);
    ala.expect_start("* welcome, ala:");
    ala.send_bytes(&[IAC, ARE_YOU_THERE]);
    ala.expect("* the server is here");
    let mut ola = server.join("ola");
    ala.send_bytes(&[b"one\r\0two", &[IAC, ERASE_LINE][..], b"three\r\0"].concat());
    ola.expect_all(&["ala: one", "ala: three"]);
}

#[test]
fn bytes_that_are_neither_telnet_nor_utf8_are_refused() {
    let server = Server::start(&[]);
    let [mut ala, mut ola] = ala_and_ola(&server);
    let lines: [&[u8]; 7] = [
        b"\xff\n",
        b"\xff\xff\n",
        b"a\xffb\n",
        b"\xff\xfe\n",
        b"\xff\xfc\r\n",
        // UTF-16 with its byte order mark.
        b"\xff\xfeh\0i\0\n",
        b"caf\xe9\n",
    ];
    for line in lines {
        ala.send_bytes(line);
        ala.expect("! that line is not UTF-8: set your terminal to UTF-8");
    }
    ala.send("hi");
    ola.expect("ala: hi");
}

#[test]
fn a_subnegotiation_that_never_ends_closes_the_connection() {
    let server = Server::start(&[]);
    let login = server.greeted();
    let [ala, mut ola] = ala_and_ola(&server);
    for mut client in [login, ala] {
        client.send_bytes(&[IAC, SB, 24]);
        client.send_bytes(&b"endless\n".repeat(8 * 1024));
        client.expect("! no line ending in 64 KiB: end each line with LF");
        client.expect_end();
    }
    ola.expect("* ala left (no line ending in 64 KiB)");
}

#[test]
fn a_flood_of_telnet_commands_gets_few_answers_and_does_not_disturb_others() {
    let server = Server::start(&["--rate", "0"]);
    let [mut ala, mut ola] = ala_and_ola(&server);
    let commands = [IAC, DO, TIMING_MARK, IAC, ARE_YOU_THERE].repeat(12_000);
    for _ in 0..50 {
        ala.send_bytes(&commands);
        ala.send("");
    }
    ala.send("done");
    ola.expect("ala: done");
    ola.send("hi");
    let mut got = Vec::new();
    while !got.ends_with(b"ola: hi\n") {
        let mut byte = [0];
        ala.socket().read_exact(&mut byte).unwrap();
        got.extend(byte);
    }
    // The server sent at most one answer of each kind per read, not 1,200,000.
    assert!(got.len() < 500_000, "{} bytes", got.len());
}

#[test]
fn a_backspace_erases_a_character_of_a_plain_client() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let mut ala = server.greeted();
    ala.send_bytes(b"olx\x08\x7f\x7fala 3\x083ID12\r\n");
    ala.expect_start("* welcome, ala:");
    ola.expect("* ala (3ID12) joined");
    for (typed, said) in [
        ("helo\x08lo", "hello"),
        ("helo\x7flo", "hello"),
        ("\x08\x08hi\x7f\x7f\x7fhello", "hello"),
        ("zażółć\x08\x08\x08ółw", "zażółw"),
        ("e\u{301}\x08x", "x"),
        ("👩🏽\u{200d}🚀🇵🇱\x08!\x08\x08.", "."),
        ("//x\x08y", "/y"),
        ("/zzz\x08\x08\x08\x08text", "text"),
    ] {
        ala.send(typed);
        ola.expect(&format!("ala: {said}"));
    }
    ala.send("/online\x08");
    ala.expect_start("! unknown command /onlin");
    ala.send_bytes(b"\xff\xff\x08fine\r\n");
    ola.expect("ala: fine");
}

#[test]
fn backspaces_shorten_a_line_to_any_length_unless_it_was_too_long() {
    let server = Server::start(&[]);
    let [mut ala, mut ola] = ala_and_ola(&server);
    let erased = "x\x08".repeat(2000);
    ala.send(&format!("{erased}hi"));
    ola.expect("ala: hi");
    let (longest, back) = ("x".repeat(1024), "\x7f".repeat(1024));
    ala.send(&format!("{longest}{back}{longest}{back}hi"));
    ola.expect("ala: hi");
    ala.send(&format!("{longest}xx{back}hi"));
    ala.expect_start("! that line is too long");
}

#[test]
fn control_characters_in_the_text_of_a_json_client_become_visible() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let mut ala = server.connect();
    ala.send_bytes(b"/json alx\x08a\na\x08b\x7fc\r\0d\n");
    ala.expect(GREETING);
    ala.expect_json(json!({"type": "welcome", "name": "ala"}));
    ala.expect_json(json!({"type": "joined"}));
    ala.expect_json(json!({"type": "message", "text": "a␈b␡c␍␀d"}));
    ola.expect_all(&["* ala joined", "ala: a␈b␡c␍␀d"]);
}

#[test]
fn cr_nul_ends_a_line_of_a_plain_client() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let mut ala = server.greeted();
    ala.send_bytes(b"ala\r\0one\r\0\0two\0\r\0three\rfour\r\n");
    ola.expect_all(&["* ala joined", "ala: one", "ala: ␀two␀", "ala: three␍four"]);
}
