//! What a registry says of its entries, usable or not.

use super::*;

fn entries(names: &[(&str, usize)]) -> Entries {
    let mut entries = Entries::default();
    for (name, line) in names {
        let mut lines = Lines::default();
        lines.note("name", *line);
        lines.note_name_column(9);
        entries.add(Site::new(name, format!("/srv/{name}/{line}")), lines);
    }
    entries
}

#[test]
fn of_sites_with_the_same_name_the_first_counts_and_each_other_is_an_error() {
    let registry = Registry::new(entries(&[("shop", 2), ("api", 3), ("shop", 4), ("blog", 5), ("api", 6)])).unwrap();
    let sites: Vec<_> = registry.sites().map(|site| (site.name.as_str(), site.path.to_str().unwrap())).collect();
    assert_eq!(sites, [("shop", "/srv/shop/2"), ("api", "/srv/api/3"), ("blog", "/srv/blog/5")]);
    assert_eq!(registry.lines("blog").and_then(|lines| lines.line_of("name")), Some(5));
    assert_eq!(registry.site("blog").unwrap().name, "blog");
    let errors: Vec<String> = registry.skipped().reported.iter().map(ToString::to_string).collect();
    assert_eq!(
        errors,
        [
            "4:9: this entry is skipped: the site `shop` is here again, it is in line 2 already; delete one",
            "6:9: this entry is skipped: the site `api` is here again, it is in line 3 already; delete one",
        ]
    );
    assert_eq!((registry.skipped().count, registry.skipped().unreported()), (2, 0));
}

#[test]
fn the_first_errors_are_reported_and_all_are_counted() {
    let mut entries = entries(&[("shop", 1)]);
    for line in 0..MAX_REPORTED + 3 {
        entries.add_unusable(ParseError { line, ..ParseError::whole("no name", None) }, None);
    }
    let registry = Registry::new(entries).unwrap();
    assert_eq!(registry.skipped().reported.len(), MAX_REPORTED);
    assert_eq!(registry.skipped().unreported(), 3);
}

#[test]
fn entries_list_what_can_be_used_and_the_first_error() {
    let mut entries = entries(&[("shop", 1), ("api", 2)]);
    assert_eq!(entries.sites().iter().map(|site| &*site.name).collect::<Vec<_>>(), ["shop", "api"]);
    assert_eq!(entries.first_error(), None);
    for message in ["no name", "no path"] {
        entries.add_unusable(ParseError::whole(message, None), None);
    }
    assert_eq!(entries.first_error().map(|error| &*error.message), Some("no name"));
    assert_eq!(entries.sites().len(), 2);
}

#[test]
fn the_number_of_sites_is_limited() {
    let with = |sites: usize| {
        let mut entries = Entries::default();
        for number in 0..sites {
            entries.add(Site::new(&format!("site{number}"), "/srv"), Lines::default());
        }
        Registry::new(entries)
    };
    assert!(with(MAX_SITES).is_ok());
    assert!(with(MAX_SITES + 1).unwrap_err().to_string().contains("too many sites"));
}

#[test]
fn the_number_of_workers_in_all_lists_is_limited() {
    let named = |count: usize| (0..count).map(|number| number.to_string()).collect::<BTreeSet<_>>();
    let with = |paused: usize| {
        let site = Site {
            paused_workers: named(paused),
            idle_suspended_workers: named(3),
            worktree_idle_suspended: [("a".to_owned(), named(2)), ("b".to_owned(), named(4))].into(),
            ..Site::new("shop", "/srv/shop")
        };
        let mut entries = Entries::default();
        entries.add(site, Lines::default());
        Registry::new(entries)
    };
    // Each worktree counts as one, too.
    let others = 3 + (2 + 1) + (4 + 1);
    assert!(with(MAX_WORKERS - others).is_ok());
    let error = with(MAX_WORKERS - others + 1).unwrap_err().to_string();
    assert_eq!(error, format!("there are too many workers in the lists; the limit is {MAX_WORKERS}"));
}

