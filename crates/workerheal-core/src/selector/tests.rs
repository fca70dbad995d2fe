//! Names of units and their workers.

use super::*;
use crate::registry::Site;
use proptest::prelude::*;

fn registry(sites: &[&str]) -> Registry {
    sites.iter().map(|name| Site::new(name, format!("/srv/{name}"))).collect()
}

fn unit(name: &str) -> UnitName {
    UnitName::parse(name).unwrap()
}

/// `SITE/WORKER`, with `@WORKTREE` if there is one; `-` for a unit that is no worker, `?` for one that only the
/// directory can resolve.
fn in_words(resolution: &Resolution) -> String {
    match resolution {
        Resolution::Worker(Worker { site, name, worktree: None }) => format!("{site}/{name}"),
        Resolution::Worker(Worker { site, name, worktree: Some(worktree) }) => format!("{site}/{name}@{worktree}"),
        Resolution::NeedsDirectory => "?".to_owned(),
        Resolution::NotAWorker => "-".to_owned(),
    }
}

fn resolved(sites: &[&str], name: &str) -> String {
    in_words(&Selector::default().resolve(&registry(sites), &unit(name)))
}

fn resolved_in(sites: &[&str], name: &str, directory: Option<&str>) -> String {
    in_words(&Selector::default().resolve_in(&registry(sites), &unit(name), directory.map(Path::new)))
}

#[test]
fn a_worker_may_be_of_a_site_or_named_by_also_watch() {
    let mut selector = Selector::new("lerd-", ["fp".to_owned()], &["bot.service".into(), "celeryd*".into()]).unwrap();
    selector.set_aliases(&[(unit("celeryd"), unit("celery-main"))].into());
    let patterns = |worker: &str| selector.patterns_of(worker).join(" ");
    assert_eq!(patterns("queue"), "lerd-queue-*.service");
    assert_eq!(patterns("bot"), "lerd-bot-*.service bot.service");
    assert_eq!(patterns("celery-main"), "lerd-celery-main-*.service celery-main.service");
    for none in ["fp", "celeryd", "bot-*", "", "myapp/queue"] {
        assert_eq!(patterns(none), "", "{none}");
    }
}

#[test]
fn the_longest_registered_site_wins() {
    assert_eq!(resolved(&["app"], "lerd-queue-app"), "app/queue");
    assert_eq!(resolved(&["app", "my-app"], "lerd-queue-my-app"), "my-app/queue");
    assert_eq!(resolved_in(&["app", "my-app"], "lerd-emit-events-app", None), "app/emit-events");
    assert_eq!(resolved(&["app"], "lerd-queue-other"), "-");
    assert_eq!(resolved(&["app"], "lerd-app"), "-", "a site is no worker of itself");
    assert_eq!(resolved(&["app"], "queue-app"), "-", "the prefix is missing");
}

/// `shop-api` was removed from the registry, or paused and renamed: its worker is not one of `api`.
#[test]
fn the_worker_of_an_unregistered_site_is_not_taken_for_that_of_a_site_whose_name_ends_alike() {
    for sites in [&["api"][..], &["api", "shop"]] {
        assert_eq!(resolved(sites, "lerd-queue-shop-api"), "?");
        for (directory, who) in [
            (Some("/home/dev/shop-api"), "-"),
            (Some("/home/dev/shop.api"), "-"),
            (Some("/home/dev/shop-api/public"), "-"),
            (Some("/srv/api/shop-api"), "api/queue-shop"),
            (Some("/srv/api"), "api/queue-shop"),
            (Some("/srv/api/queue"), "api/queue-shop"),
            (None, "api/queue-shop"),
        ] {
            assert_eq!(resolved_in(sites, "lerd-queue-shop-api", directory), who, "{directory:?}");
        }
    }
    assert_eq!(resolved(&["api", "shop-api"], "lerd-queue-shop-api"), "shop-api/queue");
}

