//! Telnet (RFC 854) on the server's side. Commands are removed from a client's bytes, and every
//! option that the client offers or requests is refused.
//!
//! The bytes of every client are decoded, because any client may send commands at any time.
//! Commands begin with the byte 255, which occurs in no UTF-8 text, so other clients are not
//! affected.

use crate::protocol::line::{DELETE, Lines};

/// Interpret As Command: the first byte of each command.
const IAC: u8 = 255;
const DONT: u8 = 254;
const DO: u8 = 253;
const WONT: u8 = 252;
const WILL: u8 = 251;
/// Begins a subnegotiation, which ends with [`IAC`] and [`SE`].
const SB: u8 = 250;
const ERASE_LINE: u8 = 248;
const ERASE_CHARACTER: u8 = 247;
const ARE_YOU_THERE: u8 = 246;
const SE: u8 = 240;
/// Lowest command code: end of file (RFC 1184).
const LOWEST_COMMAND: u8 = 236;

/// Option by which a client asks whether the server has read its earlier bytes (RFC 860). After
/// Ctrl+C, telnet shows nothing until the answer arrives.
const TIMING_MARK: u8 = 6;

/// Answer to the command "are you there?" (RFC 854, page 8). A person reads the answer.
const HERE: &[u8] = b"* the server is here\n";

/// Decoder that removes telnet commands from one client's bytes. It keeps its state between calls,
/// because the network may split a command anywhere.
#[derive(Debug, Default)]
pub struct Telnet {
    state: State,
    /// Refusals sent so far, each as WONT or DONT and the option. A refusal that was sent is not
    /// repeated. This prevents endless exchanges, and limits the number of answers.
    refusals: Vec<[u8; 2]>,
}

/// State of the decoder: whether the next byte is data or belongs to a command.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The next byte is data, or the IAC that begins a command.
    #[default]
    Data,
    /// The last byte was IAC.
    Command,
    /// The last two bytes were IAC and WILL, WONT, DO or DONT. The next byte is the option.
    Option(u8),
    /// The next byte belongs to a subnegotiation.
    Subnegotiation,
    /// The last byte was an IAC in a subnegotiation.
    SubnegotiationCommand,
}

impl Telnet {
    /// Appends the data in `bytes` to `lines` and carries out the commands. Returns the bytes to
    /// send to the client. They are empty if `bytes` contains no command that needs an answer.
    ///
    /// - Each offer (WILL) or request (DO) of an option is refused once. TIMING-MARK is refused
    ///   once per call, because a client may ask again.
    /// - "Are you there?" is answered with a line, once per call.
    /// - "Erase character" and "erase line" edit the current line.
    /// - Other commands and subnegotiations have no effect.
    /// - IAC is data if it does not begin a command. The line is then not UTF-8.
    pub fn decode(&mut self, bytes: &[u8], lines: &mut Lines) -> Vec<u8> {
        let mut answers = Vec::new();
        let (mut is_marked, mut is_asked) = (false, false);
        let mut rest = bytes;
        while let Some(&byte) = rest.first() {
            let mut used = 1;
            self.state = match self.state {
                State::Data => {
                    let data = memchr::memchr(IAC, rest).unwrap_or(rest.len());
                    lines.push(&rest[..data]);
                    rest = &rest[data..];
                    if rest.is_empty() {
                        break;
                    }
                    State::Command
                }
                State::Command => match byte {
                    WILL..=DONT => State::Option(byte),
                    SB => State::Subnegotiation,
                    ERASE_LINE => {
                        lines.erase_line();
                        State::Data
                    }
                    ERASE_CHARACTER => {
                        lines.push(&[DELETE]);
                        State::Data
                    }
                    ARE_YOU_THERE => {
                        if !std::mem::replace(&mut is_asked, true) {
                            answers.extend(HERE);
                        }
                        State::Data
                    }
                    IAC => {
                        lines.push(&[IAC]);
                        State::Data
                    }
                    LOWEST_COMMAND.. => State::Data,
                    _ => {
                        lines.push(&[IAC]);
                        used = 0;
                        State::Data
                    }
                },
                State::Option(WILL) => {
                    self.refuse([DONT, byte], &mut answers);
                    State::Data
                }
                State::Option(DO) if byte == TIMING_MARK => {
                    if !std::mem::replace(&mut is_marked, true) {
                        answers.extend([IAC, WONT, TIMING_MARK]);
                    }
                    State::Data
                }
                State::Option(DO) => {
                    self.refuse([WONT, byte], &mut answers);
                    State::Data
                }
                State::Option(verb) if is_text(byte) => {
                    lines.push(&[IAC, verb]);
                    used = 0;
                    State::Data
                }
                State::Option(_) => State::Data,
                State::Subnegotiation => match memchr::memchr(IAC, rest) {
                    Some(at) => {
                        used = at + 1;
                        State::SubnegotiationCommand
                    }
                    None => {
                        used = rest.len();
                        State::Subnegotiation
                    }
                },
                State::SubnegotiationCommand if byte == SE => State::Data,
                State::SubnegotiationCommand => State::Subnegotiation,
            };
            // Count the bytes of commands towards the limit on bytes without a line ending. If the
            // start of a command turned out to be text, its few bytes count twice, which is
            // harmless.
            lines.skip(used);
            rest = &rest[used..];
        }
        answers
    }

    fn refuse(&mut self, refusal: [u8; 2], answers: &mut Vec<u8>) {
        if !self.refusals.contains(&refusal) {
            self.refusals.push(refusal);
            answers.push(IAC);
            answers.extend(refusal);
        }
    }
}

/// Whether a byte after IAC WONT or IAC DONT is text rather than an option. A line ending counts as
/// text, and so does an unassigned option code (IANA, "Telnet Options"), such as an ASCII letter.
///
/// The distinction matters because the bytes of IAC DONT are also the byte order mark of UTF-16,
/// and text in UTF-16 must be rejected as not UTF-8. A real WONT or DONT is seldom mistaken for
/// text, because a client rarely sends one: the server neither offers nor requests an option.
fn is_text(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r' | 50..=137)
}
