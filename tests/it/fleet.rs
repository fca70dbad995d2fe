//! Monitoring of a fleet: real daemons, a real Prometheus that scrapes them, a real Alertmanager.

#![expect(clippy::expect_used, reason = "this is for tests only")]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{DAEMON, LIVES_UNLESS_BROKEN, Ran, World};
use serde_json::Value;

const QUEUE: &str = "lerd-queue-myapp";
const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/prometheus");
/// Long enough for three programs that scrape, evaluate and notify in turn.
const ALERT_TIMEOUT: Duration = Duration::from_secs(60);

/// A program that is killed at the end of the test.
struct Program(Child);

impl Program {
    fn start(name: &str, args: &[String]) -> Self {
        let mut command = Command::new(name);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn();
        Self(
            child.unwrap_or_else(|error| {
                panic!("`{name}` does not run ({error}): run tests/sandbox/install-packages.sh")
            }),
        )
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An unused address on loopback.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("there is a free port")
}

/// The body of a response, if there is one.
fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(ALERT_TIMEOUT)).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nhost: localhost\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer.split_once("\r\n\r\n")?.1.to_owned())
}

/// Each active alert, with the unit or the instance that it is about.
fn alerts(alertmanager: SocketAddr) -> Vec<(String, String)> {
    let answer = get(alertmanager, "/api/v2/alerts?active=true").unwrap_or_default();
    let alerts: Vec<Value> = serde_json::from_str(&answer).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    alerts.iter().map(|it| (text(&it["labels"]["alertname"]), text(&it["labels"]["instance"]))).collect()
}

#[track_caller]
fn wait_for(what: &str, mut check: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !check() {
        assert!(begin.elapsed() < ALERT_TIMEOUT, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A machine whose daemon serves metrics, with a worker that can be broken.
fn machine(heal: &str) -> (World, SocketAddr) {
    let (world, address) = (World::new(), free_address());
    world.config(&format!("refresh: 100ms\nheal: {{stable_after: 50ms, {heal}}}\nmetrics: {{listen: '{address}'}}\n"));
    world.worker(QUEUE, LIVES_UNLESS_BROKEN);
    world.start_daemon().wait_for_log(&["metrics are served at"]);
    (world, address)
}

#[test]
fn every_alert_rule_is_tested_and_the_metrics_pass_the_linter() {
    for args in [["check", "rules", "workerheal.rules.yml"], ["test", "rules", "workerheal.rules.test.yml"]] {
        let ran = Ran::of(Command::new("promtool").args(args).current_dir(RULES));
        assert_eq!(ran.status, 0, "{ran:?}");
    }
    let rules = fs::read_to_string(Path::new(RULES).join("workerheal.rules.yml")).expect("it is there");
    let tests = fs::read_to_string(Path::new(RULES).join("workerheal.rules.test.yml")).expect("it is there");
    for rule in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(tests.contains(&format!("alertname: {rule}\n")), "{rule} has no test in which it fires");
    }

    let (world, address) = machine("backoff: {initial: 50ms}");
    let mut events = world.events();
    world.crash(QUEUE);
    events.wait("healed", QUEUE);
    let text = get(address, "/metrics").expect("it is served");
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn().expect("it can be started");
    promtool.stdin.take().expect("it is piped").write_all(text.as_bytes()).expect("it is read");
    let ran = Ran::from(promtool.wait_with_output().expect("it ends"));
    assert_eq!((ran.status, ran.out.as_str(), ran.err.as_str()), (0, "", ""), "{text}");
    assert!(text.contains("workerheal_recovery_seconds_count 1\n"), "{text}");

    // The address serves nothing else.
    for path in ["/", "/v1/workers", "/v1/status"] {
        assert_eq!(get(address, path).as_deref(), Some("{\"error\":\"only /metrics is served here\"}"), "{path}");
    }
    // It follows the configuration.
    world.config("refresh: 100ms\n");
    wait_for("the address to be left", || get(address, "/metrics").is_none());
}

#[test]
fn alerts_fire_and_end_for_a_fleet_of_three() {
    let fleet = [
        machine("backoff: {initial: 20ms, factor: 1}, give_up_after: 2"),
        machine("backoff: {initial: 20ms, factor: 1}"),
        machine("backoff: {initial: 20ms, factor: 1}"),
    ];
    let [(giving_up, first), (flapping, second), (gone, third)] = &fleet;
    let directory = tempfile::tempdir().expect("there is room");
    let at = |name: &str| directory.path().join(name).display().to_string();
    // The shipped rules, with shorter times.
    let rules = fs::read_to_string(Path::new(RULES).join("workerheal.rules.yml")).expect("it is there");
    let faster = rules.replace("[15m]", "[8s]").replace("for: 2m", "for: 1s");
    assert_ne!(rules, faster);
    fs::write(at("rules.yml"), faster).expect("there is room");
    let (prometheus, alertmanager) = (free_address(), free_address());
    fs::write(at("alertmanager.yml"), "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
        .expect("there is room");
    let configuration = format!(
        "global: {{scrape_interval: 300ms, scrape_timeout: 300ms, evaluation_interval: 300ms}}\n\
         rule_files: [rules.yml]\n\
         alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{alertmanager}']}}]}}]}}\n\
         scrape_configs:\n\
         - {{job_name: workerheal, static_configs: [{{targets: ['{first}', '{second}', '{third}']}}]}}\n"
    );
    fs::write(at("prometheus.yml"), configuration).expect("there is room");
    let _alertmanager = Program::start(
        "prometheus-alertmanager",
        &[
            format!("--config.file={}", at("alertmanager.yml")),
            format!("--storage.path={}", at("alerts")),
            format!("--web.listen-address={alertmanager}"),
            "--cluster.listen-address=".to_owned(),
        ],
    );
    wait_for("Alertmanager to be ready", || get(alertmanager, "/-/ready").is_some());
    let _prometheus = Program::start(
        "prometheus",
        &[
            format!("--config.file={}", at("prometheus.yml")),
            format!("--storage.tsdb.path={}", at("data")),
            format!("--web.listen-address={prometheus}"),
        ],
    );
    wait_for("Prometheus to have seen the three", || {
        let answer = get(prometheus, "/api/v1/query?query=sum(up)").unwrap_or_default();
        answer.contains("\"3\"")
    });
    assert_eq!(alerts(alertmanager), [], "all is well");
    let reported =
        |alert: &str, machine: &SocketAddr| alerts(alertmanager).contains(&(alert.to_owned(), machine.to_string()));

    giving_up.write_file("broken", "");
    let mut events = giving_up.events();
    giving_up.crash(QUEUE);
    events.wait("gave-up", QUEUE);
    wait_for("the worker that was given up to be reported", || reported("WorkerGivenUp", first));

    let mut events = flapping.events();
    // So that there is a sample before the first attempt.
    wait_for("the flapping worker to be reported", || {
        flapping.crash(QUEUE);
        events.wait("healed", QUEUE);
        reported("WorkerFlapping", second)
    });

    gone.stop_unit(DAEMON);
    wait_for("the daemon that is gone to be reported", || reported("WorkerhealGone", third));
    assert!(!reported("WorkerGivenUp", second) && !reported("WorkerhealGone", first), "each is reported of its own");

    fs::remove_file(giving_up.home().join("broken")).expect("it is there");
    assert_eq!(giving_up.run(&["heal", "--prove", "50ms"]).status, 0);
    gone.start_unit(DAEMON);
    wait_for("all alerts to end", || alerts(alertmanager).is_empty());
}
