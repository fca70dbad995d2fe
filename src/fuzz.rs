//! Fuzz targets: one function for each kind of input from outside. None may panic, and their assertions hold for any
//! input.
//!
//! Compiled for tests, which run the corpora in `fuzz/corpus`, and for the targets in `fuzz/`.

#![expect(clippy::missing_panics_doc, reason = "a panic is what is looked for")]

use crate::api::{HealRequest, PauseRequest, ResumeRequest};
use crate::core::text;
use crate::core::text::{excerpt, log_lines};
use crate::core::units::UnitName;
use crate::files::config::Config;
use crate::files::{sites_yaml, state_file};
use crate::http::request;

/// The configuration.
pub fn config(data: &[u8]) {
    if let Err(error) = Config::parse(data) {
        within(data, error.line);
    }
}

/// The registry of sites.
pub fn registry(data: &[u8]) {
    if let Err(error) = sites_yaml::parse(data) {
        within(data, error.line);
    }
}

/// An error is inside the file.
fn within(data: &[u8], line: usize) {
    // Each line except the last has an end.
    assert!(line <= data.len() + 1, "line {line} of {} bytes", data.len());
}

/// Unit names and object paths are converted into each other.
pub fn names(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(name) = UnitName::parse(&text) {
        assert_eq!(UnitName::parse(name.as_str()).as_ref(), Ok(&name));
        assert_eq!(UnitName::parse(name.short()).as_ref(), Ok(&name));
    }
    #[cfg(target_os = "linux")]
    crate::manager::systemd::fuzz::names(&text);
}

/// The state file: what can be read can be written, and is unchanged when it is read again.
pub fn state(data: &[u8]) {
    state_file::fuzz(data);
}

/// Bodies of requests, and durations in them.
pub fn requests(data: &[u8]) {
    let _ = request::object::<HealRequest>(data);
    let _ = request::object::<ResumeRequest>(data);
    if let Ok(PauseRequest { time: Some(time), .. }) = request::object(data) {
        let _ = request::duration(&time);
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = request::duration(text);
    }
}

/// Messages of the service manager: as many bytes are passed on as were received.
pub fn messages(data: &[u8]) {
    #[cfg(target_os = "linux")]
    crate::manager::systemd::fuzz::messages(data);
    #[cfg(not(target_os = "linux"))]
    let _ = data;
}

/// Entries of the journal, and texts made from them.
pub fn journal(data: &[u8]) {
    #[cfg(target_os = "linux")]
    crate::manager::fuzz_journal(data);
    let said = String::from_utf8_lossy(data);
    let line = excerpt(&said);
    assert!(line.chars().count() <= 221);
    for shown in log_lines(&said).chain([line]) {
        assert!(!shown.chars().any(char::is_control), "{shown:?}");
        assert_eq!(text::plain(&shown), shown);
    }
}

/// The output of `launchctl`.
pub fn launchctl(data: &[u8]) {
    crate::manager::launchd::fuzz(&String::from_utf8_lossy(data));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// Variations of this input, always the same.
    fn alike(input: &[u8]) -> impl Iterator<Item = Vec<u8>> {
        let mut random = fastrand::Rng::with_seed(1);
        (0..100).map(move |_| {
            let mut other = input.to_vec();
            for _ in 0..random.usize(1..4) {
                let (at, to) = (random.usize(..=other.len()), random.usize(..=other.len()));
                match random.u8(..5) {
                    0 => other.truncate(at),
                    1 => other.insert(at, random.u8(..)),
                    2 => other.extend_from_within(at.min(to)..at.max(to)),
                    3 => drop(other.drain(at.min(to)..at.max(to).min(at.min(to) + 8))),
                    _ if at < other.len() => other[at] ^= 1 << random.u8(..8),
                    _ => {}
                }
            }
            other
        })
    }

    #[test]
    fn corpora_and_mutations_of_them_cause_no_panic() {
        type Target = fn(&[u8]);
        let targets: [(&str, Target); 8] = [
            ("config", config),
            ("registry", registry),
            ("names", names),
            ("state", state),
            ("requests", requests),
            ("messages", messages),
            ("journal", journal),
            ("launchctl", launchctl),
        ];
        for (name, target) in targets {
            let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
            let mut inputs = 0;
            for entry in std::fs::read_dir(&directory).unwrap() {
                let input = std::fs::read(entry.unwrap().path()).unwrap();
                target(&input);
                alike(&input).for_each(|input| target(&input));
                inputs += 1;
            }
            assert!(inputs > 0, "{name}");
        }
    }
}
