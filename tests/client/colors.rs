//! The colors of names on a terminal: by the slots that the server assigns, and by the background.

use support::client::FakeServer;
use support::{Terminal, wait_until};

const BLACK: &str = "\x1b]11;rgb:0000/0000/0000\x1b\\";
const WHITE: &str = "\x1b]11;rgb:ffff/ffff/ffff\x07";
/// The terminal's answer to the query for its attributes, which the client sends after the query
/// for the background color.
const ATTRIBUTES: &str = "\x1b[?62;22c";

/// The color of a member with slot 3, on a terminal that sends this answer.
fn color(answer: &str, environment: &[(&str, &str)]) -> String {
    let fake = FakeServer::new();
    let mut ala = Terminal::start_with(&[&fake.address(), "-n", "ala"], environment);
    ala.press(format!("{answer}{ATTRIBUTES}"));
    let mut server = fake.accept_login();
    let time = "2026-01-31T10:00:00Z";
    server.send(&format!(
        r#"{{"type":"joined","seq":1,"time":"{time}","id":3,"name":"ola","color":3}}"#
    ));
    server.send(&format!(
        r#"{{"type":"message","seq":2,"time":"{time}","id":3,"from":"ola","text":"hi"}}"#
    ));
    ala.expect("ola\x1b[0m: hi");
    let text = ala.text();
    let (before, _) = text.split_once("ola\x1b[0m: hi").unwrap();
    before.rsplit_once("\x1b[").unwrap().1.to_owned()
}

#[test]
fn a_name_has_a_color_for_the_background_that_the_terminal_reports() {
    const TRUECOLOR: (&str, &str) = ("COLORTERM", "truecolor");
    for (answer, environment, expected) in [
        (BLACK, &[TRUECOLOR][..], "38;2;254;71;11m"),
        (WHITE, &[TRUECOLOR], "38;2;220;2;0m"),
        (BLACK, &[], "38;5;202m"),
        (WHITE, &[("COLORFGBG", "15;0")], "38;5;88m"),
        // This terminal answers only the query for its attributes.
        ("", &[TRUECOLOR], "38;5;95m"),
        ("", &[TRUECOLOR, ("COLORFGBG", "15;0")], "38;2;254;71;11m"),
        ("\x1b]11;nonsense\x07", &[], "38;5;95m"),
        (WHITE, &[("TERM", "linux")], "38;5;9m"),
    ] {
        // On a busy machine, the answer may be late.
        wait_until(&format!("{expected} after {answer:?}"), || {
            (color(answer, environment) == expected).then_some(())
        });
    }
}

#[test]
fn a_late_background_color_reply_is_not_taken_for_typed_text() {
    let fake = FakeServer::new();
    let mut ala = Terminal::start(&[&fake.address(), "-n", "ala"]);
    let mut server = fake.accept_login();
    ala.expect("welcome");
    for part in [
        "x",
        "\x1b]11;rgb:ffff/",
        "ffff/ffff",
        "\x1b\\",
        ATTRIBUTES,
        "y",
    ] {
        ala.press(part);
    }
    ala.press("\r");
    server.expect("xy");
}

#[test]
fn a_terminal_without_colors_is_not_asked_for_its_background_color() {
    let fake = FakeServer::new();
    let ala = [&fake.address()[..], "-n", "ala"];
    for (args, environment) in [
        (&ala[..], &[("NO_COLOR", "1")][..]),
        (&[&ala[..], &["--color", "never"]].concat(), &[]),
        (&ala, &[("TERM", "vt100")]),
    ] {
        let mut ala = Terminal::start_with(args, environment);
        let _server = fake.accept_login();
        ala.expect("welcome");
        assert!(!ala.text().contains("\x1b]11"), "{:?}", ala.text());
    }
}
