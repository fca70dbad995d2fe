//! TARGET: what a person may name on the command line, a unit, `SITE/WORKER`, or a site.
//!
//! Only workers that the configuration covers can be named; anything else is refused.

use anyhow::{Result, bail};

use crate::core::coverage::Worker;
use crate::core::units::UnitName;

/// The units that the targets name among all covered workers.
///
/// # Errors
///
/// If a target names none of them; suggests the nearest that exists.
pub(super) fn select(targets: &[String], workers: &[(UnitName, Worker)]) -> Result<Vec<UnitName>> {
    let mut selected = Vec::new();
    for target in targets {
        let found: Vec<UnitName> =
            workers.iter().filter(|(unit, worker)| names(target, unit, worker)).map(|(unit, _)| unit.clone()).collect();
        if found.is_empty() {
            bail!("{target:?} is no worker that the configuration covers{}", suggestion(target, workers));
        }
        selected.extend(found);
    }
    Ok(selected)
}

fn names(target: &str, unit: &UnitName, worker: &Worker) -> bool {
    match target.split_once('/') {
        Some((site, name)) => !site.is_empty() && worker.site == site && worker.name == name,
        None => target == unit.short() || target == unit.as_str() || (!target.is_empty() && target == worker.site),
    }
}

fn suggestion(target: &str, workers: &[(UnitName, Worker)]) -> String {
    let nearest = workers
        .iter()
        .flat_map(|(unit, worker)| {
            let by_site =
                (!worker.site.is_empty()).then(|| [worker.site.clone(), format!("{}/{}", worker.site, worker.name)]);
            by_site.into_iter().flatten().chain([unit.short().to_owned()])
        })
        .map(|name| (strsim::normalized_damerau_levenshtein(target, &name), name))
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    match nearest {
        Some((likeness, name)) if likeness > 0.5 => format!("; did you mean {name:?}?"),
        _ if workers.is_empty() => "; no covered worker is loaded".to_owned(),
        _ => "; name a unit, SITE/WORKER or a site".to_owned(),
    }
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

    fn selected(target: &str) -> Result<Vec<String>> {
        Ok(select(&[target.to_owned()], &workers())?.iter().map(ToString::to_string).collect())
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
