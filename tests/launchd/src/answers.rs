//! What `launchctl` prints, in the form of one macOS or another.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::job::{End, Job, State};

/// `launchctl list`.
pub(crate) fn list<'a>(jobs: impl Iterator<Item = (&'a String, &'a Job)>) -> String {
    let mut text = "PID\tStatus\tLabel\n812\t0\tcom.apple.Finder\n-\t0\tcom.apple.idle\n".to_owned();
    for (label, job) in jobs {
        let pid = job.pid().map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        let status = match job.end {
            End::Never => 0,
            End::Code(code) => code,
            End::Signal(signal) => -signal,
        };
        let _ = writeln!(text, "{pid}\t{status}\t{label}");
    }
    text
}

/// `launchctl print`, with all that only looks like what it says of the job itself.
pub(crate) fn print(domain: &str, label: &str, job: &Job, macos: u32) -> String {
    let mut text = format!("{domain}/{label} = {{\n");
    let state = match job.state {
        State::NotRunning => "not running",
        State::Running(_) => "running",
        State::Scheduled(_) => "spawn scheduled",
        State::Draining(..) => "SIGTERMed",
    };
    let _ = write!(text, "\tactive count = {}\n\tpath = {}\n", u32::from(job.pid().is_some()), job.plist.display());
    let _ = write!(text, "\ttype = LaunchAgent\n\tstate = {state}\n\n");
    let _ = write!(text, "\tprogram = {}\n\targuments = {{\n", job.spec.program_arguments[0]);
    for argument in &job.spec.program_arguments {
        let _ = writeln!(text, "\t\t{argument}");
    }
    text.push_str("\t}\n\n");
    if let Some(path) = &job.spec.working_directory {
        let _ = write!(text, "\tworking directory = {}\n\n", path.display());
    }
    text.push_str("\tinherited environment = {\n\t\tSSH_AUTH_SOCK => /var/run/x/Listeners\n\t}\n\n");
    text.push_str("\tdefault environment = {\n\t\tPATH => /usr/bin:/bin:/usr/sbin:/sbin\n\t}\n\n");
    let _ = write!(text, "\tenvironment = {{\n\t\tXPC_SERVICE_NAME => {label}\n\t\tstate = active\n\t}}\n\n");
    let _ = write!(text, "\tdomain = {domain} [100002]\n\tasid = 100002\n\tminimum runtime = 10\n");
    let _ = write!(text, "\texit timeout = 5\n\truns = {}\n", job.runs);
    if let Some(pid) = job.pid() {
        let _ = writeln!(text, "\tpid = {pid}");
    }
    text.push_str("\timmediate reason = non-ipc demand\n\tforks = 0\n\texecs = 1\n\tinitialized = 1\n");
    match job.end {
        End::Never => text.push_str("\tlast exit code = (never exited)\n"),
        End::Code(78) => text.push_str("\tlast exit code = 78: EX_CONFIG\n"),
        End::Code(code) => drop(writeln!(text, "\tlast exit code = {code}")),
        // It takes the place of the exit code.
        End::Signal(signal) => drop(writeln!(text, "\tlast terminating signal = {}: {signal}", name_of(signal))),
    }
    for (kind, id) in [("resource", job.coalition), ("jetsam", job.coalition + 1)] {
        let _ = write!(text, "\n\t{kind} coalition = {{\n\t\tID = {id}\n\t\ttype = {kind}\n\t\tstate = active\n");
        let _ = write!(text, "\t\tactive count = 1\n\t\tname = {label}\n\t}}\n");
    }
    text.push_str("\n\tspawn type = daemon (3)\n\tjetsam priority = 40\n\tcpumon = default\n");
    if macos >= 14 {
        let word = if job.spawn_failed {
            "spawn failed"
        } else if job.pid().is_some() {
            "running"
        } else {
            "exited"
        };
        let _ = writeln!(text, "\tjob state = {word}");
    }
    let mut properties = Vec::new();
    properties.extend(job.spec.keep_alive.then_some("keepalive"));
    properties.extend(job.spec.run_at_load.then_some("runatload"));
    properties.push("inferred program");
    if macos >= 26 {
        properties.push("managed LWCR");
    }
    let _ = write!(text, "\n\tproperties = {}\n}}\n", properties.join(" | "));
    text
}

fn name_of(signal: i32) -> &'static str {
    match signal {
        1 => "Hangup",
        6 => "Abort trap",
        9 => "Killed",
        11 => "Segmentation fault",
        15 => "Terminated",
        _ => "Signal",
    }
}

/// `launchctl print-disabled`.
pub(crate) fn print_disabled(labels: &BTreeMap<String, bool>, macos: u32) -> String {
    let [yes, no] = if macos >= 13 { ["disabled", "enabled"] } else { ["true", "false"] };
    let mut text = "\n\tdisabled services = {\n\t\t\"com.apple.ftpd\" => ".to_owned() + yes + "\n";
    for (label, disabled) in labels {
        let _ = writeln!(text, "\t\t\"{label}\" => {}", if *disabled { yes } else { no });
    }
    text.push_str("\t}\n\tlogin item associations = {\n\t}\n");
    text
}
