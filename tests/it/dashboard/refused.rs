//! Rejected requests, and that they have no effect: raw HTTP to the real address.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;

use crate::common::{SOON, World};
use crate::dashboard::browser::Browser;
use crate::dashboard::page::Page;
use crate::dashboard::{QUEUE, VITE, break_down, repair, world};

/// The status, and the whole response.
#[track_caller]
fn ask(page: &Page, request: &str, headers: &[&str], body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(&page.host).unwrap_or_else(|error| panic!("cannot connect: {error}"));
    stream.set_read_timeout(Some(SOON)).expect("a time is no zero");
    let headers: Vec<String> = headers.iter().map(|it| format!("{it}\r\n")).collect();
    let head = format!("{request} HTTP/1.1\r\ncontent-length: {}\r\n{}\r\n", body.len(), headers.concat());
    stream.write_all(format!("{head}{body}").as_bytes()).expect("it can be asked");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    let status = answer.split(' ').nth(1).and_then(|it| it.parse().ok());
    (status.unwrap_or_else(|| panic!("no answer: {answer:?}")), answer)
}

#[test]
fn requests_without_the_token_or_from_other_pages_are_refused() {
    let world = world();
    world.start_daemon();
    let page = Page::start(&world);
    break_down(&world);
    repair(&world);
    let before = world.picture(&[QUEUE, VITE]);
    let (host, token) = (format!("host: {}", page.host), format!("x-workerheal-token: {}", page.token));
    let port = page.host.rsplit_once(':').expect("it has a port").1;
    let origin = format!("origin: http://{}", page.host);
    let (json, form) = ("content-type: application/json", "content-type: application/x-www-form-urlencoded");
    let heal = "POST /api/heal";
    let refused: [(u16, &str, &[&str]); 14] = [
        (403, "GET /", &[&host]),
        (403, "GET /page.js", &[&host]),
        (403, "GET /?token=0000000000000000000000000000000000000000", &[&host]),
        (403, "GET /api/workers", &[&host]),
        (403, "GET /api/workers", &[&host, "x-workerheal-token: 0000000000000000000000000000000000000000"]),
        (403, "GET /api/workers", &["host: evil.example", &token]),
        (403, "GET /api/workers", &[&format!("host: evil.example:{port}"), &token]),
        (403, heal, &[&host, &origin, json]),
        (403, heal, &[&host, &token, json]),
        (403, heal, &[&host, &token, form]),
        (403, heal, &[&host, &token, json, "origin: http://evil.example"]),
        (403, heal, &[&host, &token, json, &origin, "sec-fetch-site: cross-site"]),
        (415, heal, &[&host, &token, form, &origin]),
        (405, "GET /api/heal", &[&host, &token, &origin]),
    ];
    for (expected, request, headers) in refused {
        let (status, answer) = ask(&page, request, headers, "{\"targets\":[]}");
        assert_eq!(status, expected, "{request} {headers:?}: {answer}");
        assert!(!answer.contains(&page.token) && !answer.to_lowercase().contains("set-cookie"), "{answer}");
    }
    let (status, answer) =
        ask(&page, heal, &[&host, &token, json, &origin], &format!("{{\"targets\":[\"{}\"]}}", "x".repeat(20_000)));
    assert_eq!(status, 413, "{answer}");
    assert_eq!(world.picture(&[QUEUE, VITE]), before);

    // With everything that the page has, it works: the rejections above had the expected reasons.
    let localhost = format!("localhost:{port}");
    let ours = [&format!("host: {localhost}"), &token, json, &format!("origin: http://{localhost}")];
    let (status, answer) = ask(&page, heal, &ours, "{\"targets\":[]}");
    assert_eq!(status, 200, "{answer}");
    assert!(answer.contains("event: plan") && answer.contains("event: result"), "{answer}");
    for header in [
        "content-security-policy: default-src 'none'; script-src 'self'",
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
        "cache-control: no-store",
    ] {
        assert!(answer.contains(header), "{header}: {answer}");
    }
    assert_eq!(world.show(&format!("{QUEUE}.service"), "ActiveState"), "active");
}

/// Follows the events until one contains this word, and returns the ids of all.
#[track_caller]
fn follow(page: &Page, header: &str, word: &str) -> Vec<String> {
    let mut stream = TcpStream::connect(&page.host).unwrap_or_else(|error| panic!("cannot connect: {error}"));
    stream.set_read_timeout(Some(SOON)).expect("a time is no zero");
    let (host, token) = (&page.host, &page.token);
    let request = format!("GET /api/events HTTP/1.1\r\nhost: {host}\r\nx-workerheal-token: {token}\r\n{header}\r\n");
    stream.write_all(request.as_bytes()).expect("it can be asked");
    let mut ids = Vec::new();
    let mut found = false;
    for line in BufReader::new(stream).lines() {
        let line = line.unwrap_or_else(|error| panic!("no {word} after {ids:?}: {error}"));
        found |= line.contains(word);
        if let Some(id) = line.strip_prefix("id: ") {
            ids.push(id.to_owned());
        }
        // An event ends with an empty line.
        if found && line.is_empty() {
            break;
        }
    }
    ids
}

