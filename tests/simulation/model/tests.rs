//! The rules that are easy to get wrong, one test each.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_simple_service_is_active_at_once_and_failed_after_a_crash() {
    let mut model = Model::new();
    let unit = model.add("a", Spec::default());
    let job = model.start(unit, Mode::Replace, &mut |_, _| Life::ends(SECOND, Exit::Code(1))).unwrap();
    assert_eq!(model.unit(unit).active(), ActiveState::Active);
    model.advance(SECOND, &mut |_, _| unreachable!());
    assert_eq!(model.unit(unit).active(), ActiveState::Failed);
    let changed = |active, has_job| Signal::Changed { unit, active, auto_restart: false, has_job };
    assert_eq!(
        model.drain_signals().collect::<Vec<_>>(),
        [
            Signal::UnitNew(unit),
            changed(ActiveState::Inactive, true),
            changed(ActiveState::Active, true),
            Signal::JobRemoved { job, unit, kind: JobKind::Start, result: JobResult::Done },
            changed(ActiveState::Active, false),
            changed(ActiveState::Failed, false),
        ]
    );
}