#[test]
fn a_name_that_cannot_be_used_is_claimed() {
    let mut entries = entries(&[("shop", 1)]);
    entries.add_unusable(ParseError::whole("paused is no list", None), Some("api".to_owned()));
    let registry = Registry::new(entries).unwrap();
    let claims = ["shop", "api", "blog"].map(|name| registry.claims(name));
    assert_eq!(claims, [true, true, false]);
    assert!(registry.has_site_beginning_like("api-feature") && !registry.has_site_beginning_like("blog"));
    let registry = registry.in_file(Path::new("/sites.yaml"));
    assert_eq!(registry.mistake_in("api").as_deref(), Some("/sites.yaml:0:0"));
    assert_eq!(["shop", "blog"].map(|name| registry.mistake_in(name)), [None, None]);
}

#[test]
fn moved_or_skipped_entries_make_no_other_registry_but_are_written_otherwise() {
    let written = Registry::new(entries(&[("shop", 1)])).unwrap();
    let moved = Registry::new(entries(&[("shop", 7)]));
    let mut moved = moved.unwrap();
    moved.sites[0].path.clone_from(&written.sites[0].path);
    assert!(written == moved && !written.is_written_like(&moved));
    assert!(written.is_written_like(&written.clone()));
    let mut with_error = entries(&[("shop", 1)]);
    with_error.add_unusable(ParseError::whole("no name", None), None);
    let with_error = Registry::new(with_error).unwrap();
    assert!(written == with_error && !written.is_written_like(&with_error));
    let mut with_name = entries(&[("shop", 1)]);
    with_name.add_unusable(ParseError::whole("no path", None), Some("api".to_owned()));
    assert!(written != Registry::new(with_name).unwrap(), "units of that name are claimed");
}

#[test]
fn health_probes_are_those_of_the_sites_framework() {
    let site = Site { framework: "laravel".to_owned(), ..Site::new("shop", "/srv/shop") };
    let plain: Registry = [site.clone(), Site::new("api", "/srv/api")].into_iter().collect();
    assert!(!plain.has_health());
    let files = [("vite".to_owned(), PathBuf::from("public/hot"))].into_iter().collect();
    let registry = plain.with_health([("laravel".to_owned(), files)].into_iter().collect());
    assert!(registry.has_health());
    assert_eq!(registry.url_file("shop", "vite"), Some(Path::new("public/hot")));
    assert_eq!((registry.url_file("shop", "queue"), registry.url_file("api", "vite")), (None, None));
}

#[test]
fn a_directory_is_a_checkout_whatever_detours_its_path_takes() {
    let registry: Registry = [Site::new("shop", "/srv/./shop//")].into_iter().collect();
    for (directory, is_checkout) in
        [("/srv/shop", true), ("/srv/x/../shop", true), ("/../srv/shop", true), ("/srv", false), ("/srv/shop/x", false)]
    {
        assert_eq!(registry.is_checkout(Path::new(directory)), is_checkout, "{directory}");
    }
}

#[test]
fn a_worktree_is_matched_as_a_units_name_can_hold_it() {
    let suspended = [("feature/Login".to_owned(), ["queue".to_owned()].into()), ("main".to_owned(), BTreeSet::new())];
    let site = Site {
        idle_suspended_workers: ["vite".to_owned()].into(),
        worktree_idle_suspended: suspended.into(),
        ..Site::default()
    };
    assert!(site.is_idle_suspended("vite", None) && !site.is_idle_suspended("queue", None));
    assert!(site.is_idle_suspended("queue", Some("feature-login")) && !site.is_idle_suspended("vite", Some("main")));
    assert!(!site.is_idle_suspended("queue", Some("main")) && !site.is_idle_suspended("queue", Some("other")));
}

#[test]
fn a_registry_is_empty_without_sites_and_knows_no_line_that_was_not_noted() {
    assert!(Registry::default().is_empty());
    assert!(!Registry::new(entries(&[("shop", 1)])).unwrap().is_empty());
    assert_eq!(Lines::default().line_of("name"), None);
    assert_eq!(Lines::default().line_of("nothing"), None);
}
