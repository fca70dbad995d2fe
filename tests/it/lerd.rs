//! The cases of Lerd 1.33's own tests of its worker healing, each with the value that Lerd asserts. Intended
//! differences are marked, with the reason.

#![expect(clippy::unwrap_used, reason = "this is for tests only")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use workerheal::State;
use workerheal::core::context::Context;
use workerheal::core::event::{Event, Failure, Phase, Report, UnhealthyWorker};
use workerheal::core::registry::{Registry, Site};
use workerheal::core::rules::Start;
use workerheal::core::selector::{Resolution, Selector};
use workerheal::core::units::{
    ActiveState, Detail, Inspection, LoadState, ServiceResult, StopEvidence, TriggerUnit, UnitFile, UnitName,
    UnitStatus,
};
use workerheal::detect::Detector;
use workerheal::files::sites_yaml;
use workerheal::manager::log::{Log, WantedLines};
use workerheal::manager::{ManagerError, ServiceManager};

/// A site is in `/tmp/<name>`, as in Lerd's tests.
fn registry(sites: &[&str]) -> Registry {
    let entry = |site: &&str| {
        let (name, more) = site.split_once(' ').unwrap_or((site, ""));
        let (path, more) = match more.strip_prefix("in ") {
            Some(path) => (path.to_owned(), String::new()),
            None => (format!("/tmp/{name}"), more.to_owned()),
        };
        format!(
            "  - name: {name}\n    path: {path}\n    domains: [{name}.test]\n{}",
            if more.is_empty() { String::new() } else { format!("    {more}\n") }
        )
    };
    let entries: Vec<String> = sites.iter().map(entry).collect();
    sites_yaml::parse(format!("sites:\n{}", entries.concat()).as_bytes()).unwrap()
}

#[test]
fn units_are_resolved_as_lerd_does() {
    struct Row {
        name: &'static str,
        unit: &'static str,
        directory: &'static str,
        /// Site, worker, and whether it is a worktree's.
        lerd: (&'static str, &'static str, bool),
    }
    let row = |name, unit, directory, lerd| Row { name, unit, directory, lerd };
    // TestResolveWorkerUnit.
    let sites = ["ws in /home/u/ws", "feat in /home/u/feat", "app in /home/u/app"];
    for Row { name, unit, directory, lerd } in [
        row("parent", "lerd-vite-app", "", ("app", "vite", false)),
        row("worktree", "lerd-vite-ws-feat-x", "/home/u/wt/feat-x", ("ws", "vite", true)),
        row("no workingdir", "lerd-vite-ws-feat-x", "", ("", "", false)),
        row("colliding worktree dir", "lerd-vite-app-feat", "/home/u/wt/feat", ("app", "vite", true)),
        row(
            "parent whose worker name ends in a site name",
            "lerd-queue-feat-app",
            "/home/u/app",
            ("app", "queue-feat", false),
        ),
        row("parent with workingdir", "lerd-vite-app", "/home/u/app", ("app", "vite", false)),
        // The `!` in front, which means that it was not configured, is read where the service manager is asked.
        row("inherited workingdir", "lerd-cron-app", "", ("app", "cron", false)),
        // TestDetect_HyphenatedWorkerName, TestDetect_GlobalUnitsSkipped, TestDetect_NonWorkerPerSiteUnitsSkipped.
        row("hyphenated worker", "lerd-emit-events-app", "", ("app", "emit-events", false)),
        row("global FPM", "lerd-php85-fpm", "", ("", "", false)),
        row("nginx", "lerd-nginx", "", ("", "", false)),
        row("DNS", "lerd-dns", "", ("", "", false)),
        row("FrankenPHP container", "lerd-fp-app", "", ("", "", false)),
        row("custom container", "lerd-custom-app", "", ("", "", false)),
        // Lerd's detection knows two of its three kinds of containers; this is the third.
        row("custom FPM container", "lerd-cfpm-app", "", ("", "", false)),
        // The directory of a worktree may have dots, the name of a unit may not: WorktreeUnitSlug.
        row(
            "domain-named worktree",
            "lerd-vite-ws-api-gonitro-com-feat",
            "/wt/api.gonitro.com-feat",
            ("ws", "vite", true),
        ),
    ] {
        let unit = UnitName::parse(unit).unwrap();
        let directory = Some(Path::new(directory)).filter(|path| path.is_absolute());
        let got = match Selector::default().resolve_in(&registry(&sites), &unit, directory) {
            Resolution::Worker(worker) => (worker.site, worker.name, worker.worktree.is_some()),
            Resolution::NotAWorker => (String::new(), String::new(), false),
            Resolution::NeedsDirectory => panic!("{name}: the directory was given"),
        };
        assert_eq!((got.0.as_str(), got.1.as_str(), got.2), lerd, "{name}");
    }
}