#[test]
fn containers_and_global_units_are_no_workers() {
    for name in ["lerd-fp-app", "lerd-custom-app", "lerd-cfpm-app", "lerd-nginx", "lerd-php85-fpm", "lerd-dns"] {
        assert_eq!(resolved(&["app", "fpm-app", "fpm"], name), "-", "{name}");
    }
    assert_eq!(resolved(&["fpm"], "lerd-php-fpm"), "fpm/php", "no version, so a worker may be called that");
}

#[test]
fn an_ignored_site_keeps_its_units_from_being_taken_for_those_of_another() {
    let ignored = Site { ignored: true, ..Site::new("my-app", "/b") };
    let registry = Registry::from_iter([Site::new("app", "/a"), ignored]);
    let resolution = Selector::default().resolve(&registry, &unit("lerd-queue-my-app"));
    assert_eq!(resolution, Resolution::NotAWorker);
}

#[test]
fn worktrees_are_distinguished_by_their_directory() {
    let sites = ["shop", "feature"];
    assert_eq!(resolved(&sites, "lerd-queue-shop-feature"), "?");
    for (directory, who) in [
        (Some("/srv/feature"), "feature/queue-shop"),
        (Some("/srv//x/../feature/"), "feature/queue-shop"),
        (Some("/srv/shop/.worktrees/feature"), "shop/queue@feature"),
        (Some("/home/dev/feature"), "shop/queue@feature"),
        (Some("/home/dev/shop-feature"), "-"),
        (Some("/srv/shop"), "feature/queue-shop"),
        (None, "feature/queue-shop"),
    ] {
        assert_eq!(resolved_in(&sites, "lerd-queue-shop-feature", directory), who, "{directory:?}");
    }
}

#[test]
fn a_worktree_needs_no_site_of_its_name_but_a_directory_of_it() {
    assert_eq!(resolved(&["shop"], "lerd-queue-shop-fix-7"), "?");
    assert_eq!(resolved_in(&["shop"], "lerd-queue-shop-fix-7", Some("/tmp/fix-7")), "shop/queue@fix-7");
    assert_eq!(resolved_in(&["shop"], "lerd-queue-shop-fix-7", Some("/tmp/fix.7")), "shop/queue@fix-7");
    for stranger in [None, Some("/tmp/fix"), Some("/tmp/7"), Some("/tmp/fix-7/web"), Some("/"), Some("/srv/shop")] {
        assert_eq!(resolved_in(&["shop"], "lerd-queue-shop-fix-7", stranger), "-", "{stranger:?}");
    }
}

#[test]
fn a_worktree_belongs_to_the_longest_site_before_its_tail() {
    let sites = ["ws", "feat", "app", "my-app"];
    assert_eq!(resolved_in(&sites, "lerd-vite-ws-feat-x", Some("/home/u/wt/feat-x")), "ws/vite@feat-x");
    assert_eq!(resolved_in(&sites, "lerd-vite-ws-feat-x", Some("/home/u/wt/x")), "feat/vite-ws@x");
    assert_eq!(resolved_in(&sites, "lerd-vite-my-app-x", Some("/home/u/wt/x")), "my-app/vite@x");
    assert_eq!(resolved_in(&sites, "lerd-my-app-x", Some("/home/u/wt/x")), "app/my@x");
    assert_eq!(resolved_in(&sites, "lerd-app-x", Some("/home/u/wt/x")), "-", "there is no worker in the name");
}

#[test]
fn a_worktree_named_like_its_site_is_no_riddle() {
    assert_eq!(resolved_in(&["app"], "lerd-queue-app-app", Some("/srv/app")), "app/queue-app");
    assert_eq!(resolved_in(&["app"], "lerd-queue-app-app", Some("/srv/app/worktrees/app")), "app/queue@app");
}

