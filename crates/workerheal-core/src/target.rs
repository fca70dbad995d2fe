//! TARGET on the command line: a unit, `SITE/WORKER` (in the main checkout), `SITE/WORKER@WORKTREE`, or a site (all of
//! its workers).
//!
//! Only workers that the configuration covers can be named; anything else is refused.

use std::collections::BTreeSet;
use std::fmt;

use super::context::Context;
use super::pauses::Target;
use super::selector::Worker;
use super::units::UnitName;

/// Maximum length of a target, in bytes: unit names have at most 255 characters, and so do sites.
const MAX_TARGET_BYTES: usize = 512;

/// Maximum length of a target for which a similar name is suggested, in bytes.
const MAX_SUGGESTED_BYTES: usize = 128;
/// Maximum number of character comparisons in the search for a similar name.
const MAX_COMPARISONS: usize = 1_000_000;

/// A target that names no covered worker. The suggestion is computed when the error is displayed, as that takes longer
/// and must not hold up the daemon's loop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownTarget {
    target: String,
    workers: Vec<(UnitName, Worker)>,
    /// Why there is no such worker, if known.
    why: Option<String>,
}

impl UnknownTarget {
    /// For a target that names none of these workers, which are all.
    #[must_use]
    pub fn new(target: &str, workers: &[(UnitName, Worker)], context: &Context) -> Self {
        unknown(target, workers).in_context(context)
    }

    /// Adds why there is no such worker, if the settings show it.
    #[must_use]
    pub fn in_context(self, context: &Context) -> Self {
        Self { why: context.why_unknown(&self.target), ..self }
    }
}

impl std::error::Error for UnknownTarget {}

impl fmt::Display for UnknownTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, workers, why } = self;
        if target.len() > MAX_TARGET_BYTES {
            return write!(f, "a name of {} characters is that of no worker", target.len());
        }
        write!(f, "no worker named {target:?}; ")?;
        if let Some(why) = why {
            return f.write_str(why);
        }
        match nearest(target, workers) {
            Some(name) => write!(f, "did you mean {name:?}?"),
            None if workers.is_empty() => f.write_str("no workers were found at all: see `workerheal check`"),
            None => f.write_str("name a unit, SITE/WORKER or a site"),
        }
    }
}

/// The workers that the target names, of all these: one, or all of a site.
///
/// # Errors
///
/// If it names none of them; suggests the nearest that exists.
pub fn find<'w>(target: &str, workers: &'w [(UnitName, Worker)]) -> Result<Vec<&'w (UnitName, Worker)>, UnknownTarget> {
    if target.len() > MAX_TARGET_BYTES {
        return Err(unknown(target, workers));
    }
    let found: Vec<_> = workers.iter().filter(|(unit, worker)| names(target, unit, worker)).collect();
    if found.is_empty() { Err(unknown(target, workers)) } else { Ok(found) }
}

/// What the targets name, for a pause: a site as a whole, else units; everything if there is no target.
///
/// # Errors
///
/// As [`find`].
pub fn pausable(targets: &[String], workers: &[(UnitName, Worker)]) -> Result<Vec<Target>, UnknownTarget> {
    if targets.is_empty() {
        return Ok(vec![Target::Everything]);
    }
    let mut named = Vec::new();
    for target in targets {
        let is_site = !target.is_empty() && workers.iter().any(|(_, worker)| worker.site == *target);
        if is_site {
            named.push(Target::Site(target.clone()));
        } else {
            named.extend(find(target, workers)?.into_iter().map(|(unit, _)| Target::Unit(unit.clone())));
        }
    }
    Ok(named)
}

/// Whether one of the targets names this very worker, not just its site.
#[must_use]
pub fn names_itself(targets: &[String], unit: &UnitName, worker: &Worker) -> bool {
    targets.iter().any(|target| *target != worker.site && names(target, unit, worker))
}

/// Whether the target names this worker.
#[must_use]
pub fn names(target: &str, unit: &UnitName, worker: &Worker) -> bool {
    match target.split_once('/') {
        Some((site, task)) => !site.is_empty() && worker.site == site && is_task(task, worker),
        None => target == unit.short() || target == unit.as_str() || (!target.is_empty() && target == worker.site),
    }
}

/// Whether this is the worker's name within its site. A worktree may be named like its directory: unit names have
/// hyphens in place of dots.
fn is_task(task: &str, worker: &Worker) -> bool {
    match (&worker.worktree, task.rsplit_once('@')) {
        (None, _) => task == worker.name,
        (Some(worktree), Some((name, named))) => name == worker.name && named.replace('.', "-") == *worktree,
        (Some(_), None) => false,
    }
}

