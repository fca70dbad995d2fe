//! The groups whose members may use the daemon for units of the system.

use std::fs;

/// Members may read what the daemon knows.
pub(super) const READERS: &str = "workerheal";
/// Members may also heal, stop, pause and resume.
pub(super) const OPERATORS: &str = "workerheal-operators";

/// The number of a group; `None` if the system has none of that name. Both are system groups, which are in this file
/// even where people come from a directory service (sysusers.d(5)).
pub(super) fn number(name: &str) -> Option<u32> {
    find(&fs::read_to_string("/etc/group").ok()?, name)
}

/// The number of a group in a file as of group(5).
fn find(file: &str, name: &str) -> Option<u32> {
    let mut lines = file.lines().map(|line| line.split(':'));
    lines.find_map(|mut fields| (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found_by_their_whole_names() {
        let file = "root:x:0:\nworkerheal-operators:x:997:workerheal,me\nworkerheal:x:998:you\nodd:x:many:\n";
        assert_eq!(find(file, OPERATORS), Some(997));
        assert_eq!(find(file, READERS), Some(998));
        assert_eq!(find(file, "worker"), None);
        assert_eq!(find(file, "odd"), None);
    }
}