#[test]
fn a_site_does_not_claim_units_of_a_site_with_a_longer_name() {
    // TestUnitBelongsToLongerSite: whether the unit belongs to another site with a longer name.
    let registry = registry(&["astrolov", "admin-astrolov"]);
    for (unit, site, lerd) in [
        ("lerd-queue-admin-astrolov", "astrolov", true),
        ("lerd-queue-astrolov", "astrolov", false),
        ("lerd-queue-admin-astrolov", "admin-astrolov", false),
        ("lerd-queue-other", "astrolov", false),
    ] {
        let owner = match Selector::default().resolve(&registry, &UnitName::parse(unit).unwrap()) {
            Resolution::Worker(worker) => worker.site,
            Resolution::NeedsDirectory | Resolution::NotAWorker => String::new(),
        };
        assert_eq!(!owner.is_empty() && owner != site, lerd, "{unit} {site}");
    }
    // TestUnitBelongsToOtherSiteWorktree: of a worktree that is in that directory, if there is one.
    for (sites, unit, directory, lerd) in [
        (vec!["other", "main"], "lerd-vite-rapids-main", "", false),
        (vec!["rapids", "main"], "lerd-vite-rapids-main", "/tmp/rapids/main", true),
        (
            vec!["admin-starlane", "feature-foo"],
            "lerd-vite-admin-starlane-feature-foo",
            "/x/admin-starlane/feature-foo",
            true,
        ),
        (vec!["rapids", "main"], "lerd-vite-rapids-main", "/tmp/rapids/branch-other", false),
    ] {
        let registry = self::registry(&sites);
        let directory = Some(Path::new(directory)).filter(|path| path.is_absolute());
        let is_worktrees = match Selector::default().resolve_in(&registry, &UnitName::parse(unit).unwrap(), directory) {
            Resolution::Worker(worker) => worker.worktree.is_some(),
            Resolution::NeedsDirectory | Resolution::NotAWorker => false,
        };
        assert_eq!(is_worktrees, lerd, "{unit} in {directory:?}");
    }
}

#[test]
fn suspended_workers_match_lerds() {
    let idle = |workers: &[&str]| workers.iter().map(|it| (*it).to_owned()).collect();
    let site = Site {
        idle_suspended_workers: idle(&["queue", "horizon"]),
        worktree_idle_suspended: BTreeMap::from([
            ("feature-x".to_owned(), idle(&["vite", "queue"])),
            ("rental-main".to_owned(), idle(&["vite"])),
        ]),
        ..Site::default()
    };
    // TestWorktreeWorkerIdleSuspended, TestWorktreeWorkersToStart_skipsSuspended, TestSiteIdleSuspendedWorkers_roundtrip.
    for (worktree, worker, lerd) in [
        (Some("feature-x"), "vite", true),
        (Some("feature-x"), "reverb", false),
        (Some("main"), "vite", false),
        (Some("rental-main"), "vite", true),
        (Some("rental-main"), "queue", false),
        (Some("other"), "vite", false),
        (None, "queue", true),
        (None, "horizon", true),
        (None, "vite", false),
    ] {
        assert_eq!(site.is_idle_suspended(worker, worktree), lerd, "{worker} {worktree:?}");
    }
}

