//! The README's pictures, of real windows. With `CHAT_PICTURES` in the environment, the tests write
//! them to `docs/`; without it, they only check that the pictures can be made.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Child;

use support::desktop::{Desktop, Window};
use support::{Client, Server};

use crate::windows::Watched;

/// Starts `program` in an xterm with this title, and with the programs on PATH as if they were
/// installed, so that no local path is shown.
fn xterm(desktop: &Desktop, title: &str, look: &[&str], program: &[&str]) -> Child {
    let programs = Path::new(env!("CARGO_BIN_EXE_chat-run")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), env::var("PATH").unwrap());
    let mut xterm = desktop.command("xterm");
    xterm.env("PATH", path).args(["-fa", "Monospace", "+sb"]);
    xterm.args(look).args(["-T", title, "-e"]).args(program);
    xterm.spawn().unwrap()
}

const DARK: [&str; 4] = ["-bg", "#111418", "-fg", "#dddddd"];

fn window(watched: &Watched<'_>, title: &str) -> Window {
    watched.wait_for(title, || watched.desktop.windows(title).into_iter().next())
}

/// Waits until the window has `text` in it `count` times.
fn expect(watched: &Watched<'_>, window: &Window, text: &str, count: usize) {
    watched.wait_for(&format!("{text:?} {count} times"), || {
        let shown = watched.desktop.text_in(window);
        (shown.matches(text).count() == count).then_some(())
    });
}

/// Takes a picture of a window, or of the whole screen, for `docs/NAME.png`.
fn take(desktop: &Desktop, window: Option<&Window>, name: &str) {
    desktop.clear_selection();
    let path = desktop.temp_dir().join("picture.png");
    desktop.screenshot(window, &path);
    let picture = fs::read(&path).unwrap();
    assert!(picture.starts_with(b"\x89PNG"));
    fs::remove_file(path).unwrap();
    if env::var_os("CHAT_PICTURES").is_some() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
        fs::write(docs.join(format!("{name}.png")), picture).unwrap();
    }
}

#[test]
fn the_picture_of_a_session_in_windows_can_be_taken() {
    let desktop = Desktop::new();
    let watched = Watched { desktop: &desktop };
    let mut terminal = xterm(
        &desktop,
        "a terminal",
        &["-fs", "11", "-geometry", "110x22+220+20"],
        &[
            "chat-run",
            "-p",
            "0",
            "-t",
            "gnome-terminal",
            "--names",
            "ala,ola 3ID12,jan",
        ],
    );
    let clients = watched.wait_for("windows", || {
        let windows = desktop.windows("chat ");
        (windows.len() == 3).then_some(windows)
    });
    for client in &clients {
        expect(&watched, client, "welcome", 1);
    }
    for (client, line) in [
        (0, "hi, is anyone here yet?"),
        (1, "yes, I am ola"),
        (2, "and jan, in the third window"),
        (1, "/msg ala this is for you alone"),
        (0, "anyone with nc can join, too"),
    ] {
        desktop.type_in(&clients[client], line);
        // The next member answers only after the line is visible.
        let text = line.trim_start_matches("/msg ala ");
        let reader = usize::from(client == 0);
        expect(&watched, &clients[reader], text, 1);
    }
    let log = window(&watched, "a terminal");
    expect(&watched, &log, "anyone with nc", 1);
    desktop.activate(&clients[0]);
    take(&desktop, None, "session");
    desktop.close(&log);
    terminal.wait().unwrap();
}

#[test]
fn the_picture_of_a_client_can_be_taken() {
    let desktop = Desktop::new();
    let watched = Watched { desktop: &desktop };
    let server = Server::start(&[]);
    let mut ola = server.join("ola");
    ola.send("the slides are at https://example.org/threads");
    ola.send("read the part on sockets first");
    ola.send("/online");
    ola.expect_start("* 1 online");
    let port = server.address.port().to_string();
    let mut terminal = xterm(
        &desktop,
        "a client",
        &[&["-fs", "12", "-geometry", "78x19"][..], &DARK].concat(),
        &["chat-client", "127.0.0.1", &port, "-n", "ala"],
    );
    ola.expect("* ala joined");
    let ala = window(&watched, "chat - ala");
    expect(&watched, &ala, "end of the past", 1);
    let mut jan = server.join("jan 3ID11");
    ola.expect("* jan (3ID11) joined");
    let mut ela = server.join("ela 3ID12");
    ola.expect("* ela (3ID12) joined");
    drop(server.join("Łukasz"));
    ola.expect_all(&["* Łukasz joined", "* Łukasz left"]);
    jan.send("hi! who knows why accept needs a thread of its own?");
    ola.skip_to("jan: hi! who knows why accept needs a thread of its own?");
    ela.send(
        "it waits for the next client, and meanwhile nothing else would happen in that thread. One \
         thread per client is the same idea once more.",
    );
    expect(&watched, &ala, "more.", 1);
    jan.send("ala, did you try it with netcat?");
    expect(&watched, &ala, "netcat?", 1);
    desktop.type_in(&ala, "yes, nc 127.0.0.1 9999, it works");
    desktop.type_in(&ala, "/msg jan look at the README");
    expect(&watched, &ala, "(delivered)", 1);
    ola.send("/msg ala five minutes left");
    expect(&watched, &ala, "five minutes", 1);
    jan.send("zażółć gęślą jaźń is in my tests now");
    expect(&watched, &ala, "in my tests", 1);
    for key in ["slash", "m", "s", "g", "space", "Tab"] {
        desktop.press_in(&ala, key);
    }
    expect(&watched, &ala, "[jan]", 1);
    take(&desktop, Some(&ala), "client");
    desktop.press_in(&ala, "ctrl+c");
    terminal.wait().unwrap();
}

