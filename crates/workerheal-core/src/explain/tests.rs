//! What an explanation refers to.

use std::sync::Arc;
use std::time::SystemTime;

use super::{Commands, References};
use crate::context::Context;
use crate::healer::{Fact, Healer, Mode};
use crate::registry::{Entries, Lines, Registry, Site};
use crate::time::Timestamp;
use crate::units::{ActiveState, Inspection, LoadState, ServiceResult, UnitName, UnitStatus};

/// A registry whose only site is paused, as written in this line.
fn paused_in(line: usize) -> Arc<Registry> {
    let mut lines = Lines::default();
    lines.note("paused", line);
    let mut entries = Entries::default();
    entries.add(Site { paused: true, ..Site::new("myapp", "/srv/myapp") }, lines);
    Arc::new(Registry::new(entries).unwrap())
}

#[test]
fn evidence_is_a_line_of_the_registry_in_force() {
    let unit = UnitName::parse("lerd-queue-myapp").unwrap();
    let references = References {
        sites: "sites.yaml".into(),
        config: "config.yaml".into(),
        stop_marker: "stopped".into(),
        commands: Commands::USER,
        now: SystemTime::UNIX_EPOCH,
        clock: Timestamp::default(),
    };
    let failed = UnitStatus {
        name: unit.clone(),
        load: Some(LoadState::Loaded),
        active: ActiveState::Failed,
        has_job: false,
        auto_restart: false,
    };
    let seen = Inspection {
        load: LoadState::Loaded,
        active: ActiveState::Failed,
        result: ServiceResult::Other("exit-code".into()),
        ..Inspection::default()
    };
    let context = Context { registry: paused_in(3), ..Context::default() };
    let mut healer = Healer::new(Mode::Automatic, context, fastrand::Rng::with_seed(1));
    let _ = healer.observe(Timestamp::default(), Fact::Units(vec![failed]));
    // The references are those of the first version: the registry may change between the request and the answer.
    for line in [3, 9] {
        let _ = healer.observe(Timestamp::default(), Fact::Registry(paused_in(line)));
        let explanation = healer.explain(Timestamp::default(), &unit, &seen, &references).unwrap();
        let expected = format!("sites.yaml:{line} says paused: true");
        assert!(explanation.chain.iter().any(|line| line.evidence == expected), "{explanation:?}");
    }
}