/// A unit as Lerd's tests describe it: its state, and more in words.
type Row = (&'static str, &'static str, &'static str);

/// A service manager that says what a row says.
#[derive(Clone)]
struct StubManager(Arc<BTreeMap<UnitName, (ActiveState, &'static str)>>);

impl StubManager {
    fn of(units: &[Row]) -> Self {
        let units = units.iter().filter(|(unit, ..)| Path::new(unit).extension().is_none_or(|kind| kind != "timer"));
        Self(Arc::new(
            units
                .map(|(unit, state, more)| (UnitName::parse(unit).unwrap(), (ActiveState::from(*state), *more)))
                .collect(),
        ))
    }
}

impl ServiceManager for StubManager {
    async fn list(&self) -> Result<Vec<UnitStatus>, ManagerError> {
        let status = |(name, (active, more)): (&UnitName, &(ActiveState, &str))| UnitStatus {
            name: name.clone(),
            load: Some(LoadState::Loaded),
            active: *active,
            has_job: false,
            auto_restart: more.contains("auto-restart"),
        };
        Ok(self.0.iter().map(status).collect())
    }

    fn refresh(&self) {}

    fn cover(&self, _: Vec<String>) {}

    async fn inspect(&self, unit: &UnitName, _: Detail) -> Result<Inspection, ManagerError> {
        let (active, more) = self.0[unit];
        let directory = more.split(' ').find(|word| word.starts_with('/')).map(PathBuf::from);
        Ok(Inspection {
            active,
            up_for: active.is_up().then_some(Duration::from_secs(3600)),
            deactivation: None,
            down_for: None,
            result: if active == ActiveState::Failed { ServiceResult::ExitCode } else { ServiceResult::Success },
            oneshot: more.contains("timer"),
            triggers: more
                .contains("timer")
                .then(|| TriggerUnit { name: format!("{unit}.timer"), active: ActiveState::Active })
                .into_iter()
                .collect(),
            file: Some(UnitFile {
                enabled: more.contains("enabled"),
                on_demand: more.contains("timer"),
                waits_with_targets: false,
                definition: 1,
            }),
            run: Some("1".to_owned()),
            auto_restart: more.contains("auto-restart"),
            directory_gone: directory.is_some() && more.contains("gone"),
            working_directory: directory,
            stop: Some(StopEvidence::NotRequested),
            ..Inspection::crashed()
        })
    }

    fn start(&self, _: &Start, _: Duration) {}

    fn stop(&self, _: &UnitName) {}

    async fn end(&self, _: &UnitName) -> Result<(), ManagerError> {
        Ok(())
    }

    async fn last_error(&self, unit: &UnitName) -> Option<String> {
        Some(format!("boom on {unit}"))
    }

    async fn log(&self, _: &UnitName, _: WantedLines) -> Log {
        std::future::pending().await
    }
}

fn detector(sites: &[&str], units: &[Row], stop_marker: bool) -> Detector<StubManager> {
    let context = Context { registry: Arc::new(registry(sites)), stop_marker, ..Context::default() };
    Detector::new(StubManager::of(units), context)
}

/// The name of Lerd's test, the sites, the units, and what is detected: unit and state.
type Case = (&'static str, &'static [&'static str], &'static [Row], &'static [(&'static str, &'static str)]);

/// Where a unit works whose checkout was removed.
const GONE: &str = "/definitely/not/here/featx gone";

/// What Lerd's `TestDetect_...` assert, and where we differ.
const DETECTED: &[Case] = &[
    (
        "FailedWorkerReturned",
        &["myapp"],
        &[("lerd-queue-myapp", "failed", ""), ("lerd-php85-fpm", "active", "")],
        &[("lerd-queue-myapp", "failed")],
    ),
    (
        "PausedSiteExcluded",
        &["alpha", "beta paused: true"],
        &[("lerd-queue-alpha", "failed", ""), ("lerd-queue-beta", "failed", "")],
        &[("lerd-queue-alpha", "failed")],
    ),
    (
        "NonWorkerPerSiteUnitsSkipped",
        &["myapp"],
        &[("lerd-fp-myapp", "failed", ""), ("lerd-custom-myapp", "failed", ""), ("lerd-queue-myapp", "failed", "")],
        &[("lerd-queue-myapp", "failed")],
    ),
    (
        "GlobalUnitsSkipped",
        &["myapp"],
        &[("lerd-php85-fpm", "failed", ""), ("lerd-nginx", "failed", ""), ("lerd-dns", "failed", "")],
        &[],
    ),
    (
        "HyphenatedWorkerName",
        &["tallyboard"],
        &[("lerd-emit-events-tallyboard", "failed", "")],
        &[("lerd-emit-events-tallyboard", "failed")],
    ),
    (
        "OnlyFailedStateMatches",
        &["myapp"],
        &[
            ("lerd-queue-myapp", "active", ""),
            ("lerd-schedule-myapp", "inactive", ""),
            ("lerd-reverb-myapp", "failed", ""),
        ],
        &[("lerd-reverb-myapp", "failed")],
    ),
    (
        "EnabledStoppedWorkerFlagged",
        &["myapp"],
        &[("lerd-queue-myapp", "inactive", "enabled"), ("lerd-php85-fpm", "active", "")],
        &[("lerd-queue-myapp", "expected-but-stopped")],
    ),
    ("DisabledStoppedWorkerIgnored", &["myapp"], &[("lerd-queue-myapp", "inactive", "")], &[]),
    (
        "TimerDrivenServiceNotFlagged",
        &["myapp"],
        &[("lerd-schedule-myapp", "inactive", "enabled timer"), ("lerd-schedule-myapp.timer", "active", "")],
        &[],
    ),
    (
        "MissingWorktreeDirIsOrphanedNotFailed",
        &["myapp"],
        &[("lerd-vite-myapp-featx", "failed", GONE)],
        &[("lerd-vite-myapp-featx", "orphaned")],
    ),
    (
        "PresentWorktreeDirStaysFailed",
        &["myapp"],
        &[("lerd-vite-myapp-featx", "failed", "/wt/featx")],
        &[("lerd-vite-myapp-featx", "failed")],
    ),
    (
        "OrphanCaughtWhileRestartLooping/activating",
        &["myapp"],
        &[("lerd-vite-myapp-featx", "activating", "auto-restart /definitely/not/here/featx gone")],
        &[("lerd-vite-myapp-featx", "orphaned")],
    ),
    (
        "OrphanCaughtWhileRestartLooping/active",
        &["myapp"],
        &[("lerd-vite-myapp-featx", "active", GONE)],
        &[("lerd-vite-myapp-featx", "orphaned")],
    ),
    (
        "OrphanCaughtWhileRestartLooping/failed",
        &["myapp"],
        &[("lerd-vite-myapp-featx", "failed", GONE)],
        &[("lerd-vite-myapp-featx", "orphaned")],
    ),
    (
        "OrphanCaughtWhileRestartLooping/inactive",
        &["myapp"],
        &[("lerd-vite-myapp-featx", "inactive", GONE)],
        &[("lerd-vite-myapp-featx", "orphaned")],
    ),
    ("ActivatingNonOrphanIsNotFlagged", &["myapp"], &[("lerd-queue-myapp", "activating", "")], &[]),
    // Idle-suspended on purpose: Lerd has no test of this in its detection, but the code.
    ("IdleSuspended", &["myapp idle_suspended_workers: [queue]"], &[("lerd-queue-myapp", "failed", "")], &[]),
    // Lerd leaves a paused site out when it resolves names, and takes this for `queue-my` of app. That would start what
    // a person has paused.
    (
        "(differs) paused site with the end of another's name",
        &["app", "my-app paused: true"],
        &[("lerd-queue-my-app", "failed", "")],
        &[],
    ),
];

#[tokio::test]
async fn unhealthy_workers_match_lerds_detection() {
    for (name, sites, units, expected) in DETECTED {
        let detected = detector(sites, units, false).detect().await.unwrap();
        let mut detected: Vec<_> = detected.iter().map(|it| (it.unit.short(), it.state.as_str())).collect();
        detected.sort_unstable();
        assert_eq!(detected, *expected, "{name}");
        // SuppressedWhenStopped: what Lerd itself has stopped is meant to be down.
        assert_eq!(detector(sites, units, true).detect().await.unwrap(), [], "{name}");
    }
}

#[tokio::test]
async fn last_errors_are_filled_in_like_lerds() {
    let worker = |unit: &str, state, last_error: &str| UnhealthyWorker {
        site: "foo".into(),
        worker: "queue".into(),
        worktree: None,
        unit: UnitName::parse(unit).unwrap(),
        state,
        last_error: last_error.into(),
    };
    let enriched = async |state, last_error: &str| {
        let mut workers = [worker("lerd-queue-foo", state, last_error)];
        detector(&["foo"], &[("lerd-queue-foo", "failed", "")], false).enrich(&mut workers).await;
        let [worker] = workers;
        worker.last_error
    };
    // TestEnrich_PopulatesLastError.
    assert_eq!(enriched(State::Failed, "").await, "boom on lerd-queue-foo");
    // TestEnrich_UnreachableGetsDedicatedLineNotJournal: the healer has said where it refuses connections.
    assert_eq!(enriched(State::Unreachable, "it refuses connections to x").await, "it refuses connections to x");
    // TestEnrich_SkipsOrphans, and cleanly stopped workers.
    assert_eq!(enriched(State::Orphaned, "").await, "");
    assert_eq!(enriched(State::ExpectedButStopped, "").await, "");
    // (differs) TestEnrich_KeepsPreSetErrorAndSkipsCall: what was set before is how an attempt of ours has failed; what
    // the worker itself has said since is better.
    assert_eq!(enriched(State::Failed, "preserved").await, "boom on lerd-queue-foo");
}

#[tokio::test]
async fn a_heal_of_everything_leaves_orphans_alone_as_lerd_does() {
    // TestHealAll_SkipsOrphanedUnits, TestHealable_DropsOrphans.
    let units: &[Row] =
        &[("lerd-vite-myapp-featx", "failed", "/definitely/not/here/featx gone"), ("lerd-queue-myapp", "failed", "")];
    let plan = detector(&["myapp"], units, false).plan(&[]).await.unwrap();
    assert_eq!(plan.unhealthy.iter().map(|it| it.unit.short()).collect::<Vec<_>>(), ["lerd-queue-myapp"]);
    assert_eq!(plan.left_alone.iter().map(|it| it.worker.unit.short()).collect::<Vec<_>>(), ["lerd-vite-myapp-featx"]);
    assert!(plan.refused.is_empty());
}

#[test]
fn summaries_and_json_are_those_of_lerd() {
    // TestSummary_NoUnhealthy, TestHealAll_CapturesPerUnitFailures.
    assert_eq!(Report::default().to_string(), "No unhealthy workers.");
    let worker = |worker: &str| UnhealthyWorker {
        site: "myapp".into(),
        worker: worker.into(),
        worktree: None,
        unit: UnitName::parse(&format!("lerd-{worker}-myapp")).unwrap(),
        state: State::Failed,
        last_error: String::new(),
    };
    let failed = vec![Failure { worker: worker("reverb"), error: "boom".into() }];
    let report = Report { healed: vec![worker("queue")], failed };
    assert_eq!(report.to_string(), "Healed 1 worker(s), 1 failed.");
    assert_eq!(
        serde_json::to_string(&report).unwrap(),
        r#"{"healed":[{"site":"myapp","worker":"queue","unit":"lerd-queue-myapp","state":"failed"}],"failed":[{"worker":{"site":"myapp","worker":"reverb","unit":"lerd-reverb-myapp","state":"failed"},"error":"boom"}]}"#
    );
    let event =
        Event { site: "myapp".into(), unit: UnitName::parse("lerd-queue-myapp").ok(), ..Event::new(Phase::Starting) };
    assert_eq!(
        serde_json::to_string(&event).unwrap(),
        r#"{"phase":"starting","site":"myapp","unit":"lerd-queue-myapp"}"#
    );
    assert_eq!(serde_json::to_string(&Event::new(Phase::Done)).unwrap(), r#"{"phase":"done"}"#);
    let worktrees = UnhealthyWorker { worktree: Some("feat-x".into()), ..worker("vite") };
    assert_eq!(serde_json::to_value(&worktrees).unwrap()["worktree"], "feat-x");
}
