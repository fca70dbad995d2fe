//! Parses the output of `launchctl print` about a job.
//!
//! That is no stable interface, and full of traps: nested blocks have a `state`, too. So only keys at the depth of one
//! tab count, blocks are skipped up to the closing brace at that depth, and a duplicate key counts as missing. What
//! cannot be parsed is unknown, and nothing is done about the unknown.

use std::collections::HashMap;
use std::path::PathBuf;

/// `EX_CONFIG`: launchd's status for a program that it could not start.
const EX_CONFIG: i32 = 78;

/// How the last run of a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// It has not run yet, or its first run has not ended.
    Never,
    /// With this exit status.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// By the system, for this reason (`OS_REASON_CODESIGNING`, `JETSAM_REASON_...`).
    Reason(String),
    /// This version does not understand launchd's output.
    Unknown,
}

/// What `launchctl print` says of one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Job {
    /// launchd's own word: `running`, `not running`, `spawn scheduled`...
    pub state: String,
    pub pid: Option<u32>,
    /// The file that the job was loaded from, if it was loaded from one.
    pub plist: Option<PathBuf>,
    /// The number of runs since it was loaded.
    pub runs: u32,
    pub end: End,
    /// Whether launchd restarts it when it ends, in any case.
    pub keep_alive: bool,
    /// Why launchd puts off the start of a job that is to run (`pended nondemand spawn`).
    pub pended: Option<String>,
    /// Whether launchd cannot start its program until the job is loaded again.
    pub spawn_failed: bool,
    /// A number that is unique to each load of a job.
    pub coalition: Option<u64>,
}

/// Parses a job; `None` if the text is not as expected.
pub(super) fn job(text: &str) -> Option<Job> {
    let keys = top_level(text)?;
    let once = |key: &str| match keys.get(key).map(Vec::as_slice) {
        Some([value]) => Some(*value),
        _ => None,
    };
    let number = |key: &str| match keys.get(key) {
        None => Some(None),
        Some(_) => Some(Some(once(key)?.parse::<u32>().ok()?)),
    };
    let end = end(&keys);
    let state = once("state")?;
    // A program can exit with that status, too: then its job has `exited`. Older macOS have no such line.
    let no_spawn = match once("job state") {
        Some(word) => word == "spawn failed",
        None => end == End::Code(EX_CONFIG) && !keys.contains_key("job state"),
    };
    let refused = once("last exit reason") == Some("OS_REASON_CODESIGNING");
    Some(Job {
        state: state.to_owned(),
        pid: number("pid")?,
        plist: once("path").map(PathBuf::from).filter(|path| path.is_absolute()),
        runs: number("runs")?.unwrap_or(0),
        spawn_failed: state == "spawn scheduled" && (no_spawn || refused),
        pended: once("pended nondemand spawn").filter(|reason| *reason != "false").map(str::to_owned),
        end,
        keep_alive: once("properties").is_some_and(|words| words.split('|').any(|word| word.trim() == "keepalive")),
        coalition: coalition(text),
    })
}

/// The values of the keys at the depth of one tab.
fn top_level(text: &str) -> Option<HashMap<&str, Vec<&str>>> {
    let mut lines = text.lines();
    if !lines.next()?.ends_with(" = {") {
        return None;
    }
    let mut keys: HashMap<&str, Vec<&str>> = HashMap::new();
    let mut inside = false;
    for line in lines {
        let Some(rest) = line.strip_prefix('\t') else {
            if line == "}" && !inside {
                return Some(keys);
            }
            // An empty line, or one of a multi-line argument.
            continue;
        };
        if inside {
            inside = rest != "}";
            continue;
        }
        if rest.starts_with('\t') {
            continue;
        }
        if rest.ends_with(" = {") {
            inside = true;
        } else if let Some((key, value)) = rest.split_once(" = ") {
            keys.entry(key).or_default().push(value.trim());
        }
    }
    // The text was truncated.
    None
}

/// A signal outranks an exit status, even if the signal cannot be parsed.
fn end(keys: &HashMap<&str, Vec<&str>>) -> End {
    let once = |key: &str| match keys.get(key).map(Vec::as_slice) {
        None => Ok(None),
        Some([value]) => Ok(Some(*value)),
        Some(_) => Err(()),
    };
    let (Ok(signal), Ok(code), Ok(reason)) =
        (once("last terminating signal"), once("last exit code"), once("last exit reason"))
    else {
        return End::Unknown;
    };
    if let Some(signal) = signal {
        let number = signal.rsplit_once(": ").map_or(signal, |(_, number)| number);
        return number.parse().map_or(End::Unknown, End::Signal);
    }
    match (code, reason) {
        // Idle jobs are ended on purpose.
        (_, Some(reason)) if reason.ends_with("IDLE_EXIT") => End::Code(0),
        (None | Some("(never exited)" | "0"), Some(reason)) => End::Reason(reason.to_owned()),
        (Some("(never exited)"), None) => End::Never,
        (Some(code), _) => {
            let number = code.split_once(": ").map_or(code, |(number, _)| number);
            match number.parse::<i32>() {
                Ok(status) if status < 0 => End::Signal(-status),
                Ok(status) => End::Code(status),
                Err(_) => End::Unknown,
            }
        }
        (None, None) => End::Unknown,
    }
}

