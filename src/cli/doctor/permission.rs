//! Whether the daemon of the system may start the units that it watches.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::finding::Finding;
use crate::files::config::Config;
use crate::install::polkit::{self, InForce};

/// How to have the rule written.
const WRITE: &str = "write it: sudo workerheal --system install";

/// What polkit permits the daemon whose process this is, if it runs. A daemon that runs as root needs no permission.
pub(super) fn of_permission(pid: Option<u32>, config: &Config) -> Finding {
    let runs_as_root = pid.and_then(|pid| fs::metadata(format!("/proc/{pid}")).ok()).is_some_and(|it| it.uid() == 0);
    let in_force = polkit::in_force(Path::new(polkit::RULE_FILE), &polkit::rule(&config.selector));
    finding(runs_as_root, polkit::knows_rules(), in_force)
}

fn finding(runs_as_root: bool, knows_rules: bool, in_force: InForce) -> Finding {
    let rule = polkit::RULE_FILE;
    match in_force {
        _ if runs_as_root => Finding::ok("polkit", "not needed: the daemon runs as root"),
        _ if !knows_rules => Finding::problem(
            "polkit",
            "there is no polkit 0.106 or later, which would let the daemon start units",
            "install it (on Debian 12 or later the package polkitd), then: sudo workerheal --system install; or let the \
             daemon run as root, with [Service] and User=root in: sudo systemctl edit workerheal",
        ),
        InForce::Same => Finding::ok("polkit", format!("{rule} permits what the configuration covers")),
        InForce::Missing => {
            let says = format!("{rule} is missing, so the daemon has no permission to start units");
            Finding::problem("polkit", says, WRITE)
        }
        InForce::Outdated => {
            let says = format!("{rule} was made of another configuration, so the daemon may lack permissions");
            Finding::problem("polkit", says, WRITE)
        }
        InForce::Hidden => {
            let says = format!("you may not read {rule}, so it is not known what the daemon may start");
            Finding::warning("polkit", says, "ask as root: sudo workerheal --system doctor")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn each_lack_of_a_permission_is_reported_with_its_remedy() {
        for (runs_as_root, knows_rules, in_force, level, says, remedy) in [
            (false, true, InForce::Same, Level::Ok, "60-workerheal.rules permits what", ""),
            (false, true, InForce::Missing, Level::Problem, "is missing", "sudo workerheal --system install"),
            (
                false,
                true,
                InForce::Outdated,
                Level::Problem,
                "of another configuration",
                "sudo workerheal --system install",
            ),
            (false, true, InForce::Hidden, Level::Warning, "you may not read", "sudo workerheal --system doctor"),
            (false, false, InForce::Missing, Level::Problem, "no polkit 0.106", "User=root"),
            (true, false, InForce::Missing, Level::Ok, "runs as root", ""),
        ] {
            let found = finding(runs_as_root, knows_rules, in_force);
            assert_eq!(found.level, level, "{found:?}");
            assert!(found.says.contains(says) && found.remedy.contains(remedy), "{found:?}");
        }
    }
}
