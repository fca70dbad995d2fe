//! Reads the tables that `launchctl` prints: the jobs of a domain, and the labels that are disabled.
//!
//! A table must be complete, or it is ignored. A line about a job that is not as expected still names the job, which is
//! then inspected by itself.

use std::collections::HashMap;

/// One job of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub label: String,
    /// The process of a running job.
    pub pid: Option<u32>,
}

/// The loaded jobs in the output of `print`; `None` if the output is not as expected.
pub(super) fn services(text: &str) -> Option<Vec<Listed>> {
    let mut lines = text.lines();
    if !lines.next()?.ends_with(" = {") || text.lines().next_back() != Some("}") {
        return None;
    }
    let mut lines = lines.skip_while(|line| *line != "\tservices = {");
    lines.next()?;
    let mut listed = Vec::new();
    for line in lines {
        if line == "\t}" {
            return Some(listed);
        }
        listed.extend(service(line));
    }
    None
}

/// `    9682   (pe)     com.apple.x`: the process or 0, the status, and after a tab the label. An unreadable process
/// counts as unknown.
fn service(line: &str) -> Option<Listed> {
    let (columns, label) = line.rsplit_once('\t')?;
    let pid = columns.split_whitespace().next().and_then(|pid| pid.parse().ok()).filter(|pid| *pid > 0);
    (!label.is_empty()).then(|| Listed { label: label.to_owned(), pid })
}

/// Which labels are disabled (true) or enabled on purpose; `None` if the output is not as expected. Up to macOS 12 the
/// words are `true` and `false`.
pub(super) fn disabled(text: &str) -> Option<HashMap<String, bool>> {
    let mut lines = text.lines().map(str::trim).skip_while(|line| *line != "disabled services = {");
    lines.next()?;
    let mut labels = HashMap::new();
    for line in lines {
        if line == "}" {
            return Some(labels);
        }
        let (label, word) = line.split_once(" => ")?;
        let is_disabled = match word.trim() {
            "disabled" | "true" => true,
            "enabled" | "false" => false,
            _ => return None,
        };
        labels.insert(label.trim_matches('"').to_owned(), is_disabled);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(lines: &str) -> String {
        format!(
            "gui/501 = {{\n\ttype = login\n\tsession = Aqua\n\n\tservices = {{\n{lines}\t}}\n\n\
             \tunmanaged processes = {{\n\t\tx = {{\n\t\t}}\n\t}}\n}}\n"
        )
    }

    #[test]
    fn a_domain_is_read_whole_or_not_at_all() {
        let text = domain(
            "\t\t    4242      - \tcom.lerd.lerd-queue-myapp\n\t\t    9682   (pe) \tcom.apple.x\n\
             \t\t       0     -9 \ta b[0x287]\n",
        );
        let read: Vec<(String, Option<u32>)> =
            services(&text).unwrap().into_iter().map(|job| (job.label, job.pid)).collect();
        let expected = [("com.lerd.lerd-queue-myapp", Some(4242)), ("com.apple.x", Some(9682)), ("a b[0x287]", None)];
        assert_eq!(read, expected.map(|(label, pid)| (label.to_owned(), pid)));
        assert_eq!(services(&domain("")), Some(vec![]));
        let strange = domain("\t\tmany\tlabel\n\t\t7\tshort\n\t\t8 0 more\tlong\n\tnothing\t\n");
        let read: Vec<(String, Option<u32>)> =
            services(&strange).unwrap().into_iter().map(|job| (job.label, job.pid)).collect();
        let expected = [("label", None), ("short", Some(7)), ("long", Some(8))];
        assert_eq!(read, expected.map(|(label, pid)| (label.to_owned(), pid)));
        let cut_off = domain("");
        for wrong in ["", "PID\tStatus\tLabel\n", "gui/501 = {\n}\n", &cut_off[..cut_off.len() - 2]] {
            assert_eq!(services(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn the_database_of_disabled_jobs_is_read_in_old_words_and_new() {
        for (no, yes) in [("enabled", "disabled"), ("false", "true")] {
            let text = format!(
                "\n\tdisabled services = {{\n\t\t\"com.lerd.a\" => {yes}\n\t\t\"com.lerd.a-b\" => {no}\n\t}}\n\
                 \tlogin item associations = {{\n\t\t\"x\" => whatever\n\t}}\n"
            );
            let labels = disabled(&text).unwrap();
            assert_eq!((labels.get("com.lerd.a"), labels.get("com.lerd.a-b")), (Some(&true), Some(&false)));
        }
        assert_eq!(disabled("disabled services = {\n\"x\" => perhaps\n}"), None);
        assert_eq!(disabled("disabled services = {\n"), None);
        assert_eq!(disabled(""), None);
    }
}