/// The id in the block of the resource coalition, which differs for each load of a job.
fn coalition(text: &str) -> Option<u64> {
    let mut lines = text.lines().skip_while(|line| *line != "\tresource coalition = {").skip(1);
    lines.next()?.strip_prefix("\t\tID = ")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Output of macOS 13 and later, shortened.
    fn printed(lines: &str) -> String {
        format!(
            "gui/501/com.lerd.lerd-queue-myapp = {{\n\tactive count = 1\n\
             \tpath = /Users/me/Library/LaunchAgents/lerd-queue-myapp.plist\n\ttype = LaunchAgent\n{lines}\
             \n\tprogram = /bin/sh\n\targuments = {{\n\t\t/bin/sh\n\t\t-c\n\t\tstate = waiting\n\t}}\n\
             \tdefault environment = {{\n\t\tPATH => /usr/bin:/bin:/usr/sbin:/sbin\n\t\tpid = 1\n\t}}\n\
             \tdomain = gui/501 [100002]\n\tminimum runtime = 10\n\
             \n\tresource coalition = {{\n\t\tID = 1114\n\t\ttype = resource\n\t\tstate = active\n\
             \t\tactive count = 1\n\t}}\n\tjetsam coalition = {{\n\t\tID = 1115\n\t\tstate = active\n\t}}\n\
             \tspawn type = daemon (3)\n\tjob state = exited\n\
             \tproperties = runatload | inferred program\n}}\n"
        )
    }

    fn ended(lines: &str) -> End {
        job(&printed(&format!("\tstate = not running\n{lines}"))).unwrap().end
    }

    #[test]
    fn only_the_jobs_own_state_counts() {
        let running = job(&printed("\tstate = running\n\truns = 2\n\tpid = 4242\n\tlast exit code = 1\n")).unwrap();
        assert_eq!((running.state.as_str(), running.pid, running.runs), ("running", Some(4242), 2));
        assert_eq!(running.plist, Some("/Users/me/Library/LaunchAgents/lerd-queue-myapp.plist".into()));
        assert_eq!((running.coalition, running.keep_alive), (Some(1114), false));
        let no_state = printed("\truns = 2\n");
        assert_eq!(job(&no_state), None, "the nested ones are of something else");
        let kept = printed("\tstate = waiting\n").replace("runatload |", "keepalive | runatload |");
        assert!(job(&kept).unwrap().keep_alive);
    }

    #[test]
    fn every_way_to_end_is_distinguished() {
        assert_eq!(ended("\tlast exit code = 0\n"), End::Code(0));
        assert_eq!(ended("\tlast exit code = 1\n"), End::Code(1));
        assert_eq!(ended("\tlast exit code = 78: EX_CONFIG\n"), End::Code(78));
        assert_eq!(ended("\tlast exit code = (never exited)\n"), End::Never);
        assert_eq!(ended("\tlast exit code = -9\n"), End::Signal(9));
        // After a death by a signal there is no exit code.
        assert_eq!(ended("\tlast terminating signal = Killed: 9\n"), End::Signal(9));
        assert_eq!(ended("\tlast terminating signal = Segmentation fault: 11\n"), End::Signal(11));
        assert_eq!(ended("\tlast terminating signal = Terminated: 15\n\tlast exit code = 0\n"), End::Signal(15));
        assert_eq!(ended("\tlast exit reason = OS_REASON_DYLD\n"), End::Reason("OS_REASON_DYLD".into()));
        assert_eq!(ended("\tlast exit reason = JETSAM_REASON_MEMORY_IDLE_EXIT\n"), End::Code(0));
    }

    #[test]
    fn unreadable_output_is_unknown() {
        assert_eq!(ended(""), End::Unknown);
        assert_eq!(ended("\tlast exit code = none\n"), End::Unknown);
        assert_eq!(ended("\tlast terminating signal = Killed\n\tlast exit code = 1\n"), End::Unknown);
        assert_eq!(ended("\tlast exit code = 0\n\tlast exit code = 1\n"), End::Unknown);
        let twice = "\tstate = running\n\tstate = not running\n";
        let cut_off = printed("\tstate = running\n");
        for text in ["", "Could not find service\n", "x = {\n}", &printed(twice), &cut_off[..cut_off.len() - 3]] {
            assert_eq!(job(text), None, "{text:?}");
        }
        assert_eq!(job(&printed("\tstate = running\n\tpid = many\n")), None);
        // A multi-line argument can contain anything, but not end its block.
        let several = printed("\tstate = running\n").replace("\t\t-c\n", "\t\t-c\nstate = not running\n}\n");
        assert_eq!(job(&several).unwrap().state, "running");
    }
}
