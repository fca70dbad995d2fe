//! The demo's output: a log, and on a terminal a table below it that is updated in place.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _, stdout};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

// Colours with a meaning.
const WELL: &str = "32";
const BAD: &str = "31";
const WAITS: &str = "33";
const ACT: &str = "1;36";
const STRONG: &str = "1";
const FAINT: &str = "2";

/// One of the workers, as shown.
pub struct Worker {
    /// As `SITE/KIND`.
    pub name: String,
    /// The last thing that happened to it, if any.
    pub trouble: &'static str,
    /// The daemon's last event about it.
    pub phase: String,
    pub attempt: u64,
    pub retry_at: Option<Instant>,
    /// Its outcome, as soon as it is known.
    pub outcome: String,
}

impl Worker {
    pub fn new(site: &str, kind: &str) -> Self {
        let (name, phase, outcome) = (format!("{site}/{kind}"), String::new(), String::new());
        Self { name, trouble: "", phase, attempt: 0, retry_at: None, outcome }
    }

    fn mark(&self) -> (&'static str, &'static str) {
        match self.phase.as_str() {
            "" | "healed" | "recovered" => ("✔", WELL),
            "starting" => ("▸", WAITS),
            "scheduled" => ("…", WAITS),
            "held" | "stopped" => ("–", WAITS),
            _ => ("✘", BAD),
        }
    }

    fn state(&self) -> String {
        let wait = self.retry_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()));
        match self.phase.as_str() {
            _ if !self.outcome.is_empty() => self.outcome.clone(),
            "" | "healed" | "recovered" => "running".to_owned(),
            "starting" => format!("attempt {}: does it stay up?", self.attempt),
            "scheduled" => format!("down, attempt {} in {:.1} s", self.attempt, wait.as_secs_f64()),
            "held" | "stopped" => "down, and left alone".to_owned(),
            _ => "down".to_owned(),
        }
    }
}

/// Standard output.
pub struct Screen {
    live: bool,
    colored: bool,
    width: usize,
    /// Lines of the table that are on the screen.
    drawn: usize,
}

impl Screen {
    pub fn new() -> Self {
        let live = stdout().is_terminal() && std::env::var_os("TERM").is_some_and(|term| term != "dumb");
        let colored = live && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let width = if live { columns().unwrap_or(80).max(60) } else { usize::MAX };
        Self { live, colored, width, drawn: 0 }
    }

    /// Logs an action of the demo, with the reason below it.
    pub fn act(&mut self, time: Duration, text: &str, workers: &[Worker]) {
        let (deed, why) = text.split_once('\n').unwrap_or((text, ""));
        let mut text = format!("{} {}", self.paint(ACT, "»"), self.paint(STRONG, deed));
        for line in why.lines() {
            let _ = write!(text, "\n           {line}");
        }
        self.log(time, &text, workers);
    }

    /// Logs a message of the daemon about itself.
    pub fn remark(&mut self, time: Duration, text: &str, workers: &[Worker]) {
        let text = self.paint(FAINT, &cut(text, self.width - 11));
        self.log(time, &format!("  {text}"), workers);
    }

    /// Logs a message of the daemon about one of the workers.
    pub fn show(&mut self, time: Duration, about: usize, text: &str, workers: &[Worker]) {
        let (about, (mark, color)) = (&workers[about], workers[about].mark());
        let text = cut(text, self.width - 26);
        self.log(time, &format!("{} {:<14} {text}", self.paint(color, mark), about.name), workers);
    }

    fn log(&mut self, time: Duration, text: &str, workers: &[Worker]) {
        let time = self.paint(FAINT, &format!("{:7.3}", time.as_secs_f64()));
        self.draw(&format!("{time}  {text}\n"), workers);
    }

    /// Adds lines to the log, and redraws the table.
    pub fn draw(&mut self, lines: &str, workers: &[Worker]) {
        let erase = if self.drawn > 0 { format!("\x1b[{}F\x1b[J", self.drawn) } else { String::new() };
        let table = if self.live { self.table(workers) } else { String::new() };
        self.drawn = table.lines().count();
        print(&(erase + lines + &table));
    }

    /// Prints the last line; the table stays.
    pub fn end(mut self, text: &str, workers: &[Worker]) {
        self.live = true;
        self.draw("\n", workers);
        print(text);
    }

    fn table(&self, workers: &[Worker]) -> String {
        let head = format!("── {:─<15} {:─<24} {:─<34}", "worker ", "what happened to it ", "how it is ");
        let mut table = self.paint(FAINT, &head) + "\n";
        for worker in workers {
            let (mark, color) = worker.mark();
            let (mark, state) = (self.paint(color, mark), self.paint(color, &cut(&worker.state(), self.width - 44)));
            let _ = writeln!(table, "{mark}  {:<15} {:<24} {state}", worker.name, worker.trouble);
        }
        table
    }

    fn paint(&self, color: &str, text: &str) -> String {
        if self.colored { format!("\x1b[{color}m{text}\x1b[m") } else { text.to_owned() }
    }
}

pub fn print(text: &str) {
    // If the reader is gone, this is no error.
    let mut out = stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Columns of the terminal.
fn columns() -> Option<usize> {
    let size = Command::new("stty").arg("size").stdin(Stdio::inherit()).stderr(Stdio::null()).output().ok()?;
    std::str::from_utf8(&size.stdout).ok()?.trim().split_once(' ')?.1.parse().ok()
}

fn cut(text: &str, room: usize) -> String {
    if text.chars().count() <= room { text.to_owned() } else { text.chars().take(room - 1).chain(['…']).collect() }
}
