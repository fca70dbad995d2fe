use super::*;

const PAGE: &str = "http://127.0.0.1:9478";

fn at(address: &str) -> Auth {
    let secret = |letter: &str| Secret(letter.repeat(40));
    Auth { token: secret("t"), pass: secret("p"), ticket: secret("o"), address: address.parse().unwrap() }
}

fn auth() -> Auth {
    at("127.0.0.1:9478")
}

/// Judges a request with these headers, written `name: value`.
fn judge(request: &str, lines: &[&str]) -> Verdict {
    judged_by(&auth(), request, lines)
}

fn judged_by(auth: &Auth, request: &str, lines: &[&str]) -> Verdict {
    let (method, uri) = request.split_once(' ').unwrap();
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        let value = value.replace("TOKEN", &auth.token.0).replace("PASS", &auth.pass.0);
        headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    let uri = uri.replace("TOKEN", &auth.token.0);
    auth.judge(&method.parse().unwrap(), &uri.parse().unwrap(), &headers)
}

fn status(verdict: Verdict) -> u16 {
    match verdict {
        Verdict::Refuse(status, sentence) => {
            assert!(sentence.len() > 20);
            status.as_u16()
        }
        other => panic!("{other:?}"),
    }
}

const HOST: &str = "host: 127.0.0.1:9478";
const WITH_TOKEN: &str = "x-workerheal-token: TOKEN";
const ORIGIN: &str = "origin: http://127.0.0.1:9478";
const JSON: &str = "content-type: application/json";

#[test]
fn the_address_that_was_printed_opens_the_page() {
    let auth = auth();
    let url = auth.url();
    let path = url.strip_prefix(PAGE).unwrap();
    assert_eq!(judge(&format!("GET {path}"), &[HOST]), Verdict::Welcome);
    assert_eq!(judge("GET /", &[HOST, "cookie: theme=x; workerheal-9478=PASS; b=c"]), Verdict::Pass);
    assert_eq!(judge("GET /page.js", &[HOST, "cookie: a=b", "cookie: workerheal-9478=PASS"]), Verdict::Pass);
    let once = auth.url_for_once();
    assert_eq!(judge(&format!("GET {}", once.strip_prefix(PAGE).unwrap()), &[HOST]), Verdict::Ticket);
    let cookie = auth.cookie();
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{cookie}");
    assert!(!cookie.contains(auth.token.as_str()), "{cookie}");
}

#[test]
fn nothing_is_open_without_a_secret_or_with_a_wrong_one() {
    for cookie in ["workerheal-9478=TOKEN", "workerheal-9479=PASS", "workerheal-9478=", "workerheal-9478", "PASS"] {
        assert_eq!(status(judge("GET /", &[HOST, &format!("cookie: {cookie}")])), 403, "{cookie}");
    }
    for path in ["/", "/style.css", "/page.js", "/?token=", "/?token=PASS", "/?token=TOKENx", "/?xtoken=TOKEN", "/x"] {
        assert_eq!(status(judge(&format!("GET {path}"), &[HOST])), 403, "{path}");
    }
    // The pass calls nothing, and neither does a token in the address.
    let wrong = format!("x-workerheal-token: {}x", "t".repeat(39));
    for lines in [
        &[HOST][..],
        &[HOST, "cookie: workerheal-9478=PASS"],
        &[HOST, "x-workerheal-token: PASS"],
        &[HOST, &format!("x-workerheal-token: {}", "o".repeat(40))],
        &[HOST, "x-workerheal-token: "],
        &[HOST, &wrong],
        &[HOST, WITH_TOKEN, WITH_TOKEN],
    ] {
        assert_eq!(status(judge("GET /api/workers", lines)), 403, "{lines:?}");
        assert_eq!(status(judge("GET /api/workers?token=TOKEN", lines)), 403, "{lines:?}");
    }
    assert_eq!(judge("GET /api/workers", &[HOST, WITH_TOKEN]), Verdict::Pass);
}

#[test]
fn only_our_own_names_are_answered_to() {
    for host in ["127.0.0.1:9478", "localhost:9478", "LOCALHOST:9478"] {
        assert_eq!(judge("GET /api/status", &[&format!("host: {host}"), WITH_TOKEN]), Verdict::Pass, "{host}");
    }
    for host in [
        "evil.example:9478",
        "127.0.0.1",
        "127.0.0.1:80",
        "localhost",
        "localhost:9479",
        "127.0.0.2:9478",
        "[::1]:9478",
    ] {
        for request in ["GET /api/status", "GET /?token=TOKEN", "POST /api/heal"] {
            let lines = [&format!("host: {host}"), WITH_TOKEN, ORIGIN, JSON, "cookie: workerheal-9478=PASS"];
            assert_eq!(status(judge(request, &lines)), 403, "{host}");
        }
    }
    assert_eq!(status(judge("GET /api/status", &[WITH_TOKEN])), 403);
    assert_eq!(status(judge("GET /api/status", &[HOST, HOST, WITH_TOKEN])), 403);
    assert_eq!(status(judge("GET http://evil.example/api/status", &[HOST, WITH_TOKEN])), 403);
}

#[test]
fn the_port_of_http_need_not_be_said() {
    let auth = at("[::1]:80");
    for host in ["[::1]", "[::1]:80", "localhost", "localhost:80"] {
        assert_eq!(
            judged_by(&auth, "GET /api/status", &[&format!("host: {host}"), WITH_TOKEN]),
            Verdict::Pass,
            "{host}"
        );
    }
    assert_eq!(status(judged_by(&auth, "GET /api/status", &["host: 127.0.0.1", WITH_TOKEN])), 403);
}

#[test]
fn changes_require_a_post_of_json_from_our_page() {
    let ours = [HOST, WITH_TOKEN, ORIGIN, JSON, "sec-fetch-site: same-origin"];
    assert_eq!(judge("POST /api/heal", &ours), Verdict::Pass);
    assert_eq!(judge("POST /api/heal", &[HOST, WITH_TOKEN, ORIGIN, JSON]), Verdict::Pass);
    let foreign = [
        "origin: http://evil.example",
        "origin: http://127.0.0.1:8080",
        "origin: http://localhost:9478",
        "origin: https://127.0.0.1:9478",
        "origin: null",
    ];
    for origin in foreign {
        for request in ["POST /api/heal", "GET /api/workers"] {
            assert_eq!(status(judge(request, &[HOST, WITH_TOKEN, origin, JSON])), 403, "{origin}");
        }
    }
    for site in ["cross-site", "same-site", "none"] {
        let lines = [HOST, WITH_TOKEN, ORIGIN, JSON, &format!("sec-fetch-site: {site}")];
        assert_eq!(status(judge("POST /api/pause", &lines)), 403, "{site}");
    }
    assert_eq!(status(judge("POST /api/heal", &[HOST, WITH_TOKEN, JSON])), 403);
    for kind in ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data"] {
        let lines = [HOST, WITH_TOKEN, ORIGIN, &format!("content-type: {kind}")];
        assert_eq!(status(judge("POST /api/heal", &lines)), 415, "{kind}");
    }
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"] {
        assert_eq!(status(judge(&format!("{method} /api/heal"), &ours)), 405, "{method}");
    }
}

#[test]
fn secrets_are_long_and_never_the_same() {
    let (one, other) = (Secret::new().unwrap(), Secret::new().unwrap());
    assert_eq!(one.as_str().len(), 40);
    assert!(one.is(one.as_str()) && !one.is(other.as_str()) && !one.is("") && !one.is(&one.as_str()[1..]));
}
