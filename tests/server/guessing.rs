//! Wrong passwords: an address that sends too many is slowed down, and never locked out.

use support::{Client, Server, json};

const GREETING: &str = "* chat-server ";
const WRONG: &str = "! wrong password: type /pass PASSWORD";
const WAIT: &str = "* too many wrong passwords came from your address: yours is checked in ";

fn server() -> Server {
    Server::start(&["--password", "right"])
}

/// A connection that has sent these lines and has read the greeting.
fn connect(server: &Server, lines: &str) -> Client {
    let mut client = server.connect();
    client.send(lines);
    client.expect_start(GREETING);
    client
}

/// Sends wrong passwords on new connections until the server delays one of them.
fn guess_until_limited(server: &Server) -> Client {
    loop {
        let mut client = connect(server, "/pass wrong");
        let answer = client.line();
        if answer.starts_with(WAIT) {
            return client;
        }
        assert_eq!(answer, WRONG);
    }
}

/// The next line other than notices to wait.
fn line_after_notices(client: &mut Client) -> String {
    loop {
        let line = client.line();
        if !line.starts_with(WAIT) {
            return line;
        }
    }
}

#[test]
fn when_waiting_clients_disconnect_later_password_checks_move_forward() {
    let server = server();
    // If the checks did not move forward, `ala` would get more than ten notices to wait.
    let guesses: Vec<Client> = (0..80).map(|_| connect(&server, "/pass wrong")).collect();
    let mut ala = connect(&server, "/pass right");
    ala.expect_start(WAIT);
    drop(guesses);
    ala.send("ala");
    let mut lines = (0..5).map(|_| ala.line());
    assert!(lines.any(|line| line.starts_with("* welcome, ala")));
}

#[test]
fn after_five_wrong_passwords_further_attempts_from_an_address_are_delayed() {
    let server = server();
    let mut guesses: Vec<Client> = (0..20).map(|_| connect(&server, "/pass wrong")).collect();
    let answers: Vec<String> = guesses.iter_mut().map(Client::line).collect();
    let at_once = answers.iter().filter(|answer| *answer == WRONG).count();
    // A slow machine takes some seconds to connect them all, and each second allows one more check.
    assert!((5..15).contains(&at_once), "{answers:?}");
    assert!(answers.last().unwrap().starts_with(WAIT), "{answers:?}");
    // The passwords are checked in the order of arrival.
    for (client, answer) in guesses.iter_mut().zip(&answers).take(at_once + 2) {
        if answer.starts_with(WAIT) {
            assert_eq!(line_after_notices(client), WRONG);
        }
    }
}

#[test]
fn a_correct_password_is_accepted_at_the_end_of_its_delay() {
    let server = server();
    let _guess = guess_until_limited(&server);
    let mut ala = connect(&server, "/pass right\nala\nhi");
    ala.expect_start(WAIT);
    ala.expect_start("* welcome, ala: 1 online");
    let mut ola = connect(&server, "/pass right\n/json ola");
    let welcome = line_after_notices(&mut ola);
    assert!(welcome.starts_with("{\"type\":\"welcome\""), "{welcome}");
    ala.expect("* ola joined");
}

#[test]
fn wrong_passwords_do_not_delay_members_and_resumes_from_the_same_address() {
    let server = server();
    let mut ala = connect(&server, "/pass right\n/json ala");
    ala.welcome = ala.expect_json(json!({"type": "welcome"}));
    let mut ola = connect(&server, "/pass right\nola");
    ola.expect_start("* welcome, ola");
    let mut guess = guess_until_limited(&server);
    ola.send("/msg ala hi");
    ola.expect("[to ala] hi");
    let mut back = connect(&server, &format!("/resume {} 0", ala.token()));
    back.expect_json(json!({"type": "welcome", "name": "ala"}));
    assert_eq!(line_after_notices(&mut guess), WRONG);
}

#[test]
fn a_closed_connection_gives_up_its_place_in_the_queue_of_password_checks() {
    let server = server();
    let _guess = guess_until_limited(&server);
    for _ in 0..100 {
        drop(connect(&server, "/pass wrong"));
    }
    // If the hundred closed connections were still waiting, this connection would time out.
    let mut ala = connect(&server, "/pass right\nala");
    let welcome = line_after_notices(&mut ala);
    assert!(welcome.starts_with("* welcome, ala"), "{welcome}");
}

#[test]
fn waiting_for_a_password_check_does_not_count_towards_the_login_time() {
    let server = Server::start(&["--password", "right", "--login-time", "500"]);
    let _guess = guess_until_limited(&server);
    let mut ala = connect(&server, "/pass right\nala");
    ala.expect_start(WAIT);
    ala.expect_start("* welcome, ala");
}
