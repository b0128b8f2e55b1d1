//! Whatever a client sends before its login is parsed as a valid name, a command, nothing, or a
//! printable error.

#![no_main]

use chat_run::protocol::http;
use chat_run::protocol::limits::MAX_LINE;
use chat_run::protocol::line::Lines;
use chat_run::protocol::request::{Format, Identity, Login};
use chat_run::protocol::text::{Text, trim_hidden};
use chat_run_fuzz::{assert_group, assert_name, assert_refusal, assert_shown};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut lines = Lines::new(MAX_LINE);
    lines.push(input);
    while let Some(line) = lines.next_line() {
        match line {
            Ok(line) => log_in(line),
            Err(error) => assert_refusal(&error),
        }
    }
    if let Some(Ok(line)) = lines.last_line() {
        log_in(line);
    }
});

fn log_in(line: &str) {
    match Login::parse(line) {
        // Whitespace around a name is ignored, even if it would be shown as a replacement character
        // in other text.
        Login::Nothing => assert!(!Text::new(seen(line)).is_visible()),
        Login::Enter(_, words) => match Identity::parse(words) {
            Ok(identity) => enter(&identity),
            Err(error) => assert_refusal(&error),
        },
        Login::Resume(Some((token, seq))) => {
            let again = format!("/resume {token} {seq}");
            assert_eq!(Login::parse(&again), Login::Resume(Some((token, seq))));
        }
        Login::Resume(None) | Login::Help(_) | Login::Quit => assert_is_command(line),
        Login::Pass(password) => {
            assert_is_command(line);
            assert_eq!(password, password.trim());
        }
        Login::Unknown(word) => {
            assert_is_command(line);
            assert_shown(word.as_str());
            assert!(word.as_str().len() < 300, "{word:?}");
        }
        Login::Http => assert!(http::is_request(seen(line))),
    }
}

fn assert_is_command(line: &str) {
    assert!(seen(line).starts_with('/'), "{line:?}");
}

/// The line without the invisible characters before its first word, and if this is a command,
/// without control characters before the slash.
fn seen(line: &str) -> &str {
    trim_hidden(trim_hidden(line.trim()).trim_start())
}

/// Asserts that the line with which a client logs in under this name is parsed as the same name.
fn enter(identity: &Identity) {
    assert_name(&identity.name);
    let mut words = identity.name.to_string();
    if let Some(group) = &identity.group {
        assert_group(group);
        words += &format!(" {group}");
    }
    // A group such as `/x` makes the line an HTTP request.
    let login = Login::parse(&words);
    assert!(
        login == Login::Enter(None, &words) || login == Login::Http && http::is_request(&words)
    );
    let json = format!("/json {words}");
    let format = Some(Format::Json);
    assert_eq!(Login::parse(&json), Login::Enter(format, &words));
    assert_eq!(Identity::parse(&words).ok().as_ref(), Some(identity));
}
