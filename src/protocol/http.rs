//! Recognizes web clients, which must not become members, by the first bytes that they send.

/// Common HTTP methods, and PRI, with which HTTP/2 begins (RFC 9113, section 3.4).
const METHODS: [&[u8]; 10] = [
    b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH", b"PRI",
];

/// Kind of a client, judged by the start of its first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// An HTTP request, whatever follows.
    Request,
    /// An HTTP method, or the start of a method. The rest of the line tells whether the line is a
    /// request.
    Method,
    /// Neither an HTTP request nor the start of one with a common method.
    Other,
}

/// Whether `line` is the first line of an HTTP request: a method, a target, and, except in
/// HTTP/0.9, a version.
///
/// Any word can be a method, in upper or lower case. A line without a version is a request if its
/// second word begins with `/`, contains `://`, or is `*`, or if the first word is CONNECT and the
/// second contains a port (RFC 9112, section 3.2). So `GET /` is a request, but `Get` is a name and
/// `GET 3ID12` is a name with a group. A line with a carriage return in it is not a request:
/// it is several lines of a client that ends its lines with carriage returns only.
pub fn is_request(line: &str) -> bool {
    if line.contains('\r') {
        return false;
    }
    let mut words = line.split_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return false;
    };
    let version = words.next_back().unwrap_or(target).as_bytes();
    let has_version = version
        .get(..5)
        .is_some_and(|start| start.eq_ignore_ascii_case(b"HTTP/"));
    let is_target = target == "*"
        || is_target(target.as_bytes())
        || method.eq_ignore_ascii_case("CONNECT") && target.contains(':');
    is_token(method.as_bytes()) && (has_version || is_target)
}

/// Recognizes an HTTP request by `part`, the start of the client's first line.
pub fn recognize(part: &[u8]) -> Start {
    let part = part.trim_ascii_start();
    let Some(end) = memchr::memchr(b' ', part) else {
        let is_method = !part.is_empty() && METHODS.iter().any(|method| method.starts_with(part));
        return if is_method {
            Start::Method
        } else {
            Start::Other
        };
    };
    let (method, target) = (&part[..end], part[end..].trim_ascii_start());
    if is_token(method) && is_target(target) {
        Start::Request
    } else if METHODS.contains(&method) {
        Start::Method
    } else {
        Start::Other
    }
}

/// Whether a connection that begins with `bytes` uses TLS: the first bytes of a handshake record
/// are its type, 22, and the major version, 3 (RFC 8446, section 5.1).
pub fn is_tls(bytes: &[u8]) -> bool {
    bytes.starts_with(&[22, 3])
}

/// Whether the first word of `target` is a path or a URL.
fn is_target(target: &[u8]) -> bool {
    let word = target
        .split(u8::is_ascii_whitespace)
        .next()
        .unwrap_or_default();
    word.starts_with(b"/") || memchr::memmem::find(word, b"://").is_some()
}

/// Whether `word` is a token, as every method is (RFC 9110, section 5.6.2). A command such as
/// `/json` is not a token.
fn is_token(word: &[u8]) -> bool {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !word.is_empty() && word.iter().all(is_token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_an_http_request_only_with_a_target_or_a_version() {
        for line in [
            "GET / HTTP/1.1",
            "GET /",
            "get /index.html",
            "Get / http/1.0",
            "PRI * HTTP/2.0",
            "OPTIONS *",
            "CONNECT example.com:443 HTTP/1.1",
            "GET http://example.com/a",
            "M-SEARCH * HTTP/1.1",
            "GET /a file HTTP/1.1",
            "GET HTTP/1.1",
            "x\t/",
            "GET\u{a0}/",
            "CONNECT example.com:443",
            "connect [::1]:443",
        ] {
            assert!(is_request(line), "{line}");
        }
        for line in [
            "",
            "GET",
            "get",
            "Get 3ID12",
            "GET 3ID12/b.2",
            "HTTP/1.1",
            "ala http",
            "/json /x",
            "Łucja /x",
            "ala\r/online",
            "ala 3A\r/msg ola see http://x",
            "a:b /x",
            "Connect 3ID12",
            "ala 3ID12:b",
        ] {
            assert!(!is_request(line), "{line}");
        }
    }

    #[test]
    fn an_http_request_is_recognized_before_its_line_ends() {
        for (part, start) in [
            ("", Start::Other),
            ("G", Start::Method),
            ("GET", Start::Method),
            ("GET ", Start::Method),
            ("GET h", Start::Method),
            ("GET /", Start::Request),
            ("\r\nGET /", Start::Request),
            ("get ", Start::Other),
            ("get /a b", Start::Request),
            ("GET http://", Start::Request),
            ("GETS", Start::Other),
            ("ala", Start::Other),
            ("ala 3ID12/b", Start::Other),
            ("/json x", Start::Other),
            ("/pass /", Start::Other),
        ] {
            assert_eq!(recognize(part.as_bytes()), start, "{part:?}");
        }
    }
}
