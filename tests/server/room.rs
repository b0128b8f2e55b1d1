//! Messages, commands and renames of members, and what the other members receive.

use support::{Client, Server, Value, json};

/// Joins plain members, which read all join notices.
fn join_all<const N: usize>(server: &Server, names: [&str; N]) -> [Client; N] {
    let mut members: Vec<Client> = Vec::new();
    for name in names {
        let new = server.join(name);
        for member in &mut members {
            member.expect(&format!("* {name} joined"));
        }
        members.push(new);
    }
    members.try_into().ok().expect("one for each name")
}

#[test]
fn a_rename_to_a_lookalike_of_another_name_is_refused() {
    let server = Server::start(&[]);
    let mut iwan = server.join("iwan");
    let mut lwan = server.join("lwan");
    iwan.expect("* lwan joined");
    // A capital I looks like the l of the other name.
    iwan.send("/nick Iwan");
    iwan.expect("! the name Iwan is taken: try Iwan2");
    iwan.send("still here");
    lwan.expect("iwan: still here");
    let mut client = server.greeted();
    client.send("lwan");
    client.expect_start("! the name lwan is taken");
    server.stop();
}

#[test]
fn a_message_goes_to_every_member_except_its_author() {
    let server = Server::start(&[]);
    let [mut ala, mut ola, mut jan] = join_all(&server, ["ala", "ola", "jan"]);
    ala.send("hi");
    ola.expect("ala: hi");
    jan.expect("ala: hi");
    ola.send("hello");
    ala.expect("ola: hello");
    jan.expect("ola: hello");
}

#[test]
fn a_json_client_receives_its_own_messages_in_order() {
    let server = Server::start(&[]);
    let mut ala = server.join_json_live("ala");
    let mut ola = server.join("ola");
    let id = ala.welcome["id"].clone();
    let joined = ala.expect_json(json!({"type": "joined", "name": "ola"}));
    ala.send("hi");
    ola.expect("ala: hi");
    let said = ala.expect_json(json!({"type": "message", "id": id, "from": "ala", "text": "hi"}));
    assert_eq!(
        said["seq"].as_u64().unwrap(),
        joined["seq"].as_u64().unwrap() + 1
    );
    assert!(said.get("replay").is_none(), "{said}");
    ola.send("hello");
    ala.expect_json(json!({"type": "message", "from": "ola", "text": "hello", "id": joined["id"]}));
}

#[test]
fn json_events_have_member_colors_and_only_a_13th_member_shares_a_color() {
    let server = Server::start(&[]);
    let mut ala = server.join_json_live("ala");
    assert_eq!(ala.welcome["color"], 0);
    let mut others = Vec::new();
    for color in 1..12 {
        others.push(server.join(&format!("m{color}")));
        ala.expect_json(json!({"type": "joined", "color": color}));
    }
    drop(others.remove(4));
    ala.expect_json(json!({"type": "left", "name": "m5"}));
    for (name, color) in [("ola", 5), ("jan", 0)] {
        others.push(server.join(name));
        ala.expect_json(json!({"type": "joined", "name": name, "color": color}));
    }
    ala.send("/nick ela");
    ala.expect_json(json!({"type": "renamed"}));
    ala.send("/online");
    let online = ala.expect_json(json!({"type": "online", "count": 13}));
    let colors = |list: &Value| -> Vec<u64> {
        let list = list.as_array().unwrap();
        list.iter()
            .map(|member| member["color"].as_u64().unwrap())
            .collect()
    };
    let expected = [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 5, 0];
    assert_eq!(colors(&online["members"]), expected);

    // A resumed member keeps its color.
    let token = ala.token();
    let back = server.resume(&token, 0);
    assert_eq!(back.welcome["color"], 0);
    assert_eq!(colors(&back.welcome["online"]), expected);
}

#[test]
fn the_time_of_an_event_is_utc_to_the_millisecond() {
    let server = Server::start(&[]);
    let mut ala = server.join_json("ala");
    let joined = ala.expect_json(json!({"type": "joined"}));
    let shape: String = joined["time"]
        .as_str()
        .unwrap()
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000Z");
}

