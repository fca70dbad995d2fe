//! Lerd's definitions of frameworks, as far as they define health probes.
//!
//! They are in `frameworks/` beside the registry: `NAME.yaml`, or `NAME@VERSION.yaml` with one file for each version.
//! Only the parts about health are read; unreadable files define nothing.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::core::registry::{Health, Registry};
use crate::files::paths::read_bounded;
use crate::files::yaml;

/// Maximum number of versions to consider for one framework.
const MAX_VERSIONS: usize = 100;

/// Adds the health probes that the frameworks of the registry's sites define.
#[must_use]
pub(crate) fn with_health(registry: Registry, sites: &Path) -> Registry {
    let frameworks: BTreeSet<String> = registry.sites().map(|site| site.framework.clone()).collect();
    let directory = sites.parent().map(|directory| directory.join("frameworks")).unwrap_or_default();
    let names = frameworks.into_iter().filter(|name| is_a_name(name));
    let health: Health = names
        .filter_map(|name| {
            let files = definition(&directory, &name).map(|path| url_files(&path)).filter(|files| !files.is_empty())?;
            Some((name, files))
        })
        .collect();
    registry.with_health(health)
}

/// Whether this can be the name of a framework: it becomes part of a path.
fn is_a_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && !name.starts_with('.') && name.chars().all(is_plain)
}

/// The file that defines a framework: the one without a version, else the one with the latest.
fn definition(directory: &Path, name: &str) -> Option<PathBuf> {
    let plain = directory.join(format!("{name}.yaml"));
    if plain.is_file() {
        return Some(plain);
    }
    let prefix = format!("{name}@");
    let files = std::fs::read_dir(directory).ok()?.filter_map(|file| file.ok()?.file_name().into_string().ok());
    let versions = files.filter_map(|file| Some(file.strip_prefix(&prefix)?.strip_suffix(".yaml")?.to_owned()));
    let latest = versions.take(MAX_VERSIONS).min_by_key(|version| Reverse(parts(version)))?;
    Some(directory.join(format!("{prefix}{latest}.yaml")))
}

/// The numbers of a version, so that 10 is later than 9.
fn parts(version: &str) -> Vec<u64> {
    version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

#[derive(Deserialize)]
struct Framework {
    #[serde(default)]
    workers: Option<BTreeMap<String, Option<Worker>>>,
}

#[derive(Deserialize)]
struct Worker {
    #[serde(default)]
    health: Option<WorkerHealth>,
}

#[derive(Deserialize)]
struct WorkerHealth {
    #[serde(default)]
    url_file: Option<PathBuf>,
}

/// The files with the addresses of workers, by worker.
fn url_files(path: &Path) -> BTreeMap<String, PathBuf> {
    let framework: Option<Framework> = read_bounded(path).ok().and_then(|bytes| yaml::parse(&bytes).ok());
    let workers = framework.and_then(|framework| framework.workers).unwrap_or_default();
    let url_file = |worker: Option<Worker>| worker?.health?.url_file.filter(|path| !path.as_os_str().is_empty());
    workers.into_iter().filter_map(|(name, worker)| Some((name, url_file(worker)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_health_of_workers_is_found_in_the_definition_of_their_sites_framework() {
        let data = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            std::fs::create_dir_all(data.path().join("frameworks")).unwrap();
            std::fs::write(data.path().join("frameworks").join(name), text).unwrap();
        };
        let vite = |file: &str| {
            format!(
                "name: x\nversion: '1'\nworkers:\n  vite:\n    command: npm run dev\n    host: true\n    check:\n      \
                 file: node_modules/vite\n    health:\n      url_file: {file}\n  queue:\n    command: php artisan queue:work\n"
            )
        };
        write("laravel@9.yaml", &vite("old"));
        write("laravel@13.yaml", &vite("public/hot"));
        write("symfony.yaml", &vite("hot"));
        write("symfony@7.yaml", &vite("other"));
        write("broken.yaml", "workers: [");
        write("none.yaml", "name: none\n");
        let sites = "sites:\n- {name: app, framework: laravel}\n- {name: shop, framework: symfony}\n\
                     - {name: blog, framework: broken}\n- {name: n, framework: none}\n- {name: m, framework: missing}\n\
                     - {name: up, framework: ../symfony}\n- {name: plain}\n";
        let registry = crate::files::sites_yaml::parse(sites.as_bytes()).unwrap();
        let registry = with_health(registry, &data.path().join("sites.yaml"));
        let file = |site: &str, worker: &str| registry.url_file(site, worker).map(|path| path.display().to_string());
        assert_eq!(file("app", "vite").as_deref(), Some("public/hot"));
        assert_eq!(file("shop", "vite").as_deref(), Some("hot"));
        for (site, worker) in
            [("app", "queue"), ("blog", "vite"), ("n", "vite"), ("m", "vite"), ("up", "vite"), ("plain", "vite")]
        {
            assert_eq!(file(site, worker), None, "{site} {worker}");
        }
    }
}
