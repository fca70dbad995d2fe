//! What a registry may say, and how its mistakes are told.

use super::document::tests::{repeat, yaml_like};
use super::*;
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

fn parse(text: &str) -> Result<Registry, Flaw> {
    Registry::parse(text.as_bytes())
}

fn flaw(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn what_lerd_writes_is_read() {
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
fn who_sleeps_is_known_by_worker_and_worktree() {
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
fn no_sites_are_fine_but_no_registry_is_not() {
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
        ("sites:\n- myapp\n", "2:3: expected a site with `name:` and `path:`, found `myapp`"),
        ("sites:\n- path: /x\n", "2:3: the key `name` is missing; write `name:` here"),
        ("sites:\n- name: [a]\n", "2:9: expected the name of a site, found a list"),
        ("sites:\n- name: a\n  paused: sometimes\n", "3:11: expected true or false, found `sometimes`"),
        ("sites:\n- name: a\n  paused_workers: queue\n", "3:19: expected a list, found `queue`"),
        ("sites:\n- name: a\n  name: b\n", "3:3: the key `name` is here twice; delete one"),
        ("sites:\n- name: ''\n", "2:9: the name of the site is empty; write the name that Lerd shows"),
        ("sites: []\nsites: []\n", "2:1: the key `sites` is here twice; delete one"),
        (
            "sites:\n- name: a/b\n",
            "2:9: a site's name cannot contain '/'; it has to fit into the names of units: letters, digits, `-`, `_`, `.`, `:`",
        ),
    ] {
        assert_eq!(flaw(text), expected, "{text:?}");
    }
    let long = format!("sites: [{{name: {}}}]", "x".repeat(201));
    assert_eq!(flaw(&long), "1:16: this name has 201 characters; a site's name has at most 200");
}

#[test]
fn a_site_that_is_there_twice_is_refused_with_both_places() {
    let expected = "the site `b` is here again, it is in line 3 already; delete one";
    assert_eq!(flaw("sites:\n- name: a\n- name: b\n- path: /x\n  name: b\n"), format!("5:9: {expected}"));
    assert_eq!(flaw("sites: [\n{name: a},\n{name: b}, {name: b}]"), format!("3:19: {expected}"));
    // Also where the registry is too long for one go, and the two are in different pieces.
    let many = repeat(10_000, |i| format!("- name: s{i}\n  a: 1\n  b: 1\n  c: 1\n  d: 1\n"));
    let text = format!("sites:\n- name: a\n- name: b\n{many}- name: b\n");
    assert!(!document::fits(text.as_bytes()));
    assert_eq!(flaw(&text), format!("50004:9: {expected}"));
}

#[test]
fn cutting_the_list_never_changes_what_it_says() {
    // A text over lines of less indentation than it should have is cut in the middle.
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
fn what_is_kept_has_a_limit() {
    let many = repeat(MAX_SITES + 1, |i| format!("- name: s{i}\n"));
    assert!(flaw(&format!("sites:\n{many}")).contains("too many sites; the limit is 40000"));
    let list = repeat(1000, |i| format!("w{i},"));
    let many = repeat(151, |i| format!("- name: s{i}\n  paused_workers: [{list}]\n"));
    assert!(flaw(&format!("sites:\n{many}")).contains("too many workers"));
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
            "paused_workers": site.1.paused_workers, "php_version": "8.5",
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
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Registry::parse(&bytes);
    }

    #[test]
    fn any_likely_text_means_the_same_in_pieces(text in yaml_like(), sites in any::<bool>()) {
        let text = if sites { format!("sites:\n- name: {text}") } else { text };
        let whole = read_whole(text.as_bytes(), &mut Names::default());
        if let Some(split) = document::split_list(text.as_bytes(), "sites")
            && let Ok(sites) = read_pieces(&split, &mut Names::default())
        {
            prop_assert_eq!(Ok(sites), whole, "{:?}", text);
        }
    }
}