#[test]
fn a_private_message_goes_to_one_member_and_is_confirmed() {
    let server = Server::start(&[]);
    let [mut ala, mut ola, mut jan] = join_all(&server, ["ala", "ola", "jan"]);
    ala.send("/msg OLA  just  you");
    ola.expect("[ala] just  you");
    ala.expect("[to ola] just  you");
    ala.send("all");
    ola.expect("ala: all");
    jan.expect("ala: all");
}

#[test]
fn a_private_message_in_json_has_names_and_ids() {
    let server = Server::start(&[]);
    let mut ala = server.join_json_live("ala");
    let mut ola = server.join_json_live("ola");
    ala.expect_json(json!({"type": "joined"}));
    let (ala_id, ola_id) = (ala.welcome["id"].clone(), ola.welcome["id"].clone());
    ala.send("/msg ola psst");
    let got =
        ola.expect_json(json!({"type": "private", "id": ala_id, "from": "ala", "text": "psst"}));
    assert!(
        got.get("to").is_none() && got.get("seq").is_none() && got["time"].is_string(),
        "{got}"
    );
    let sent =
        ala.expect_json(json!({"type": "private", "id": ola_id, "to": "ola", "text": "psst"}));
    assert!(
        sent.get("from").is_none() && sent.get("seq").is_none(),
        "{sent}"
    );
}

#[test]
fn a_private_message_to_oneself_or_an_absent_name_is_refused() {
    let server = Server::start(&[]);
    let mut ala = server.join("ala");
    for (line, refusal) in [
        ("/msg ola hi", "! there is no member called \"ola\""),
        ("/msg *** hi", "! there is no member called \"***\""),
        (
            "/msg Ala hi",
            "! that is your own name: /msg takes the name of another member",
        ),
        ("/msg", "! usage: /msg NAME TEXT"),
        ("/msg ola", "! usage: /msg NAME TEXT"),
        ("/msg \u{202e} hi", "! usage: /msg NAME TEXT"),
        ("/msg ola \u{200b}", "! usage: /msg NAME TEXT"),
        (
            "/reply hi",
            "! no one has sent you a private message yet: use /msg NAME TEXT",
        ),
        ("/reply", "! usage: /reply TEXT"),
    ] {
        ala.send(line);
        ala.expect(refusal);
    }
}

#[test]
fn invisible_characters_around_a_name_are_ignored() {
    let mut server = Server::start_with_console(&[]);
    let [mut ala, mut ola] = join_all(&server, ["ala", "ola"]);
    ala.send("/msg \u{202e}o\u{200b}la hi");
    ola.expect("[ala] hi");
    ala.expect("[to ola] hi");
    server.type_line("/kick ola\u{2066}");
    ala.expect("* ola left (kicked)");
}

#[test]
fn a_reply_goes_to_the_last_private_sender_despite_a_rename() {
    let server = Server::start(&[]);
    let [mut ala, mut ola, mut jan] = join_all(&server, ["ala", "ola", "jan"]);
    jan.send("/msg ala first");
    ala.expect("[jan] first");
    ola.send("/msg ala second");
    ala.expect("[ola] second");
    ola.expect("[to ala] second");
    ola.send("/nick ula");
    ola.expect("* ola is now ula");
    ala.expect("* ola is now ula");
    // The new holder of the old name does not get the reply.
    let _new = server.join("ola");
    ala.expect("* ola joined");
    ala.send("/reply to you");
    ala.expect("[to ula] to you");
    ula_gets_it_and_leaves(&mut ola);
    ala.expect("* ula left");
    ala.send("/reply gone?");
    ala.expect("! the person who last wrote to you privately has left: use /msg NAME TEXT");
}

fn ula_gets_it_and_leaves(ula: &mut Client) {
    ula.expect("* ola joined");
    ula.expect("[ala] to you");
    ula.send("/quit");
    ula.expect_end();
}

#[test]
fn a_rename_is_announced_and_frees_the_old_name() {
    let server = Server::start(&[]);
    let [mut ala, mut ola] = join_all(&server, ["ala", "ola"]);
    ala.send("/changename ewa");
    ala.expect("* ala is now ewa");
    ola.expect("* ala is now ewa");
    ala.send("hi");
    ola.expect("ewa: hi");
    ola.send("/nick Ala");
    ala.expect("* ola is now Ala");
}

#[test]
fn a_rename_may_change_only_the_case() {
    let server = Server::start(&[]);
    let mut ala = server.join("ala");
    ala.send("/changename Ala");
    ala.expect("* ala is now Ala");
    ala.send("/changename Ala");
    ala.expect("* your name is Ala already");
}