#[test]
fn the_picture_of_a_session_in_panes_can_be_taken() {
    let desktop = Desktop::new();
    let watched = Watched { desktop: &desktop };
    let mut terminal = xterm(
        &desktop,
        "panes",
        &[&["-fs", "11", "-geometry", "125x28"][..], &DARK].concat(),
        &[
            "chat-run",
            "-p",
            "0",
            "-t",
            "panes",
            "-c",
            "3",
            "--names",
            "ala 3ID12,ola 3ID12,jan 3ID15",
        ],
    );
    let panes = window(&watched, "panes");
    expect(&watched, &panes, "3 online ", 1);
    // `count` is how often the text is shown: in all four panes, in the two panes that a private
    // message is between, or in one.
    for (key, line, text, count) in [
        ("alt+1", "hi all, did the server see me?", "see me?", 4),
        ("alt+2", "yes, its log says ala joined", "log says", 4),
        (
            "alt+3",
            "each of us is a thread: c:ala, c:ola, c:jan",
            "each of us",
            4,
        ),
        (
            "alt+2",
            "/msg jan what is the lock for?",
            "the lock for?",
            2,
        ),
        ("alt+1", "/online", "* 3 online", 1),
        ("alt+3", "/reply so that all see one order", "one order", 2),
        // The server's pane also shows the line as it was typed.
        ("alt+0", "/say five minutes left", "five minutes", 5),
    ] {
        desktop.press_in(&panes, key);
        desktop.type_in(&panes, line);
        expect(&watched, &panes, text, count);
    }
    desktop.press_in(&panes, "alt+1");
    desktop.press_in(&panes, "o");
    desktop.press_in(&panes, "k");
    expect(&watched, &panes, "> ok", 1);
    take(&desktop, Some(&panes), "panes");
    desktop.press_in(&panes, "ctrl+c");
    terminal.wait().unwrap();
}

#[test]
fn the_picture_of_the_live_view_with_a_frozen_client_can_be_taken() {
    let desktop = Desktop::new();
    let watched = Watched { desktop: &desktop };
    let mut terminal = xterm(
        &desktop,
        "live",
        &[&["-fs", "11", "-geometry", "100x30"][..], &DARK].concat(),
        &[
            "chat-run",
            "-p",
            "0",
            "-t",
            "panes",
            "-c",
            "2",
            "--names",
            "ala,ola",
            "--live",
            "--small-buffers",
            "--rate",
            "0",
        ],
    );
    let panes = window(&watched, "live");
    expect(&watched, &panes, "2 online · live", 1);
    let text = desktop.text_in(&panes);
    let (_, rest) = text.split_once("server 127.0.0.1:").unwrap();
    let port: u16 = rest.split(' ').next().unwrap().parse().unwrap();
    desktop.press_in(&panes, "alt+2");
    desktop.press_in(&panes, "F8");
    expect(&watched, &panes, "FROZEN chat 2", 1);
    let mut jan = Client::connect(([127, 0, 0, 1], port).into()).join("jan");
    for number in 1..=200 {
        jan.send(&format!(
            "line {number} of a long talk, which ola does not read"
        ));
    }
    // Wait until the thread has been waiting for a few seconds.
    watched.wait_for("a wait of w:ola", || {
        let text = desktop.text_in(&panes);
        let row = text.lines().find(|row| row.contains("w:ola"))?;
        (row.contains("WAITS 3.") || row.contains("WAITS 4.")).then_some(())
    });
    take(&desktop, Some(&panes), "live");
    desktop.press_in(&panes, "F8");
    expect(&watched, &panes, "FROZEN", 0);
    desktop.press_in(&panes, "ctrl+c");
    desktop.press_in(&panes, "ctrl+c");
    terminal.wait().unwrap();
}