#[test]
fn events_continue_after_the_last_seen_one() {
    let world = world();
    world.start_daemon();
    let page = Page::start(&world);
    world.crash(QUEUE);
    let ids = follow(&page, "", "\"healed\"");
    assert_eq!(ids.len(), 3, "{ids:?}");
    assert_eq!(follow(&page, &format!("last-event-id: {}\r\n", ids[0]), "\"healed\""), ids[1..]);
    let again = follow(&page, "last-event-id: 0123456789abcdef-7\r\n", "\"healed\"");
    assert_eq!(again, ids, "with a gap that is reported");
}

#[test]
fn text_of_workers_and_files_is_not_interpreted_as_html() {
    let world = World::new();
    world.config("refresh: 100ms\nheal: {stable_after: 5s, give_up_after: 1}\n");
    let evil = "<img src=x onerror=window.evil=1><script>window.evil=1</script>";
    world.write_file("evil", &format!("{evil}\n"));
    // The shell itself prints it: a process that ends at once is gone before the journal knows its unit.
    let says = "read -r line <%h/evil; echo \"$$line\" >&2; sleep 0.2; exit 1";
    world.worker(QUEUE, &format!("ExecStart=sh -c 'test ! -e %h/broken && exec sleep infinity; {says}'"));
    world.start_daemon();
    let page = Page::start(&world);
    let mut browser = Browser::start();
    browser.open(&page.url);
    browser.wait("document.querySelectorAll('.card').length === 1");
    world.write_file("broken", "");
    world.crash(QUEUE);
    browser.wait("document.querySelector('#log').textContent.includes('<img src=x onerror=')");
    browser.wait("document.querySelector('#failing .last-error').textContent.includes('<script>')");
    browser.wait("document.querySelector('.card .last-error').textContent.includes('<script>')");
    browser.click("[data-act=explain]");
    browser.wait("document.querySelector('#explain').textContent.includes('<script>')");
    browser.key("Escape");
    world.registry(format!("sites:\n- {{name: myapp}}\n- {{name: other, paused: '{evil}'}}\n"));
    browser.wait("document.querySelector('#notices').textContent.includes('<img src=x onerror=')");
    let elements = "document.querySelectorAll('body img, body script, head script:not([src])').length";
    assert_eq!(browser.run(elements), 0);
    assert_eq!(browser.run("window.evil === undefined"), true);
    assert_eq!(browser.complaints, [""; 0]);
}

#[test]
fn the_dashboard_listens_on_loopback_only_and_explains_errors() {
    let world = World::new();
    for address in ["0.0.0.0:9478", "192.0.2.1:80", "[::]:0"] {
        let ran = world.run(&["dashboard", "--no-open", "--listen", address]);
        assert_eq!(ran.status, 2, "{ran:?}");
        assert!(ran.err.contains("ssh -L") && ran.out.is_empty(), "{ran:?}");
    }
    let page = Page::start(&world);
    let ran = world.run(&["dashboard", "--no-open", "--listen", &page.host]);
    assert_eq!(ran.status, 2, "{ran:?}");
    assert!(ran.err.contains("cannot listen at 127.0.0.1:") && ran.err.contains("--listen"), "{ran:?}");
    assert!(page.complaint().contains("no daemon answers"));
}

#[test]
fn the_browser_is_opened_with_a_single_use_address() {
    let world = World::new();
    // The fake browser records its arguments.
    world.write_file("bin/xdg-open", "#!/bin/sh\necho \"$1\" >~/opened.new; mv ~/opened.new ~/opened\n");
    let program = world.home().join("bin/xdg-open");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is there");
    let path = format!("{}:/usr/bin:/bin", world.home().join("bin").display());
    let page = Page::opened(&world, &path);
    let opened =
        world.wait_until("a browser to be opened", SOON, || fs::read_to_string(world.home().join("opened")).ok());
    assert!(!opened.contains(&page.token), "everybody can read command lines");
    let path = opened.trim().strip_prefix(&format!("http://{}", page.host)).unwrap_or_else(|| panic!("{opened}"));
    let host = format!("host: {}", page.host);
    let (status, answer) = ask(&page, &format!("GET {path}"), &[&host], "");
    assert_eq!(status, 200, "{answer}");
    assert!(answer.contains(&page.token), "{answer}");
    let (status, answer) = ask(&page, &format!("GET {path}"), &[&host], "");
    assert_eq!(status, 403, "{answer}");
    // The printed address can be opened any number of times.
    for _ in 0..2 {
        assert_eq!(ask(&page, &format!("GET /?token={}", page.token), &[&host], "").0, 200);
    }
}

#[test]
fn silent_clients_and_slow_readers_block_no_other() {
    let world = world();
    world.start_daemon();
    let page = Page::start(&world);
    let silent = || TcpStream::connect(&page.host).expect("it listens");
    let _silent: Vec<TcpStream> = (0..100).map(|_| silent()).collect();
    let request =
        format!("GET /api/events HTTP/1.1\r\nhost: {}\r\nx-workerheal-token: {}\r\n\r\n", page.host, page.token);
    let mut deaf: Vec<TcpStream> = (0..8).map(|_| silent()).collect();
    for stream in &mut deaf {
        stream.write_all(request.as_bytes()).expect("it can be asked");
    }
    world.crash(QUEUE);
    assert_eq!(follow(&page, "", "\"healed\"").len(), 3);
}