#[test]
fn a_refused_rename_keeps_the_old_name() {
    let server = Server::start(&[]);
    let [mut ala, mut ola] = join_all(&server, ["ala", "ola"]);
    for (line, refusal) in [
        ("/changename OLA", "! the name OLA is taken: try OLA2"),
        (
            "/changename admin",
            "! \"admin\" is reserved: try another name",
        ),
        (
            "/changename *x",
            "! a name begins with a letter or digit: try x",
        ),
        (
            "/changename two words",
            "! usage: /changename NAME (one word)",
        ),
        ("/nick", "! usage: /changename NAME"),
    ] {
        ala.send(line);
        ala.expect(refusal);
    }
    ala.send("still me");
    ola.expect("ala: still me");
}

#[test]
fn a_rename_in_json_has_both_names() {
    let server = Server::start(&[]);
    let mut ala = server.join_json_live("ala");
    ala.send("/nick ewa");
    let id = ala.welcome["id"].clone();
    ala.expect_json(json!({"type": "renamed", "id": id, "from": "ala", "to": "ewa"}));
}

#[test]
fn online_lists_members_with_groups_in_order_of_joining() {
    let server = Server::start(&[]);
    let mut zoe = server.join("zoe");
    let _ala = server.join("ala 3ID12");
    zoe.expect("* ala (3ID12) joined");
    for command in ["/online", "/who", "/WHO"] {
        zoe.send(command);
        zoe.expect("* 2 online: zoe, ala (3ID12)");
    }
    let mut json = server.join_json_live("json");
    json.send("/online");
    let online = json.expect_json(json!({"type": "online", "count": 3}));
    let names: Vec<&Value> = online["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|member| &member["name"])
        .collect();
    assert_eq!(names, ["zoe", "ala", "json"]);
    assert!(online.get("seq").is_none(), "{online}");
}

#[test]
fn online_lists_at_most_500_names_and_counts_the_rest() {
    let server = Server::start(&["-m", "600"]);
    let mut members: Vec<Client> = (0..503)
        .map(|number| server.join(&format!("m{number}")))
        .collect();
    let last = members.last_mut().unwrap();
    last.send("/online");
    let line = last.line();
    assert!(line.starts_with("* 503 online: m0, m1, "), "{line}");
    assert!(line.ends_with(", m499, and 3 more"), "{line}");
    let json = server.join_json("json");
    assert_eq!(json.welcome["count"], 504);
    assert_eq!(json.welcome["online"].as_array().unwrap().len(), 500);
}

#[test]
fn help_lists_the_commands_in_two_languages() {
    let server = Server::start(&[]);
    let mut ala = server.join("ala");
    for (command, first, last) in [
        (
            "/help",
            "* type a line and press Enter to send it to everyone",
            "* //TEXT: send a line that begins with a slash",
        ),
        (
            "/?",
            "* type a line and press Enter to send it to everyone",
            "* //TEXT: send a line that begins with a slash",
        ),
        (
            "/Pomoc",
            "* wpisz wiersz i naciśnij Enter, aby powiedzieć go wszystkim",
            "* //TEKST: wiersz, który zaczyna się ukośnikiem",
        ),
    ] {
        ala.send(command);
        ala.expect(first);
        for line in ala.skip_to(last) {
            assert!(line.starts_with("* /"), "{line}");
        }
    }
    let mut json = server.join_json_live("json");
    json.send("/help");
    let help = json.expect_json(json!({"type": "help"}));
    assert!(help["lines"].as_array().unwrap().len() >= 7, "{help}");
}

#[test]
fn a_line_that_is_not_a_command_arrives_as_typed() {
    let server = Server::start(&[]);
    let [mut ala, mut ola] = join_all(&server, ["ala", "ola"]);
    for (line, text) in [
        ("//help", "/help"),
        ("///", "//"),
        (" /quit", " /quit"),
        ("  exit", "  exit"),
        ("exit now", "exit now"),
        ("\t/help", " /help"),
        ("a  b ", "a  b "),
        ("zażółć 字 👩🏽\u{200d}🚀", "zażółć 字 👩🏽\u{200d}🚀"),
    ] {
        ala.send(line);
        ola.expect(&format!("ala: {text}"));
    }
}

#[test]
fn a_line_without_visible_characters_is_ignored() {
    let server = Server::start(&[]);
    let [mut ala, mut ola] = join_all(&server, ["ala", "ola"]);
    ala.send_bytes("\n\r\n   \n\t\n\u{200b}\n\u{2800}\n\u{301}\nhi\n".as_bytes());
    ola.expect("ala: hi");
    // Blank lines in a packet of their own are ignored, too.
    for number in 0..20 {
        ala.send_bytes(b"\n\n");
        ala.send(&number.to_string());
        ola.expect(&format!("ala: {number}"));
    }
}

#[test]
fn an_unknown_command_is_refused_by_name_and_not_delivered() {
    let server = Server::start(&[]);
    let [mut ala, mut ola] = join_all(&server, ["ala", "ola"]);
    ala.send("/hepl me");
    ala.expect("! unknown command /hepl: /help lists the commands; to say it as text, type //hepl");
    ala.send("/\u{1b}[31m");
    let refusal = ala.expect_start("! unknown command /");
    assert!(!refusal.contains('\u{1b}'), "{refusal:?}");
    ala.send("hi");
    ola.expect("ala: hi");
}

#[test]
fn every_quit_command_is_announced_as_leaving() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    for command in [
        "/quit",
        "/exit",
        "/WYJDZ",
        "/wyjdź",
        "/WyjdŹ",
        "exit",
        "EXIT ",
        "/quit now",
    ] {
        let mut ala = server.join("ala");
        ola.expect("* ala joined");
        ala.send(command);
        ala.send("too late");
        ala.expect_end();
        ola.expect("* ala left");
    }
}