#[test]
fn the_directories_that_a_unit_must_not_work_in_to_be_a_worktrees_are_those_of_sites_in_its_name() {
    let rivals = |sites: &[&str], name: &str| {
        let rivals = Selector::default().rival_checkouts(&registry(sites), &unit(name));
        rivals.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(rivals(&["ws", "feat", "other"], "lerd-vite-ws-feat"), "/srv/feat /srv/ws");
    assert_eq!(rivals(&["ws", "other"], "lerd-vite-ws-feat"), "/srv/ws", "there need not be a site at its end");
    assert_eq!(rivals(&["ws", "other"], "lerd-vite-ws"), "", "the name decides");
    assert_eq!(rivals(&["ws"], "ssh"), "");
}

#[test]
fn further_units_are_covered_without_a_site() {
    let also = ["celery@*".to_owned(), "lerd-fp-app.service".to_owned()];
    let selector = Selector::new("lerd-", ["fp".to_owned()], &also).unwrap();
    let who = |name: &str| in_words(&selector.resolve(&registry(&["app"]), &unit(name)));
    assert_eq!(who("celery@mail"), "/celery@mail");
    assert_eq!(who("lerd-queue-app"), "app/queue");
    assert_eq!(who("lerd-fp-app"), "/lerd-fp-app", "asked for by name");
    assert_eq!(who("ssh"), "-");
    assert_eq!(selector.patterns(), ["lerd-*.service", "celery@*.service", "lerd-fp-app.service"]);
    assert!(selector.also_watched().eq(["celery@*.service", "lerd-fp-app.service"]));
}

#[test]
fn a_unit_is_covered_by_another_name_of_its_own() {
    let mut selector = Selector::new("lerd-", [], &["celeryd.service".to_owned()]).unwrap();
    let who = |selector: &Selector| in_words(&selector.resolve(&registry(&[]), &unit("app-celery")));
    assert_eq!(who(&selector), "-");
    let names = [("celeryd", "app-celery"), ("other", "app-other")];
    let aliases: Aliases = names.map(|(alias, real)| (unit(alias), unit(real))).into();
    assert!(selector.set_aliases(&aliases));
    assert!(!selector.set_aliases(&aliases), "nothing new");
    assert_eq!(who(&selector), "/app-celery");
    assert!(selector.may_cover(&unit("app-celery")));
    assert!(!selector.may_cover(&unit("app-other")), "its other name is not asked for");
    let targets = ["celeryd.service", "other", "site/queue"].map(str::to_owned);
    assert_eq!(selector.by_own_names(&targets), ["app-celery", "other", "site/queue"]);
}

#[test]
fn coverage_of_everything_or_of_nothing_is_refused() {
    for prefix in ["", "a b", "lerd/*", "*"] {
        assert_eq!(Selector::new(prefix, [], &[]), Err(InvalidSelector::Prefix), "{prefix:?}");
    }
    for glob in ["", "*", "*.service", "**.service", "backup.timer", "a b.service", "../x", "[.service"] {
        assert!(Selector::new("lerd-", [], &[glob.to_owned()]).is_err(), "{glob:?}");
    }
}

/// Whether a unit's name and directory fit a worker, by the rules read backwards.
fn fits(worker: &Worker, name: &str, directory: Option<&Path>, sites: &[&str]) -> bool {
    let Worker { site, name: task, worktree } = worker;
    let expected = match worktree {
        None => format!("lerd-{task}-{site}"),
        Some(worktree) => format!("lerd-{task}-{site}-{worktree}"),
    };
    let last = directory.and_then(Path::file_name).map(|last| last.to_string_lossy().replace('.', "-"));
    let in_place = worktree.is_none() || (last == *worktree && directory.is_some());
    expected == name && sites.contains(&site.as_str()) && !task.is_empty() && in_place
}

prop_compose! {
    /// Sites, a unit and its directory whose names are made of few words, so that they collide.
    fn any_case()(
        mut sites in prop::collection::vec("(a|b|ab)(-(a|b|ab)){0,2}", 1..6),
        name in "(a|b|ab)(-(a|b|ab)){0,5}",
        directory in prop::option::of("(/srv|/wt|/srv/a)/(a|b|ab)([-.](a|b|ab)){0,2}"),
        another in "(a|b|ab|c)(-(a|b|ab|c)){0,2}",
    ) -> (Vec<String>, String, Option<String>, String) {
        sites.sort_unstable();
        sites.dedup();
        (sites, format!("lerd-{name}"), directory, another)
    }
}

proptest! {
    #[test]
    fn no_unit_is_given_to_a_site_that_does_not_fit((sites, name, directory, _) in any_case()) {
        let sites: Vec<&str> = sites.iter().map(String::as_str).collect();
        let (registry, unit) = (registry(&sites), unit(&name));
        let directory = directory.as_deref().map(Path::new);
        let resolution = Selector::default().resolve_in(&registry, &unit, directory);
        match &resolution {
            Resolution::Worker(worker) => prop_assert!(fits(worker, &name, directory, &sites), "{worker:?}"),
            Resolution::NeedsDirectory => prop_assert!(false, "the directory was given"),
            Resolution::NotAWorker => {}
        }
        // What the name alone decides, the directory does not change.
        let by_name = Selector::default().resolve(&registry, &unit);
        if by_name != Resolution::NeedsDirectory {
            prop_assert_eq!(by_name, resolution);
        }
    }

    #[test]
    fn a_site_that_does_not_fit_changes_nothing((sites, name, directory, another) in any_case()) {
        let mut sites: Vec<&str> = sites.iter().map(String::as_str).filter(|site| *site != another).collect();
        let unit = unit(&name);
        let path = directory.as_deref().map(Path::new);
        let before = Selector::default().resolve_in(&registry(&sites), &unit, path);
        sites.push(&another);
        let after = Selector::default().resolve_in(&registry(&sites), &unit, path);
        let (by_name, by_place) = (format!("-{another}"), format!("/srv/{another}"));
        let is_related = name.contains(&by_name) || directory.as_deref() == Some(&by_place);
        if !is_related {
            prop_assert_eq!(before, after);
        } else if let (Resolution::Worker(before), Resolution::Worker(after)) = (&before, &after) {
            // A related one may take the unit over, or show that its directory is no worktree.
            prop_assert!(before == after || after.site == another || before.worktree.is_some());
        }
    }

    #[test]
    fn whatever_a_site_and_its_worker_are_called_they_are_found(
        site in "[a-z]{1,5}(-[a-z]{1,5}){0,3}", worker in "w[a-z]{0,5}(-[a-z]{1,5}){0,3}", others in prop::collection::vec("[a-z]{1,3}", 0..4),
    ) {
        let mut sites: Vec<&str> = others.iter().map(String::as_str).filter(|other| **other != site).collect();
        sites.sort_unstable();
        sites.dedup();
        sites.push(&site);
        let name = format!("lerd-{worker}-{site}");
        let seen = resolved_in(&sites, &name, Some(&format!("/srv/{site}")));
        prop_assert_eq!(seen, format!("{}/{}", site, worker));
    }

    #[test]
    fn no_name_is_resolved_to_a_site_that_is_not_registered(name in "lerd-[a-z-]{1,40}") {
        if let Ok(unit) = UnitName::parse(&name) {
            let registry = registry(&["app", "my-app"]);
            for directory in [None, Some(Path::new("/srv/app/x")), Some(Path::new("/elsewhere"))] {
                match Selector::default().resolve_in(&registry, &unit, directory) {
                    Resolution::Worker(worker) => {
                        prop_assert!(registry.site(&worker.site).is_some());
                        prop_assert!(!worker.name.is_empty());
                        let tail = worker.worktree.map(|worktree| format!("-{worktree}")).unwrap_or_default();
                        prop_assert_eq!(unit.short(), format!("lerd-{}-{}{}", worker.name, worker.site, tail));
                    }
                    Resolution::NeedsDirectory => prop_assert!(false, "the directory was given"),
                    Resolution::NotAWorker => {}
                }
            }
        }
    }
}

#[test]
fn aliases_matter_only_where_a_pattern_can_name_one() {
    assert!(!Selector::new("lerd-", [], &[]).unwrap().may_name_aliases());
    assert!(Selector::new("lerd-", [], &["celery*".to_owned()]).unwrap().may_name_aliases());
}