fn unknown(target: &str, workers: &[(UnitName, Worker)]) -> UnknownTarget {
    UnknownTarget { target: target.to_owned(), workers: workers.to_vec(), why: None }
}

/// The most similar name, if one is similar enough.
fn nearest(target: &str, workers: &[(UnitName, Worker)]) -> Option<String> {
    if target.len() > MAX_SUGGESTED_BYTES {
        return None;
    }
    let names: BTreeSet<String> = workers
        .iter()
        .flat_map(|(unit, worker)| {
            let by_site = (!worker.site.is_empty()).then(|| [worker.site.clone(), worker.to_string()]);
            by_site.into_iter().flatten().chain([unit.short().to_owned()])
        })
        .collect();
    let length = target.chars().count();
    let mut comparisons = 0;
    let mut best: Option<(usize, String)> = None;
    for name in names {
        let other = name.chars().count();
        // More than half of the name has to match.
        let most = length.max(other).div_ceil(2);
        if length.abs_diff(other) >= most {
            continue;
        }
        comparisons += length * other;
        if comparisons > MAX_COMPARISONS {
            break;
        }
        let distance = strsim::osa_distance(target, &name);
        if distance < most && best.as_ref().is_none_or(|(nearest, _)| distance < *nearest) {
            best = Some((distance, name));
        }
    }
    best.map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::parse_error::ParseError;
    use crate::registry::{Entries, Registry};
    use crate::selector::Selector;

    fn workers() -> Vec<(UnitName, Worker)> {
        [("queue", "myapp"), ("vite", "myapp"), ("queue", "shop")]
            .map(|(name, site)| {
                let worker = Worker { site: site.into(), name: name.into(), worktree: None };
                (UnitName::parse(&format!("lerd-{name}-{site}")).unwrap(), worker)
            })
            .to_vec()
    }

    fn selected(target: &str) -> Result<Vec<String>, UnknownTarget> {
        let workers = workers();
        Ok(find(target, &workers)?.into_iter().map(|(unit, _)| unit.to_string()).collect())
    }

    #[test]
    fn a_site_is_paused_as_a_whole() {
        let named = |target: &str| pausable(&[target.to_owned()], &workers());
        assert_eq!(named("myapp").unwrap(), [Target::Site("myapp".into())]);
        assert_eq!(named("myapp/vite").unwrap(), [Target::Unit(UnitName::parse("lerd-vite-myapp").unwrap())]);
        assert!(named("").is_err());
        assert_eq!(pausable(&[], &workers()).unwrap(), [Target::Everything]);
    }

    #[test]
    fn a_target_is_a_unit_a_site_and_worker_or_a_site() {
        assert_eq!(selected("lerd-queue-shop").unwrap(), ["lerd-queue-shop"]);
        assert_eq!(selected("lerd-queue-shop.service").unwrap(), ["lerd-queue-shop"]);
        assert_eq!(selected("myapp/vite").unwrap(), ["lerd-vite-myapp"]);
        assert_eq!(selected("myapp").unwrap(), ["lerd-queue-myapp", "lerd-vite-myapp"]);
        let site = "s".repeat(MAX_TARGET_BYTES);
        let worker = Worker { site: site.clone(), name: "queue".into(), worktree: None };
        assert_eq!(find(&site, &[(UnitName::parse("lerd-queue-s").unwrap(), worker)]).unwrap().len(), 1);
    }

    #[test]
    fn a_worker_is_named_itself_by_its_unit_or_with_its_site_and_not_by_a_site_alone() {
        let workers = workers();
        let (unit, worker) = &workers[0];
        for (target, is_named) in [
            ("lerd-queue-myapp", true),
            ("myapp/queue", true),
            ("myapp", false),
            ("shop", false),
            ("myapp/vite", false),
        ] {
            assert_eq!(names_itself(&[target.to_owned()], unit, worker), is_named, "{target}");
        }
    }

    #[test]
    fn a_worker_of_a_worktree_has_a_name_of_its_own() {
        let worker = |unit: &str, name: &str, worktree: Option<&str>| {
            let worker = Worker { site: "myapp".into(), name: name.into(), worktree: worktree.map(str::to_owned) };
            (UnitName::parse(unit).unwrap(), worker)
        };
        let workers = [
            worker("lerd-queue-myapp", "queue", None),
            worker("lerd-queue-myapp-feat-x", "queue", Some("feat-x")),
            worker("lerd-queue@1-myapp", "queue@1", None),
        ];
        let selected = |target: &str| -> Vec<String> {
            let found = find(target, &workers).unwrap_or_default();
            found.into_iter().map(|(unit, _)| unit.to_string()).collect()
        };
        assert_eq!(selected("myapp/queue"), ["lerd-queue-myapp"]);
        assert_eq!(selected("myapp/queue@feat-x"), ["lerd-queue-myapp-feat-x"]);
        assert_eq!(selected("myapp/queue@feat.x"), ["lerd-queue-myapp-feat-x"]);
        assert_eq!(selected("myapp/queue@1"), ["lerd-queue@1-myapp"]);
        assert_eq!(selected("myapp").len(), 3);
        assert_eq!(selected("myapp/queue@"), [""; 0]);
        let error = find("myapp/queue@feat-y", &workers).unwrap_err().to_string();
        assert!(error.ends_with(r#"did you mean "myapp/queue@feat-x"?"#), "{error}");
        let paused = pausable(&["myapp/queue@feat-x".to_owned()], &workers).unwrap();
        assert_eq!(paused, [Target::Unit(UnitName::parse("lerd-queue-myapp-feat-x").unwrap())]);
    }

    #[test]
    fn anything_else_is_refused_with_a_hint() {
        for target in ["", "/", "/queue", "myapp/", "ssh.service", "../myapp", "lerd-nginx", &"x".repeat(5000)] {
            assert!(selected(target).is_err(), "{target:?}");
        }
        let error = selected("myap/queue").unwrap_err().to_string();
        assert_eq!(error, r#"no worker named "myap/queue"; did you mean "myapp/queue"?"#);
        // At least half of the name has to match.
        assert_eq!(nearest("shxx", &workers()), None);
        assert_eq!(nearest("shox", &workers()).as_deref(), Some("shop"));
    }

    #[test]
    fn what_cannot_be_a_worker_is_told_with_the_reason() {
        let mut entries = Entries::default();
        let error = ParseError { line: 4, column: 9, message: "paused is no list".into(), hint: None };
        entries.add_unusable(error, Some("my-api".into()));
        let registry = Registry::new(entries).unwrap().in_file(Path::new("/sites.yaml"));
        let selector = Selector::new("lerd-", [], &["app-*.service".to_owned()]).unwrap();
        let context = Context { selector, registry: registry.into(), ..Context::default() };
        let said = |target: &str| UnknownTarget::new(target, &workers(), &context).to_string();
        let skipped = "the entry of the site my-api is skipped for the mistake at /sites.yaml:4:9";
        for target in ["my-api", "my-api/queue", "lerd-queue-my-api", "lerd-queue-my-api.service"] {
            assert_eq!(said(target), format!("no worker named {target:?}; {skipped}"));
        }
        let template = "that is a template, so name an instance of it, such as \"app-t@1\"";
        for target in ["app-t@", "app-t@.service"] {
            assert_eq!(said(target), format!("no worker named {target:?}; {template}"));
        }
        for target in ["api", "other@", "my-api-2", "queue/my-api", "app-t@1"] {
            let said = said(target);
            assert!(!said.contains("skipped") && !said.contains("template"), "{said}");
        }
    }

    #[test]
    fn the_time_to_find_similar_names_is_bounded() {
        let crowd: Vec<_> = (0..20_000)
            .map(|n| {
                let worker = Worker { site: format!("{n}{}", "s".repeat(60)), name: "w".repeat(60), worktree: None };
                (UnitName::parse(&format!("lerd-{n}-{}", "u".repeat(100))).unwrap(), worker)
            })
            .collect();
        for target in ["u".repeat(MAX_SUGGESTED_BYTES), "u".repeat(MAX_TARGET_BYTES)] {
            let begin = std::time::Instant::now();
            let error = find(&target, &crowd).unwrap_err().to_string();
            assert!(error.ends_with("name a unit, SITE/WORKER or a site"), "{error}");
            // Comparing everything would take minutes.
            assert!(begin.elapsed() < std::time::Duration::from_secs(5), "{:?}", begin.elapsed());
        }
        // The limit counts pairs of characters: what comes after it in the alphabet is not suggested.
        let mut some = crowd[..200].to_vec();
        let last = Worker { site: String::new(), name: String::new(), worktree: None };
        let name = format!("{}z", "u".repeat(110));
        some.push((UnitName::parse(&name).unwrap(), last));
        assert_eq!(nearest(&"u".repeat(MAX_SUGGESTED_BYTES), &some), None);
        assert_eq!(nearest(&"u".repeat(MAX_SUGGESTED_BYTES), &some[199..]), Some(name));
    }
}