#[test]
fn the_bare_word_exit_is_a_message_from_a_json_client() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let mut ala = server.join_json_live("ala");
    ola.expect("* ala joined");
    ala.send("exit");
    ola.expect("ala: exit");
    ala.send("/exit");
    ola.expect("* ala left");
}

#[test]
fn json_clients_get_a_leave_event_with_its_reason_if_there_is_one() {
    let server = Server::start(&[]);
    let mut ola = server.join_json_live("ola");
    let mut ala = server.join_json_live("ala");
    let id = ola.expect_json(json!({"type": "joined"}))["id"].clone();
    ala.send("/quit");
    ala.expect_end();
    let left = ola.expect_json(json!({"type": "left", "id": id, "name": "ala"}));
    assert!(left.get("reason").is_none(), "{left}");
    let ala = server.join_json_live("ala");
    ola.expect_json(json!({"type": "joined"}));
    ala.reset();
    ola.expect_json(json!({"type": "left", "name": "ala", "reason": "connection lost"}));
}

#[test]
fn a_reset_connection_is_announced_as_lost() {
    let server = Server::start(&[]);
    let [mut ola, ala] = join_all(&server, ["ola", "ala"]);
    ala.reset();
    ola.expect("* ala left (connection lost)");
}

#[test]
fn lines_sent_before_end_of_input_arrive_before_the_leave_notice() {
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    let mut ala = server.connect();
    ala.send_bytes(b"ala\nhi\nno ending");
    ala.finish_sending();
    ola.expect_all(&["* ala joined", "ala: hi", "ala: no ending", "* ala left"]);
}

#[test]
fn answers_arrive_in_the_order_of_the_requests() {
    let server = Server::start(&[]);
    let [mut ala, mut ola] = join_all(&server, ["ala", "ola"]);
    ola.send("one");
    ala.expect("ola: one");
    ala.send_bytes(b"/msg ola a\n/online\n/nick ewa\n/msg ola b\n/nonsense\n/online\n");
    ala.expect_all(&[
        "[to ola] a",
        "* 2 online: ala, ola",
        "* ala is now ewa",
        "[to ola] b",
        "! unknown command /nonsense: /help lists the commands; to say it as text, type //nonsense",
        "* 2 online: ewa, ola",
    ]);
    ola.expect_all(&["[ala] a", "* ala is now ewa", "[ewa] b"]);
}

#[test]
fn lines_do_not_depend_on_how_they_are_split_into_packets() {
    let server = Server::start(&[]);
    let [mut ala, mut ola] = join_all(&server, ["ala", "ola"]);
    for byte in "zażółć\r\ngęślą\njaźń\n".bytes() {
        ala.send_bytes(&[byte]);
    }
    ola.expect_all(&["ala: zażółć", "ala: gęślą", "ala: jaźń"]);
}

