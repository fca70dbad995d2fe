//! What a registry may say, and how its errors are reported.

use super::*;
use crate::core::registry::MAX_SITES;
use crate::files::yaml::tests::{repeat, yaml_like};
use proptest::prelude::*;

const LERD: &str = r#"
# written by lerd
sites:
    - name: myapp
      domains: [myapp.test, www.myapp.test]
      path: /home/me/Code/myapp
      php_version: "8.5"
      node_version: "22"
      secured: true
      paused_workers: [queue]
      idle_suspended_workers: [schedule, vite]
      worktree_idle_suspended:
        feature/Login_1: [queue]
        hotfix: ~
      custom: {nested: [1, {deep: ~}]}
    - name: old-shop
      domain: shop.test
      path: /srv/shop
      ignored: true
    - name: blog
      path: /srv/blog
      paused: true
      paused_workers:
"#;

fn parse(text: &str) -> Result<Registry, ParseError> {
    super::parse(text.as_bytes())
}

fn error(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn lerds_file_is_read() {
    let registry = parse(LERD).unwrap();
    assert_eq!(registry.sites().map(|site| site.name.as_str()).collect::<Vec<_>>(), ["myapp", "old-shop", "blog"]);
    let app = registry.site("myapp").unwrap();
    assert_eq!(app.path, PathBuf::from("/home/me/Code/myapp"));
    assert_eq!(app.paused_workers, set(&["queue"]));
    assert_eq!(app.idle_suspended_workers, set(&["schedule", "vite"]));
    assert!(!app.paused && !app.ignored);
    assert!(registry.site("old-shop").unwrap().ignored);
    let blog = registry.site("blog").unwrap();
    assert!(blog.paused && blog.paused_workers.is_empty());
    assert_eq!(registry.site("nobody"), None);
    assert_eq!((registry.len(), registry.is_empty()), (3, false));
}

#[test]
fn suspended_workers_are_known_by_worker_and_worktree() {
    let registry = parse(LERD).unwrap();
    let app = registry.site("myapp").unwrap();
    assert!(app.is_worker_paused("queue") && !app.is_worker_paused("vite"));
    assert!(app.is_idle_suspended("vite", None) && !app.is_idle_suspended("queue", None));
    for worktree in ["feature/Login_1", "feature-login-1", "feature-Login_1"] {
        assert!(app.is_idle_suspended("queue", Some(worktree)), "{worktree}");
        assert!(!app.is_idle_suspended("vite", Some(worktree)), "{worktree}");
    }
    assert!(!app.is_idle_suspended("queue", Some("hotfix")));
    assert!(!app.is_idle_suspended("queue", Some("feature-login")));
}

#[test]
fn an_empty_list_is_valid_but_other_documents_are_not() {
    for text in ["sites: []", "sites:", "sites: null\n", "sites:\n# none\n", "other: 1\nsites: ~\n"] {
        assert_eq!(parse(text), Ok(Registry::default()), "{text:?}");
    }
    for (text, expected) in [
        ("", "the file is empty; a registry without sites is written as `sites: []`"),
        ("# x\n", "the file is empty; a registry without sites is written as `sites: []`"),
        ("site: []\n", "1:1: the key `sites` is missing; is `site` meant to be `sites`?"),
        ("hosts: {}\n", "1:1: the key `sites` is missing; check that this is the sites.yaml of Lerd"),
        ("[]", "1:1: expected a registry that begins with `sites:`, found a list"),
        ("sites: {a: b}\n", "1:8: expected a list of sites, found a mapping"),
        ("sites: []\nsites: []\n", "2:1: the key `sites` is here twice; delete one"),
        ("sites: [{name: a}]\nsites: []\n", "2:1: the key `sites` is here twice; delete one"),
        ("sites:\n- name: a\nsites: []\n", "3:1: the key `sites` is here twice; delete one"),
        (
            "sites: [{name: a}",
            "2:1: expected a `,` or the end of the list that begins with `sites: [`; close it with `]`",
        ),
    ] {
        assert_eq!(error(text), expected, "{text:?}");
    }
}

/// The errors of skipped entries, and the names of all others.
fn reported(text: &str) -> (Vec<String>, Vec<String>) {
    let registry = parse(text).unwrap();
    let reported = registry.skipped().reported.iter().map(|error| {
        let text = error.to_string();
        assert!(text.contains(": this entry is skipped: ") || error.line == 0, "{text}");
        text.replace("this entry is skipped: ", "")
    });
    let reported = reported.collect();
    (reported, registry.sites().map(|site| site.name.clone()).collect())
}

#[test]
fn an_invalid_entry_is_skipped_and_reported_with_its_place() {
    for (entry, expected) in [
        ("myapp", "3:3: expected a site with `name:` and `path:`, found `myapp`"),
        ("path: /x", "3:3: the key `name` is missing; write `name:` here"),
        ("name: [a]", "3:9: expected the name of a site, found a list"),
        ("name: b\n  paused: yes", "4:11: expected true or false, found `yes`"),
        ("name: b\n  <<: {}", "4:3: merge keys are not supported; write the merged keys out"),
        ("name: b\n  paused_workers: queue", "4:19: expected a list, found `queue`"),
        ("name: b\n  name: b", "4:3: the key `name` is here twice; delete one"),
        ("name: ''", "3:9: the name of the site is empty; write the name that Lerd shows"),
        ("{name: b, paused: 3}", "3:21: expected true or false, found `3`"),
    ] {
        let text = format!("sites:\n- name: a\n- {entry}\n- name: c\n  path: /c\n");
        assert_eq!(reported(&text), (vec![expected.to_owned()], vec!["a".to_owned(), "c".to_owned()]), "{entry}");
    }
    for name in ["café", "c++", "a&b", "my app", "a/b"] {
        let (reported, names) = reported(&format!("sites:\n- name: a\n- {{path: /x, name: {name}}}\n- name: c\n"));
        assert!(reported[0].starts_with("3:20: no unit can have ") && reported[0].contains(name), "{reported:?}");
        assert_eq!(names, ["a", "c"]);
    }
    let long = "x".repeat(201);
    let expected = "1:30: this name has 201 characters; a site's name has at most 200";
    assert_eq!(reported(&format!("sites: [{{name: a}}, {{name: {long}}}]")).0, [expected.replace("1:30", "1:27")]);
}

#[test]
fn an_entry_with_invalid_yaml_is_skipped() {
    for (entry, place) in [
        ("name: \"b\n  path: /b", "3:1"),
        ("name: b: c", "3:10"),
        ("name: b\n\tpath: /b", "4:1"),
        ("name: b\n  {", "3:1"),
        ("name: *unknown", "3:9"),
        ("name: b\n  path: \u{7}", "4:9"),
        ("name: b\n<<<<<<< HEAD", "3:1"),
    ] {
        let (reported, names) = reported(&format!("sites:\n- name: a\n- {entry}\n- name: c\n  path: /c\n"));
        assert_eq!(names, ["a", "c"], "{entry:?} {reported:?}");
        assert_eq!(reported.len(), 1, "{reported:?}");
        assert!(reported[0].starts_with(place), "{entry:?} {reported:?}");
    }
    let latin = b"sites:\n- name: a\n- name: caf\xe9\n- name: c\n";
    let registry = super::parse(latin).unwrap();
    assert_eq!((registry.len(), registry.skipped().count), (2, 1));
    assert_eq!(
        registry.skipped().reported[0].to_string(),
        "3:12: this entry is skipped: the byte 0xe9 is not UTF-8; save the file as UTF-8"
    );
}

#[test]
fn the_name_of_an_invalid_entry_is_reserved() {
    for entry in ["name: my-app\n  paused: yes", "name: \"my-app\"\n  path: \"", "{name: my-app, paused: 3}"] {
        let registry = parse(&format!("sites:\n- name: app\n- {entry}\n- name: c\n")).unwrap();
        assert_eq!((registry.site("my-app"), registry.claims("my-app")), (None, true), "{entry}");
        assert!(registry.has_site_beginning_like("my-app"));
    }
}

#[test]
fn of_many_invalid_entries_some_are_reported_and_all_are_counted() {
    let bad = repeat(1000, |i| format!("- {{name: 'b {i}', path: /x}}\n"));
    let registry = parse(&format!("sites:\n- name: a\n{bad}- name: c\n")).unwrap();
    assert_eq!(registry.len(), 2);
    assert_eq!((registry.skipped().reported.len(), registry.skipped().unreported()), (50, 950));
    assert!(registry.skipped().reported[49].to_string().starts_with("52:10: "));
}

#[test]
fn a_duplicate_site_is_reported_with_both_places() {
    let expected = "the site `b` is here again, it is in line 3 already; delete one";
    let (about_by_manager, names) = reported("sites:\n- name: a\n- name: b\n- path: /x\n  name: b\n");
    assert_eq!((about_by_manager, names), (vec![format!("5:9: {expected}")], vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(reported("sites: [\n{name: a},\n{name: b}, {name: b}]").0, ["the site `b` is here twice; delete one"]);
    // Also if the registry is read in pieces, and the two are in different ones.
    let many = repeat(10_000, |i| format!("- name: s{i}\n  a: 1\n  b: 1\n  c: 1\n  d: 1\n"));
    let text = format!("sites:\n- name: a\n- name: b\n{many}- name: b\n");
    assert!(!yaml::fits(text.as_bytes()));
    assert_eq!(reported(&text).0, [format!("50004:9: {expected}")]);
}

#[test]
fn the_lines_of_keys_are_recorded() {
    let text = "# written by lerd\nversion: 1\nsites:\n- name: a\n  path: /a\n  paused: true\n  other:\n  - name: x\n\
                - {name: b,\n   paused: true, paused_workers: [queue]}\n-   path: /c\n    \"name\": \"c\"\n\
                \x20   worktree_idle_suspended:\n      paused: [x]\n";
    let registry = parse(text).unwrap();
    let lines = |name: &str| {
        let lines = registry.lines(name).unwrap();
        let keys = ["name", "path", "paused", "paused_workers", "worktree_idle_suspended"];
        let known = keys.into_iter().filter_map(|key| Some(format!("{key} {}", lines.line_of(key)?)));
        known.collect::<Vec<_>>().join(", ")
    };
    assert_eq!(lines("a"), "name 4, paused 6");
    assert_eq!(lines("b"), "name 9, paused 10, paused_workers 10");
    assert_eq!(lines("c"), "name 12, worktree_idle_suspended 13");
    assert_eq!(registry.lines("x"), None);
    // Also beside a skipped entry, and if the list is not in separate lines.
    let broken = parse("sites:\n- name: a b\n- name: c\n  paused: true\n").unwrap();
    assert_eq!(broken.lines("c").unwrap().line_of("paused"), Some(4));
    assert_eq!(parse("sites: [{name: a}]").unwrap().lines("a").unwrap().line_of("name"), None);
    // Line numbers are not part of the content.
    assert_eq!(parse("sites:\n\n- name: a\n"), parse("sites:\n- name: a\n"));
}

#[test]
fn splitting_the_list_does_not_change_its_meaning() {
    // A text with too little indentation is cut in the middle.
    let padding = "x".repeat(40_000);
    let text = format!("sites:\n- name: a\n  x: \"{padding}\n- name: b\n\"\n- name: c\n");
    let names: Vec<_> = parse(&text).unwrap().sites().map(|site| site.name.clone()).collect();
    assert_eq!(names, ["a", "c"]);
}

#[test]
fn ten_thousand_sites_are_read() {
    let sites = repeat(10_000, |i| {
        format!(
            "    - name: project-{i}\n      domains:\n        - project-{i}.test\n      path: /home/me/project-{i}\n      \
                 php_version: \"8.5\"\n      node_version: \"22\"\n      secured: true\n      framework: laravel\n      \
                 paused_workers:\n        - queue\n      idle_suspended_workers:\n        - vite\n      host_port: 80\n",
        )
    });
    let text = format!("sites:\n{sites}");
    let start = std::time::Instant::now();
    let registry = parse(&text).unwrap();
    println!("{} bytes in {:?}", text.len(), start.elapsed());
    assert_eq!(registry.len(), 10_000);
    assert_eq!(registry.site("project-9999").unwrap().path, PathBuf::from("/home/me/project-9999"));
}

#[test]
fn the_size_of_a_registry_is_limited() {
    let many = repeat(MAX_SITES + 1, |i| format!("- name: s{i}\n"));
    assert!(error(&format!("sites:\n{many}")).contains("too many sites; the limit is 40000"));
    let list = repeat(1000, |i| format!("w{i},"));
    let many = repeat(151, |i| format!("- name: s{i}\n  paused_workers: [{list}]\n"));
    assert!(error(&format!("sites:\n{many}")).contains("too many workers"));
}

prop_compose! {
    fn any_site()(
        path in "(/[a-zA-Z ü.:#'\"-]{1,12}){0,3}",
        flags in any::<(bool, bool)>(),
        paused in prop::collection::btree_set("[ -~ü]{0,12}", 0..3),
        idle in prop::collection::btree_set("[a-z-]{1,12}", 0..3),
        worktrees in prop::collection::btree_map("[ -~]{1,12}", prop::collection::btree_set("[a-z]{1,5}", 0..3), 0..3),
    ) -> Site {
        Site {
            name: String::new(),
            path: path.into(),
            framework: "laravel".to_owned(),
            paused: flags.0,
            ignored: flags.1,
            paused_workers: paused,
            idle_suspended_workers: idle,
            worktree_idle_suspended: worktrees.into_iter().filter(|(name, _)| name != "<<").collect(),
        }
    }
}

fn write(sites: &BTreeMap<String, Site>, flow: bool) -> String {
    let value = |site: (&String, &Site)| {
        serde_json::json!({
            "name": site.0, "path": site.1.path, "paused": site.1.paused, "ignored": site.1.ignored,
            "framework": site.1.framework, "paused_workers": site.1.paused_workers, "php_version": "8.5",
            "idle_suspended_workers": site.1.idle_suspended_workers,
            "worktree_idle_suspended": site.1.worktree_idle_suspended,
        })
    };
    let document = serde_json::json!({ "sites": sites.iter().map(value).collect::<Vec<_>>() });
    if flow { document.to_string() } else { serde_yaml::to_string(&document).unwrap() }
}

proptest! {
    #[test]
    fn any_registry_is_read_as_written(
        sites in prop::collection::btree_map("[a-zA-Z0-9:_.\\\\@-]{1,20}", any_site(), 0..20),
        flow in any::<bool>(),
    ) {
        let registry = parse(&write(&sites, flow)).unwrap();
        let read: BTreeMap<_, _> = registry.sites().map(|site| (site.name.clone(), Site { name: String::new(), ..site.clone() })).collect();
        prop_assert_eq!(read, sites);
    }

    #[test]
    fn an_invalid_entry_does_not_affect_others(
        before in prop::collection::btree_set("a[a-z]{0,5}", 0..5), after in prop::collection::btree_set("c[a-z]{0,5}", 0..5),
        broken in yaml_like(),
    ) {
        let entries = |names: &BTreeSet<String>| {
            let entries: Vec<String> = names.iter().map(|name| format!("- name: {name}\n")).collect();
            entries.concat()
        };
        // Indented, so that it belongs to one entry. (YAML 1.1 ends lines with all of these.)
        let broken: Vec<String> = broken.replace(['\r', '\u{85}', '\u{2028}', '\u{2029}'], "").lines().map(|line| format!("  {line}\n")).collect();
        let broken = broken.concat();
        let text = format!("sites:\n{}- x: 1\n{broken}{}", entries(&before), entries(&after));
        if let Ok(registry) = parse(&text) {
            for name in before.iter().chain(&after) {
                prop_assert!(registry.claims(name), "{name} {text:?}");
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = super::parse(&bytes);
    }

    #[test]
    fn text_parses_the_same_in_pieces_as_in_one(text in yaml_like(), sites in any::<bool>()) {
        let text = if sites { format!("sites:\n- name: {text}") } else { text };
        let names = |entries: Entries| entries.sites().to_vec();
        let whole = read_whole(text.as_bytes(), &[]);
        if let Some(split) = yaml::split_list(text.as_bytes(), "sites")
            && let Ok(pieces) = read_pieces(&split)
        {
            prop_assert_eq!(Ok(names(pieces)), whole.map(names), "{:?}", text);
        }
    }
}
