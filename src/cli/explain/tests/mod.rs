//! Every possible explanation as the terminal shows it: `snapshots/` has one file for each.
//!
//! To see the effect of a change, run `INSTA_UPDATE=always cargo test explain` and read the diff.

mod on_launchd;
mod samples;

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use insta::Settings;

use self::samples::{Sample, by_hand};
use super::*;
use crate::core::diagnosis::{Refusal, State, Unrecoverable};
use crate::core::explain::rest::Rest;
use crate::core::pauses::{Pause, Target};
use crate::core::rules::{Rule, Verdict};
use crate::core::selector::Worker;
use crate::text::explanation::MAX_COLUMNS;

fn samples() -> Vec<Sample> {
    samples::on_systemd().into_iter().chain(on_launchd::samples()).collect()
}

/// A function that names the variants of an enum, and the list of all names. A new variant needs its name here, and
/// then a sample.
macro_rules! kinds {
    ($(#[$doc:meta])* $kind:ident, $kinds:ident, $type:ty { $($pattern:pat => $name:literal,)* }) => {
        $(#[$doc])*
        fn $kind(it: &$type) -> &'static str {
            match it { $($pattern => $name,)* }
        }
        const $kinds: &[&str] = &[$($name,)*];
    };
}

kinds! {
    /// The name of a judgement.
    verdict_kind, VERDICTS, Verdict {
        Verdict::Well => "well",
        Verdict::Stopped => "stopped",
        Verdict::Held(_) => "held",
        Verdict::GivenUp => "given up",
        Verdict::Unrecoverable(Unrecoverable::NotFound) => "no file",
        Verdict::Unrecoverable(Unrecoverable::BadSetting) => "bad setting",
        Verdict::Unrecoverable(Unrecoverable::Unreadable) => "unreadable file",
        Verdict::Unrecoverable(Unrecoverable::RestartPrevented(_)) => "restart prevented",
        Verdict::Unrecoverable(Unrecoverable::NotByHand) => "not by hand",
        Verdict::Exhausted(_) => "exhausted",
        Verdict::Wait(_) => "wait",
        Verdict::Start => "start",
        Verdict::Restart => "restart",
    }
}

kinds! {
    /// The name of a refusal.
    refusal_kind, REFUSALS, Refusal {
        Refusal::StopMarker => "stop marker",
        Refusal::Paused(Pause { target: Target::Everything, until: None }) => "everything paused",
        Refusal::Paused(Pause { target: Target::Everything, until: Some(_) }) => "everything paused for a time",
        Refusal::Paused(Pause { target: Target::Site(_), until: None }) => "site paused by command",
        Refusal::Paused(Pause { target: Target::Site(_), until: Some(_) }) => "site paused by command for a time",
        Refusal::Paused(Pause { target: Target::Unit(_), until: None }) => "unit paused",
        Refusal::Paused(Pause { target: Target::Unit(_), until: Some(_) }) => "unit paused for a time",
        Refusal::SitePaused(_) => "site paused",
        Refusal::WorkerPaused(_) => "worker paused",
        Refusal::IdleSuspended(Worker { worktree: None, .. }) => "idle",
        Refusal::IdleSuspended(Worker { worktree: Some(_), .. }) => "idle in a worktree",
        Refusal::Masked => "masked",
        Refusal::Disabled => "disabled",
        Refusal::JobPending => "job pending",
        Refusal::ParentDown(_) => "parent down",
        Refusal::ConflictUp(_) => "conflict up",
        Refusal::LeftToTrigger(_) => "left to its trigger",
        Refusal::OneshotEnded => "oneshot ended",
        Refusal::Stuck(..) => "stuck",
        Refusal::StopUnknown(_) => "stop unknown",
        Refusal::CrashLooping(_) => "crash-looping",
        Refusal::DirectoryGone(_) => "directory gone",
        Refusal::StateNotHealed(_) => "state not healed",
        Refusal::Declined(_) => "declined",
        Refusal::Forbidden(_) => "forbidden",
        Refusal::Unreadable(_) => "unreadable",
    }
}

/// Refusals that no rule makes: the healer derives them from a failed inspection, with which `explain` fails too, and
/// from a start that the manager refused.
const NO_RULE_SAYS: [&str; 4] = ["declined", "forbidden", "unreadable", "not by hand"];

kinds! {
    /// Why a worker counts as healthy.
    rest_kind, RESTS, Rest {
        Rest::Up => "up",
        Rest::Restarting => "restarting",
        Rest::Starting => "starting",
        Rest::Queued => "queued",
        Rest::Stopping => "stopping",
        Rest::NotLoaded(_) => "not loaded",
        Rest::Masked => "masked",
        Rest::NoFile => "no file",
        Rest::NotEnabled => "not enabled",
        Rest::OnDemand => "on demand",
        Rest::WithTargets => "with targets",
        Rest::Once => "once",
        Rest::PerhapsStopped(_) => "perhaps stopped",
        Rest::FilesUnknown => "files unknown",
        Rest::LeftTo(_) => "left to",
        Rest::Unclear(_) => "unclear",
    }
}

fn plain(sample: &Sample) -> String {
    sample.with_case(|case| {
        text(&case.explain(&sample.references()), Some("Redis::connect(): Connection refused"), Style::default(), None)
    })
}

#[test]
fn every_explanation_reads_as_it_should() {
    for sample in samples() {
        let mut settings = Settings::new();
        settings.set_snapshot_path("../snapshots");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.set_description(sample.what);
        settings.bind(|| insta::assert_snapshot!(sample.name, plain(&sample)));
    }
}

#[test]
fn every_reason_has_a_sample() {
    let mut seen: BTreeMap<&str, HashSet<&str>> = BTreeMap::new();
    let mut deciding = HashSet::new();
    for sample in samples() {
        sample.with_case(|case| {
            let judgement = case.judge();
            let mut see = |what, kind| seen.entry(what).or_default().insert(kind);
            see("verdict", verdict_kind(&judgement.verdict));
            match judgement.state {
                Some(state) => see("state", state.as_str()),
                None => see("rest", rest_kind(&case.rest())),
            };
            if let Verdict::Held(refusal) = &judgement.verdict {
                see("refusal", refusal_kind(refusal));
            }
            let objects = |rule: &Rule| judgement.state.is_some_and(|state| case.objection(*rule, state).is_some());
            deciding.extend(Rule::ALL.into_iter().find(objects));
        });
    }
    let states = State::ALL.map(State::as_str);
    let said =
        |kinds: &[&'static str]| kinds.iter().copied().filter(|kind| !NO_RULE_SAYS.contains(kind)).collect::<Vec<_>>();
    let (refusals, verdicts) = (said(REFUSALS), said(VERDICTS));
    for (what, all) in [("verdict", verdicts.as_slice()), ("state", &states), ("rest", RESTS), ("refusal", &refusals)] {
        let missing: Vec<&&str> = all.iter().filter(|kind| !seen[what].contains(**kind)).collect();
        assert!(missing.is_empty(), "there is no sample of the {what} {missing:?}");
    }
    let missing: Vec<Rule> = Rule::ALL.into_iter().filter(|rule| !deciding.contains(rule)).collect();
    assert!(missing.is_empty(), "there is no sample in which {missing:?} decides");
}

#[test]
fn every_snapshot_is_of_a_sample() {
    let known: HashSet<String> = samples().iter().map(|sample| format!("{}.snap", sample.name)).collect();
    assert_eq!(known.len(), samples().len(), "two samples have the same name");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/explain/snapshots");
    for file in std::fs::read_dir(folder).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let is_new = Path::new(&name).extension().is_some_and(|extension| extension == "new");
        assert!(known.contains(&name) || is_new, "{name} is of no sample any more");
    }
}

#[test]
fn explanations_are_short_and_do_not_repeat_themselves() {
    for sample in samples() {
        let text = plain(&sample);
        let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
        let most = if sample.name == "everything_at_once" { 18 } else { 14 };
        assert!(lines.len() <= most, "{} is long:\n{text}", sample.name);
        assert_eq!(lines.iter().collect::<HashSet<_>>().len(), lines.len(), "{}:\n{text}", sample.name);
        for line in lines {
            assert!(line.chars().count() <= MAX_COLUMNS, "{}: {line:?} is long", sample.name);
        }
    }
}

/// An explanation on a terminal of this many columns.
fn on_terminal(sample: &Sample, columns: usize) -> String {
    let last = "RedisException: Connection refused in /home/me/myapp/vendor/laravel/framework/src/Connector.php:170";
    sample.with_case(|case| text(&case.explain(&sample.references()), Some(last), Style::default(), Some(columns)))
}

#[test]
fn explanations_fit_on_the_terminal() {
    for columns in [60, 80, 120, 200] {
        for sample in samples() {
            for line in on_terminal(&sample, columns).lines() {
                let is_one_word = !line.trim().contains(' ');
                assert!(line.chars().count() <= columns || is_one_word, "{} at {columns}: {line:?}", sample.name);
            }
        }
        let sample = samples().into_iter().find(|sample| sample.name == "everything_at_once").unwrap();
        let mut settings = Settings::new();
        settings.set_snapshot_path("../widths");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(format!("columns_{columns}"), on_terminal(&sample, columns)));
    }
}