#[test]
fn no_message_can_look_like_another_kind_of_line() {
    let server = Server::start(&[]);
    let [mut ala, mut ola] = join_all(&server, ["ala", "ola"]);
    for forged in [
        "* ola left",
        "! you were kicked",
        "[jan] secret",
        "x\u{2028}* ola left",
        "x\u{85}* ola left",
        "x\r* ola left",
        "x\u{b}* ola left",
        "\u{1b}[2K\r* ola left",
        "\u{9b}2K* ola left",
        "\u{202e}tfel alo *",
        "\u{8}\u{8}\u{8}\u{8}\u{8}* ola left",
    ] {
        ala.send(forged);
        let line = ola.expect_start("ala: ");
        let bad = |c: char| c.is_control() || "\u{2028}\u{2029}\u{202e}\u{9b}".contains(c);
        assert!(!line.contains(bad), "{line:?}");
    }
    ala.send("/msg ola \u{1b}]0;title\u{7} * x");
    ola.expect("[ala] ␛]0;title␇ * x");
}

#[test]
fn unusable_lines_are_refused_and_the_connection_stays_open() {
    let server = Server::start(&[]);
    let [mut ala, mut ola] = join_all(&server, ["ala", "ola"]);
    let longest = "x".repeat(1024);
    ala.send(&longest);
    ola.expect(&format!("ala: {longest}"));
    ala.send_bytes(format!("{longest}\r\n").as_bytes());
    ola.expect(&format!("ala: {longest}"));
    ala.send(&format!("{longest}y"));
    ala.expect("! that line is too long: the limit is 1024 bytes, so send it in parts");
    ala.send(&"x".repeat(60_000));
    ala.expect("! that line is too long: the limit is 1024 bytes, so send it in parts");
    ala.send_bytes(b"a\xff\xfeb\n");
    ala.expect("! that line is not UTF-8: set your terminal to UTF-8");
    ala.send("hi");
    ola.expect("ala: hi");
}

#[test]
fn a_json_line_has_the_same_content_as_the_plain_one() {
    let server = Server::start(&[]);
    let mut json = server.join_json_live("json");
    let mut ala = server.join("ala 3ID12");
    json.expect_json(json!({"type": "joined", "name": "ala", "group": "3ID12"}));
    ala.send("\"quoted\" \\ \u{1b}");
    json.expect_json(json!({"type": "message", "from": "ala", "text": "\"quoted\" \\ ␛"}));
    json.send("/nonsense");
    let error = json.expect_json(json!({"type": "error"}));
    assert!(
        error["text"]
            .as_str()
            .unwrap()
            .starts_with("unknown command /nonsense"),
        "{error}"
    );
}

#[test]
fn a_newcomer_gets_the_last_messages_but_no_private_ones() {
    let server = Server::start(&["--replay", "2"]);
    let [mut ala, mut ola] = join_all(&server, ["ala", "ola"]);
    ala.send_bytes(b"one\ntwo\n/msg ola secret\nthree\n/nick ewa\n");
    ala.skip_to("* ala is now ewa");
    let mut jan = server.join("jan");
    jan.expect_all(&[
        "* the last 2 messages",
        "ala: two",
        "ala: three",
        "* end of the past messages",
    ]);
    ola.skip_to("* jan joined");
    ola.send("live");
    jan.expect("ola: live");

    let mut json = server.join_json("json");
    let seq = json.welcome["seq"].as_u64().unwrap();
    json.expect_json(json!({"type": "message", "from": "ala", "text": "three", "replay": true}));
    let last = json.expect_json(json!({"type": "message", "text": "live", "replay": true}));
    assert_eq!(
        last["seq"], seq,
        "the message was the last event before the join"
    );
    let joined = json.expect_json(json!({"type": "joined", "name": "json", "seq": seq + 1}));
    assert!(joined.get("replay").is_none(), "{joined}");
}

#[test]
fn with_replay_0_a_newcomer_gets_no_past_messages() {
    let server = Server::start(&["--replay", "0"]);
    let mut ala = server.join("ala");
    ala.send_bytes(b"one\n/online\n");
    ala.expect("* 1 online: ala");
    let mut ola = server.join("ola");
    ola.send("/online");
    ola.expect("* 2 online: ala, ola");
}
