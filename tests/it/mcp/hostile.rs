//! Invalid sessions and hostile input: the server never prints anything but the protocol, hangs or panics.

use serde_json::{Value, json};

use crate::common::{NEVER_GETS_READY, SOON, World};
use crate::mcp::QUEUE;
use crate::mcp::raw::Session;

const NOTHING_SAID: [&str; 0] = [];

#[test]
fn the_server_ends_with_its_input() {
    let world = World::new();
    world.workers([QUEUE]);
    for session in [Session::new, Session::over_sockets] {
        assert_eq!(session(&world).end(), (Some(0), vec![], String::new()), "before the session has begun");
        assert_eq!(session(&world).begin().end(), (Some(0), vec![], String::new()));
    }
    // A client that sends a call and closes its end still gets the result.
    let mut session = Session::begun(&world);
    session.say(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "workers_health"}}));
    let (status, said, errors) = session.end();
    assert_eq!((status, errors.as_str()), (Some(0), ""));
    let answer: Value = serde_json::from_str(&said[0]).expect("it is JSON");
    assert_eq!(answer["result"]["structuredContent"], json!({"workers": []}), "{answer}");
}

#[test]
fn an_endless_heal_does_not_delay_the_end() {
    let world = World::new();
    world.write_worker(QUEUE, NEVER_GETS_READY);
    let _ = world.systemctl(&["start", "--no-block", QUEUE]);
    world.wait_until("it to have begun", SOON, || world.home().join("stubborn").exists().then_some(()));
    world.crash_for_good([QUEUE]);
    let mut session = Session::begun(&world);
    let parameters = json!({"name": "workers_heal", "_meta": {"progressToken": "t"}});
    session.say(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": parameters}));
    let step = session.next();
    assert_eq!((&step["method"], &step["params"]["progressToken"]), (&json!("notifications/progress"), &json!("t")));
    let (status, said, _) = session.end();
    assert_eq!((status, said), (Some(0), vec![]));
}

#[test]
fn a_missing_initialize_request_is_an_error() {
    let world = World::new();
    for session in [Session::new, Session::over_sockets] {
        let mut session = session(&world);
        session.say(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        let (status, said, errors) = session.end();
        assert_eq!((status, said), (Some(2), vec![]));
        assert_eq!(errors, "workerheal: no MCP session: the first message was no `initialize` request\n");
    }
}

#[test]
fn garbage_is_survived() {
    let world = World::new();
    world.workers([QUEUE]);
    let mut session = Session::begun(&world);
    let nested = format!("{}{}\n", "[".repeat(100_000), "]".repeat(100_000));
    let deep = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"tools/call\",\"params\":{{\"name\":\"workers_heal\",\"arguments\":{}1{}}}}}\n",
        "{\"a\":".repeat(100_000),
        "}".repeat(100_000)
    );
    // Longer than the limit for messages, and longer than a pipe holds.
    let long =
        format!("{{\"jsonrpc\":\"2.0\",\"id\":8,\"method\":\"ping\",\"params\":\"{}\"}}\n", "x".repeat(20_000_000));
    for garbage in [
        &b"\n\r\n   \n"[..],
        b"hello\n",
        b"\xff\xfe\0\x01\n",
        b"null\n[]\n{}\n1\n\"text\"\n",
        b"{\"jsonrpc\":\"2.0\"}\n",
        b"{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"ping\"}\n",
        b"{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"ping\"}\n",
        b"{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"ping\"}\n",
        b"{\"jsonrpc\":\"2.0\",\"id\":99,\"result\":{}}\n",
        b"{\"jsonrpc\":\"2.0\",\"id\":99,\"error\":{\"code\":1,\"message\":\"x\"}}\n",
        b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{\"requestId\":\"none\"}}\n",
        b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/unheard\"}\n",
        b"[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}]\n",
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":[]}\n",
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":5}}\n",
        nested.as_bytes(),
        deep.as_bytes(),
        long.as_bytes(),
    ] {
        session.write(garbage);
        let pong = session.ask("ping", &json!({}));
        let shown = String::from_utf8_lossy(&garbage[..garbage.len().min(100)]).into_owned();
        assert_eq!(pong["result"], json!({}), "after {shown:?}: {pong}");
    }
    let (status, _, errors) = session.end();
    assert_eq!((status, errors.as_str()), (Some(0), ""));
}

#[test]
fn unknown_methods_and_invalid_arguments_are_refused() {
    let world = World::new();
    world.workers([QUEUE]);
    let mut session = Session::begun(&world);
    let answer = session.ask("workers/destroy", &json!({}));
    assert_eq!(answer["error"]["code"], -32601, "{answer}");
    let answer = session.ask("resources/subscribe", &json!({ "uri": "workerheal://worker/lerd-queue-myapp/log" }));
    assert_eq!(answer["error"]["code"], -32601, "{answer}");
    for uri in
        ["", "file:///etc/passwd", "workerheal://worker/..%2F..%2Fetc%2Fpasswd/log", "workerheal://worker/ssh/log"]
    {
        let answer = session.ask("resources/read", &json!({ "uri": uri }));
        assert_eq!(answer["error"]["code"], -32002, "{uri}: {answer}");
    }
    let answer = session.ask("prompts/get", &json!({ "name": "whats_wrong", "arguments": { "target": ["myapp"] } }));
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    let answer = session.ask("tools/call", &json!({"name": "workers_restart"}));
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    let arguments = [
        json!({"unit": {"$ref": "#"}}),
        json!({"unit": "x".repeat(500_000)}),
        json!({"unit": "\u{0}\u{1b}[2J\n"}),
        json!({"unit": "../../etc/passwd"}),
        json!({"unit": "--help"}),
        json!({"unit": "lerd-queue-myapp.service\nssh"}),
        json!({"unit": "*"}),
        json!({"__proto__": {}}),
    ];
    for tool in ["workers_heal", "worker_explain", "worker_logs", "workers_pause", "workers_resume"] {
        for arguments in &arguments {
            let answer = session.ask("tools/call", &json!({"name": tool, "arguments": arguments}));
            assert_eq!(answer["result"]["isError"], true, "{tool}: {}", &answer.to_string()[..200]);
            let text = answer["result"]["content"][0]["text"].as_str().expect("it is a text");
            assert!(text.len() < 1000 && !text.contains(char::is_control), "{tool}: {text:?}");
        }
    }
    let answer =
        session.ask("tools/call", &json!({"name": "worker_logs", "arguments": {"target": QUEUE, "lines": u64::MAX}}));
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    assert_eq!(session.end().1, NOTHING_SAID);
    assert_eq!(world.show("lerd-queue-myapp.service", "NRestarts"), "0");
}
