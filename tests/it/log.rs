//! The log of a worker, read from a real journal.
//!
//! This program runs itself inside the sandbox to read it, with the test that is ignored otherwise.

#![expect(clippy::unwrap_used, reason = "this is for tests only")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use crate::common::{LIVES, SOON, World};
use workerheal::client::log::{self, LogLine};
use workerheal::{Options, UnitName};

const QUEUE: &str = "lerd-queue-myapp";
/// Prints the lines of `~/say`, then waits for more.
const SAYS: &str = "ExecStart=tail -n +1 -F %h/say";

#[test]
fn lines_are_in_order_with_their_author() {
    let world = World::new();
    world.write_file("say", "one\n  two\n\u{1b}[31mthree\u{1b}[0m\n");
    world.worker(QUEUE, SAYS);
    world.workers(["lerd-vite-myapp"]);
    world.wait_for_journal("its output", SOON, |entry| entry["MESSAGE"] == "\u{1b}[31mthree\u{1b}[0m");
    let mut events = world.start_daemon();
    world.crash(QUEUE);
    events.wait("healed", QUEUE);
    world.stop_unit("lerd-queue-myapp.service");
    // The last line is about the end.
    events.wait("stopped", QUEUE);

    let lines = last(&world, QUEUE, 100);
    let said = |text: &str| {
        let is_it = |line: &String| line.ends_with(text) || line.contains(&format!("{text}; it was down for "));
        lines.iter().position(is_it)
    };
    let steps = [
        "Worker one",
        "Worker   two",
        "Worker three",
        "Manager lerd-queue-myapp.service: Main process exited, code=killed, status=9/KILL",
        "Workerheal lerd-queue-myapp is being started",
        "Workerheal lerd-queue-myapp is up again and has stayed up",
        "Manager Stopped lerd-queue-myapp.service.",
    ];
    let places: Vec<_> = steps.iter().map(|step| said(step).unwrap_or_else(|| panic!("{step}: {lines:#?}"))).collect();
    assert!(places.is_sorted(), "{places:?} {lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("vite")), "{lines:#?}");
    let times: Vec<&str> = lines.iter().map(|line| line.split_once(' ').unwrap().0).collect();
    assert!(times.is_sorted() && times[0].starts_with("20"), "{times:?}");
    assert_eq!(last(&world, QUEUE, 3), lines[lines.len() - 3..]);
    assert_eq!(last(&world, QUEUE, 0), [""; 0]);
}

#[test]
fn a_follower_gets_the_last_lines_and_each_new_one() {
    let world = World::new();
    world.write_file("say", "past\n");
    world.worker(QUEUE, SAYS);
    world.wait_for_journal("its output", SOON, |entry| entry["MESSAGE"] == "past");
    let mut follower = Follower::of(&world, QUEUE, 10);
    // The line about its start may come before or after.
    let mut next = || loop {
        let line = follower.next();
        if line.starts_with("Worker ") {
            return line;
        }
    };
    assert_eq!(next(), "Worker past");
    for text in ["new", "newer"] {
        append(&world, &format!("{text}\n"));
        assert_eq!(next(), format!("Worker {text}"));
    }
    // Once it is dropped, no reader is left.
    let reads = || world.command("pgrep").args(["-x", "journalctl"]).output().unwrap().status.success();
    assert!(reads());
    follower.child.kill().unwrap();
    world.wait_until("its reader to end", SOON, || (!reads()).then_some(()));
}

const DIES_AT_ONCE: &str = "ExecStart=sh -c 'echo no database; exit 1'";

/// Starts a worker that dies before journald has seen it, so that journald cannot assign its lines.
#[track_caller]
fn start_unseen(world: &World) {
    let signal = |signal| {
        let sent = world.command("pkill").args([signal, "-x", "systemd-journal"]).status().unwrap();
        assert!(sent.success(), "there is a journald");
    };
    signal("-STOP");
    let _ = world.systemctl(&["start", QUEUE]);
    world.wait_for_state("lerd-queue-myapp.service", "failed", SOON);
    signal("-CONT");
    world.journal(&[]);
}

#[test]
fn lines_of_a_worker_that_died_at_once_are_its_own() {
    let world = World::new();
    world.write_worker(QUEUE, DIES_AT_ONCE);
    start_unseen(&world);
    let said = world.journal(&["MESSAGE=no database"]);
    assert!(said[0]["_SYSTEMD_USER_UNIT"].is_null(), "{said:#?}");
    let lines = last(&world, QUEUE, 100);
    assert!(lines.iter().any(|line| line.ends_with("Worker no database")), "{lines:#?}");
}

#[test]
fn a_follower_gets_lines_of_a_worker_that_died_at_once() {
    let world = World::new();
    world.write_worker(QUEUE, DIES_AT_ONCE);
    start_unseen(&world);
    let end = "Manager lerd-queue-myapp.service: Failed with result 'exit-code'.";
    let past = last(&world, QUEUE, 10).len();
    let mut follower = Follower::of(&world, QUEUE, 10);
    let past: Vec<String> = (0..past).map(|_| follower.next()).collect();
    assert!(past.iter().any(|line| line == "Worker no database"), "{past:#?}");
    for _ in 0..3 {
        start_unseen(&world);
        let mut lines = Vec::new();
        while lines.last().is_none_or(|line| line != end) {
            lines.push(follower.next());
        }
        assert_eq!(lines.iter().filter(|line| *line == "Worker no database").count(), 1, "{lines:#?}");
    }
}

#[test]
fn binary_and_endless_lines_are_cleaned_and_cut() {
    let world = World::new();
    world.write_worker(QUEUE, SAYS);
    let long = "x".repeat(200_000);
    let bytes = [&b"\0\x01\x02\n\xff\xfe rest\r\n"[..], long.as_bytes(), b"\nlast\n"].concat();
    std::fs::write(world.home().join("say"), bytes).unwrap();
    world.control(&["enable", "--now", QUEUE]);
    world.wait_for_journal("its output", SOON, |entry| entry["MESSAGE"] == "last");
    let lines = last(&world, QUEUE, 100);
    let own: Vec<&str> = lines.iter().filter_map(|line| Some(line.split_once(" Worker ")?.1)).collect();
    assert_eq!(own[0], "\u{fffd}\u{fffd} rest", "{own:?}");
    assert_eq!(own[1], format!("{}…", "x".repeat(1000)));
    assert_eq!(*own.last().unwrap(), "last");
    assert!(own.iter().all(|line| line.chars().count() <= 1001), "{own:?}");
}

#[test]
fn a_name_with_a_backslash_is_matched_literally() {
    let world = World::new();
    let unit = r"lerd-a\x2db-myapp";
    world.write_file("say", "hello\n");
    world.worker(unit, SAYS);
    world.wait_for_journal("its output", SOON, |entry| entry["MESSAGE"] == "hello");
    let lines = last(&world, unit, 100);
    assert!(lines.iter().any(|line| line.ends_with("Worker hello")), "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains("Manager Started ")), "{lines:#?}");
}

#[test]
fn a_log_may_be_empty() {
    let world = World::new();
    world.write_worker(QUEUE, LIVES);
    assert_eq!(last(&world, QUEUE, 50), [""; 0]);
    let mut follower = Follower::of(&world, QUEUE, 50);
    world.control(&["enable", "--now", QUEUE]);
    assert!(follower.next().starts_with("Manager Start"), "a start is the first line that there is");
}

#[track_caller]
fn append(world: &World, text: &str) {
    let mut file = std::fs::OpenOptions::new().append(true).open(world.home().join("say")).unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
}

/// Time, author and text of the last lines.
#[track_caller]
fn last(world: &World, unit: &str, count: usize) -> Vec<String> {
    world.journal(&[]);
    let output = reader(world, unit, count).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().filter_map(said).collect()
}

struct Follower {
    child: Child,
    lines: Receiver<String>,
}

impl Follower {
    fn of(world: &World, unit: &str, count: usize) -> Self {
        let mut child = reader(world, unit, count).env("FOLLOW", "yes").stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, received) = channel();
        thread::spawn(move || {
            lines.map_while(Result::ok).filter_map(|it| said(&it)).try_for_each(|it| sender.send(it))
        });
        Self { child, lines: received }
    }

    /// Author and text of the next line.
    #[track_caller]
    fn next(&mut self) -> String {
        self.lines.recv_timeout(SOON).unwrap().split_once(' ').unwrap().1.to_owned()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The reader's output follows that of the test harness.
fn said(line: &str) -> Option<String> {
    Some(line.split_once("LOG ")?.1.to_owned())
}

fn reader(world: &World, unit: &str, count: usize) -> Command {
    let mut command = world.command(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "log::prints_the_log_for_another_test", "--nocapture"]);
    command.env("UNIT", unit).env("COUNT", count.to_string());
    command
}

#[tokio::test]
#[ignore = "is what the other tests run inside their sandboxes"]
async fn prints_the_log_for_another_test() {
    let unit = UnitName::parse(&std::env::var("UNIT").unwrap()).unwrap();
    let count = std::env::var("COUNT").unwrap().parse().unwrap();
    let options = Options::default();
    if std::env::var_os("FOLLOW").is_none() {
        log::last(&options, &unit, count).await.unwrap().iter().for_each(print);
        return;
    }
    let mut log = log::follow(&options, &unit, count).await.unwrap();
    while let Some(line) = log.next().await.unwrap() {
        print(&line);
    }
}

fn print(line: &LogLine) {
    let time = humantime::format_rfc3339_micros(line.time.unwrap());
    println!("LOG {time} {:?} {}", line.author, line.text);
}