#[test]
fn heal_by_hand_is_suggested_only_where_it_helps() {
    for sample in samples() {
        sample.with_case(|case| {
            let change = case.explain(&sample.references()).change;
            let suggested = change.iter().any(|way| way.contains("workerheal heal"));
            let alone = suggested && !change.iter().any(|way| way.starts_with("then "));
            let by_hand = by_hand(case).judge().verdict;
            if alone {
                assert!(matches!(by_hand, Verdict::Start | Verdict::Restart), "{}: {by_hand:?}", sample.name);
            }
        });
    }
}

#[test]
fn the_deciding_line_is_red_and_evidence_is_faint() {
    let sample = samples().into_iter().find(|sample| sample.name == "site_paused").unwrap();
    let painted =
        sample.with_case(|case| text(&case.explain(&sample.references()), None, Style { colored: true }, None));
    assert!(painted.starts_with("\u{1b}[31mmyapp/queue is not healed"), "{painted}");
    let decides = painted.lines().find(|line| line.contains("✗")).unwrap();
    assert!(decides.starts_with("  \u{1b}[31m✗ the site myapp is paused\u{1b}[0m  "), "{decides:?}");
    assert!(decides.ends_with("  \u{1b}[2m~/.local/share/lerd/sites.yaml:6 says paused: true\u{1b}[0m"), "{decides:?}");
}
