//! The output of `launchctl`, in the form of several versions of macOS.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::job::{End, Job, KeepAlive, State};

/// In an answer, stands for a byte that is not UTF-8: `launchctl` prints the properties of jobs as they are.
pub const NO_TEXT: char = '\u{f8ff}';

/// `launchctl list`, from a session that has none of the jobs, as over SSH.
pub(crate) const LIST: &str = "PID\tStatus\tLabel\n812\t0\tcom.apple.Finder\n-\t0\tcom.apple.idle\n";

/// `launchctl print` of a whole domain.
pub(crate) fn domain<'a>(name: &str, session: &str, jobs: impl Iterator<Item = (&'a str, &'a Job)>) -> String {
    let mut text = format!(
        "{name} = {{\n\ttype = login\n\thandle = 100002\n\tactive count = 412\n\tservice count = 3\n\
         \tsession = {session}\n\tenvironment = {{\n\t\tSSH_AUTH_SOCK => /var/run/x/Listeners\n\t}}\n\n\tservices = {{\n"
    );
    text.push_str("\t\t     812      - \tcom.apple.Finder\n\t\t    9682   (pe) \tcom.apple.x\n\t\t       0      - \tcom.apple.idle\n");
    text.push_str("\t\t       -      ? more \tcom.apple.of-a-later-macos\n");
    for (label, job) in jobs {
        let status = match job.end {
            End::Never => "-".to_owned(),
            End::Code(code) => code.to_string(),
            End::Signal(signal) => format!("-{signal}"),
        };
        let _ = writeln!(text, "\t\t{:>8} {status:>6} \t{label}", job.pid().unwrap_or(0));
    }
    text.push_str(
        "\t}\n\n\tunmanaged processes = {\n\t\tcom.apple.xpc.launchd.unmanaged.x.1 = {\n\t\t\tactive count = 1\n",
    );
    text.push_str("\t\t}\n\t}\n\n\tendpoints = {\n\t\t0x1903    M   D   com.apple.finder\n\t}\n\n");
    text.push_str(
        "\tdisabled services = {\n\t\t\"com.apple.ftpd\" => disabled\n\t}\n\n\tproperties = uninitialized\n}\n",
    );
    text
}

/// `launchctl print` of one job, with lines that only look like properties of the job itself.
pub(crate) fn print(domain: &str, label: &str, job: &Job, macos: u32) -> String {
    let mut text = format!("{domain}/{label} = {{\n");
    let state = match job.state {
        State::NotRunning | State::Pended(_) => "not running",
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
    let _ = writeln!(text, "\t\t{NO_TEXT}\n\t}}\n");
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
    match job.state {
        State::Pended(reason) => drop(writeln!(text, "\tpended nondemand spawn = {reason}")),
        _ if macos >= 26 => text.push_str("\tpended spawn = false\n\tpended nondemand spawn = false\n"),
        _ => {}
    }
    text.push_str("\timmediate reason = non-ipc demand\n\tforks = 0\n\texecs = 1\n\tinitialized = 1\n");
    match job.end {
        End::Never => text.push_str("\tlast exit code = (never exited)\n"),
        End::Code(78) => text.push_str("\tlast exit code = 78: EX_CONFIG\n"),
        End::Code(code) => drop(writeln!(text, "\tlast exit code = {code}")),
        // It replaces the exit code.
        End::Signal(signal) => drop(writeln!(text, "\tlast terminating signal = {}: {signal}", name_of(signal))),
    }
    if let Some(KeepAlive::If(conditions)) = &job.spec.keep_alive {
        text.push_str("\n\tsemaphores = {\n");
        if let Some(wanted) = conditions.successful_exit {
            let _ = writeln!(text, "\t\tsuccessful exit => {}", u32::from(wanted));
        }
        if let Some(wanted) = conditions.crashed {
            let _ = writeln!(text, "\t\tafter crash => {}", u32::from(wanted));
        }
        text.push_str("\t}\n");
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
    // A dictionary is no such property.
    properties.extend((job.spec.keep_alive == Some(KeepAlive::Always(true))).then_some("keepalive"));
    properties.extend(job.spec.run_at_load.then_some("runatload"));
    properties.push("inferred program");
    properties.extend(job.is_stale.then_some("needs LWCR update"));
    if macos >= 26 {
        properties.push("has LWCR");
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
