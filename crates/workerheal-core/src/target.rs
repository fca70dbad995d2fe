//! TARGET: what a person may name on the command line, a unit, `SITE/WORKER`, or a site.
//!
//! Only workers that the configuration covers can be named; anything else is refused.

use super::coverage::Worker;
use super::pauses::Target;
use super::units::UnitName;

/// The longest name that is looked for: unit names have at most 255 characters, and so do sites.
const LONGEST: usize = 512;

/// A target that names no covered worker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnknownTarget(String);

/// The units that the targets name among all covered workers.
///
/// # Errors
///
/// If a target names none of them; suggests the nearest that exists.
pub fn select(targets: &[String], workers: &[(UnitName, Worker)]) -> Result<Vec<UnitName>, UnknownTarget> {
    let mut selected = Vec::new();
    for target in targets {
        let before = selected.len();
        if target.len() <= LONGEST {
            let named = workers.iter().filter(|(unit, worker)| names(target, unit, worker));
            selected.extend(named.map(|(unit, _)| unit.clone()));
        }
        if selected.len() == before {
            return Err(unknown(target, workers));
        }
    }
    Ok(selected)
}

/// What the targets name as that which can be paused: a site as a whole, else units; without any
/// target, everything.
///
/// # Errors
///
/// As [`select`].
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
            named.extend(select(std::slice::from_ref(target), workers)?.into_iter().map(Target::Unit));
        }
    }
    Ok(named)
}

fn names(target: &str, unit: &UnitName, worker: &Worker) -> bool {
    match target.split_once('/') {
        Some((site, name)) => !site.is_empty() && worker.site == site && worker.name == name,
        None => target == unit.short() || target == unit.as_str() || (!target.is_empty() && target == worker.site),
    }
}

fn unknown(target: &str, workers: &[(UnitName, Worker)]) -> UnknownTarget {
    if target.len() > LONGEST {
        return UnknownTarget(format!("a name of {} characters is that of no worker", target.len()));
    }
    let nearest = workers
        .iter()
        .flat_map(|(unit, worker)| {
            let by_site =
                (!worker.site.is_empty()).then(|| [worker.site.clone(), format!("{}/{}", worker.site, worker.name)]);
            by_site.into_iter().flatten().chain([unit.short().to_owned()])
        })
        .map(|name| (strsim::normalized_damerau_levenshtein(target, &name), name))
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    let hint = match nearest {
        Some((likeness, name)) if likeness > 0.5 => format!("did you mean {name:?}?"),
        _ if workers.is_empty() => "no covered worker is loaded".to_owned(),
        _ => "name a unit, SITE/WORKER or a site".to_owned(),
    };
    UnknownTarget(format!("{target:?} is no worker that the configuration covers; {hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workers() -> Vec<(UnitName, Worker)> {
        [("queue", "myapp"), ("vite", "myapp"), ("queue", "shop")]
            .map(|(name, site)| {
                let worker = Worker { site: site.into(), name: name.into(), worktree: None };
                (UnitName::parse(&format!("lerd-{name}-{site}")).unwrap(), worker)
            })
            .to_vec()
    }

    fn selected(target: &str) -> Result<Vec<String>, UnknownTarget> {
        let units = select(&[target.to_owned()], &workers())?;
        Ok(units.iter().map(ToString::to_string).collect())
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
    fn a_worker_is_named_by_unit_or_by_site_and_worker_or_with_its_site() {
        assert_eq!(selected("lerd-queue-shop").unwrap(), ["lerd-queue-shop"]);
        assert_eq!(selected("lerd-queue-shop.service").unwrap(), ["lerd-queue-shop"]);
        assert_eq!(selected("myapp/vite").unwrap(), ["lerd-vite-myapp"]);
        assert_eq!(selected("myapp").unwrap(), ["lerd-queue-myapp", "lerd-vite-myapp"]);
    }

    #[test]
    fn anything_else_is_refused_with_a_hint() {
        for target in ["", "/", "/queue", "myapp/", "ssh.service", "../myapp", "lerd-nginx", &"x".repeat(5000)] {
            assert!(selected(target).is_err(), "{target:?}");
        }
        let error = selected("myap/queue").unwrap_err().to_string();
        assert_eq!(error, r#""myap/queue" is no worker that the configuration covers; did you mean "myapp/queue"?"#);
    }
}
