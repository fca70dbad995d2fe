//! A real browser without a window, driven by its own protocol over two pipes (`--remote-debugging-pipe`).
//!
//! Messages are JSON, each ended by a zero byte. No driver is needed that could be missing or of another version; and
//! the protocol can also emulate a phone, prefer dark, and press keys.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::{Value, json};

use crate::common::SOON;

/// The browser reads its messages from descriptor 3 and writes responses to 4.
const START: &str = "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1";
const POLL: Duration = Duration::from_millis(20);

/// A browser with one page. It ends when this is dropped.
pub struct Browser {
    process: Child,
    input: ChildStdin,
    answers: Receiver<Value>,
    next: u64,
    session: String,
    /// Complaints of the page: errors, and violations of its policy.
    pub complaints: Vec<String>,
    _profile: tempfile::TempDir,
}

impl Browser {
    pub fn start() -> Self {
        let profile = tempfile::tempdir().expect("there is room for a profile");
        let mut command = Command::new("sh");
        command.args(["-c", START, "browser", "chromium", "--headless=new", "--remote-debugging-pipe"]);
        // Its own sandbox needs privileges that root in a container may not have; the page is ours.
        command.args(["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-sync"]);
        command.args(["--disable-background-networking", "--disable-component-update", "--force-color-profile=srgb"]);
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("there is a shell");
        let input = process.stdin.take().expect("is piped");
        let mut output = BufReader::new(process.stdout.take().expect("is piped"));
        let (send, answers) = mpsc::channel();
        std::thread::spawn(move || {
            let mut message = Vec::new();
            while output.read_until(0, &mut message).is_ok_and(|length| length > 0) {
                message.pop();
                let Ok(value) = serde_json::from_slice(&message) else { break };
                if send.send(value).is_err() {
                    break;
                }
                message.clear();
            }
        });
        let (session, complaints) = (String::new(), Vec::new());
        let mut browser = Self { process, input, answers, next: 0, session, complaints, _profile: profile };
        browser.new_tab();
        browser
    }

    /// Opens another tab, which later calls use.
    pub fn new_tab(&mut self) {
        self.session.clear();
        let target = self.call("Target.createTarget", json!({"url": "about:blank"}))["targetId"].clone();
        let attached = self.call("Target.attachToTarget", json!({"targetId": target, "flatten": true}));
        attached["sessionId"].as_str().expect("it is attached").clone_into(&mut self.session);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            self.call(&format!("{domain}.enable"), json!({}));
        }
        self.call("Emulation.setScrollbarsHidden", json!({"hidden": true}));
        self.size(1280, 900);
    }

    /// Calls a method of the protocol.
    #[track_caller]
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.ask(method, params).unwrap_or_else(|error| panic!("{method} failed: {error}"))
    }

    #[track_caller]
    fn ask(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        self.next += 1;
        let mut message = json!({"id": self.next, "method": method});
        message["params"] = params;
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        let sent = self.input.write_all(format!("{message}\0").as_bytes());
        assert!(sent.is_ok(), "the browser does not run; is the package chromium installed (make packages)?");
        let begin = Instant::now();
        while let Some(time) = SOON.checked_sub(begin.elapsed()) {
            let mut answer = match self.answers.recv_timeout(time) {
                Ok(answer) => answer,
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("the browser has ended; is the package chromium installed (make packages)?")
                }
            };
            if answer["id"] == self.next {
                let error = answer["error"].take();
                return if error.is_null() { Ok(answer["result"].take()) } else { Err(error) };
            }
            self.hear(&answer);
        }
        panic!("no answer to {method}");
    }

    fn hear(&mut self, event: &Value) {
        let said = match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => &event["params"]["exceptionDetails"],
            // A failed call is no fault of the page.
            Some("Log.entryAdded") if event["params"]["entry"]["source"] != "network" => &event["params"]["entry"],
            _ => return,
        };
        self.complaints.push(said.to_string());
    }

    #[track_caller]
    pub fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({"url": url}));
    }

    /// The value of an expression in the page; promises are awaited.
    #[track_caller]
    pub fn run(&mut self, script: &str) -> Value {
        self.evaluate(script).unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    fn evaluate(&mut self, script: &str) -> Result<Value, Value> {
        let params = json!({"expression": script, "returnByValue": true, "awaitPromise": true, "userGesture": true});
        let mut answer = self.ask("Runtime.evaluate", params)?;
        match answer["exceptionDetails"].take() {
            Value::Null => Ok(answer["result"]["value"].take()),
            error => Err(error),
        }
    }

    /// Waits until an expression is true in the page. During a navigation, and before the page exists, there is no
    /// answer.
    #[track_caller]
    pub fn wait(&mut self, script: &str) {
        let begin = Instant::now();
        while self.evaluate(&format!("Boolean({script})")) != Ok(Value::Bool(true)) {
            if begin.elapsed() > SOON {
                let page = self.run("document.title + '\\n' + document.body.innerText");
                let page = page.as_str().unwrap_or_default();
                panic!("waited in vain for {script}\n{page}\n{:#?}", self.complaints);
            }
            std::thread::sleep(POLL);
        }
    }

    /// The visible text of an element.
    #[track_caller]
    pub fn text(&mut self, selector: &str) -> String {
        let element = format!("document.querySelector({})", json!(selector));
        let text = self.run(&format!("{element}?.checkVisibility() ? {element}.innerText : ''"));
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Clicks on an element as soon as it exists.
    #[track_caller]
    pub fn click(&mut self, selector: &str) {
        let element = format!("document.querySelector({})", json!(selector));
        self.wait(&format!("{element}.checkVisibility() && !{element}.disabled"));
        self.run(&format!("{element}.scrollIntoView({{block: 'center'}})"));
        let place = self.run(&format!(
            "(() => {{ const r = {element}.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2] }})()"
        ));
        for kind in ["mousePressed", "mouseReleased"] {
            let params = json!({"type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1});
            self.call("Input.dispatchMouseEvent", params);
        }
    }

    /// Presses a key.
    #[track_caller]
    pub fn key(&mut self, key: &str) {
        let (code, text) = match key {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            "Escape" => (27, ""),
            "/" => (191, "/"),
            other => panic!("{other} is no key of the tests"),
        };
        for kind in ["keyDown", "keyUp"] {
            let params = json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text});
            self.call("Input.dispatchKeyEvent", params);
        }
    }

    pub fn size(&mut self, width: u32, height: u32) {
        let params = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", params);
    }

    pub fn prefer(&mut self, scheme: &str) {
        let features = json!([
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]);
        self.call("Emulation.setEmulatedMedia", json!({"features": features}));
    }

    /// Takes a screenshot of the whole page, or of what is behind an open dialog: `target/tmp/dashboard/NAME.png`.
    #[track_caller]
    pub fn picture(&mut self, name: &str) {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dashboard");
        let whole = self.run("document.querySelector('dialog[open]') === null");
        let shot = self.call("Page.captureScreenshot", json!({"format": "png", "captureBeyondViewport": whole}));
        let image = BASE64_STANDARD.decode(shot["data"].as_str().expect("a picture is text")).expect("in base64");
        let written =
            fs::create_dir_all(&directory).and_then(|()| fs::write(directory.join(format!("{name}.png")), image));
        assert!(written.is_ok(), "cannot write {name}.png: {written:?}");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // All its processes end with the first.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
