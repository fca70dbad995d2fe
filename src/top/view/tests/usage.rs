//! Resource usage on the screen.

use std::collections::BTreeMap;
use std::time::Instant;

use super::*;
use crate::manager::Usage;

#[test]
fn usage_of_the_selected_worker_is_shown() {
    let mut model = trouble();
    model.selected = Some(UnitName::parse("lerd-queue-myapp").unwrap());
    let usage = |cpu| Usage { pid: Some(4242), memory: Some(47_400_000), cpu: Some(Duration::from_millis(cpu)) };
    let begin = Instant::now();
    model.measure("lerd-queue-myapp", usage(1000), begin);
    model.measure("lerd-queue-myapp", usage(1046), begin + Duration::from_secs(2));
    see("usage_60x24", &mut model, 60, 24);
    see("usage_120x30", &mut model, 120, 30);
}

#[test]
fn usage_of_visible_workers_is_shown_in_a_wide_list() {
    let mut model = trouble();
    screen(&mut model, 160, 50);
    let units = model.to_measure_in_list();
    let usage = |at: usize, seconds: usize| {
        let cpu = Duration::from_millis(u64::try_from(at * at * 37 * seconds).unwrap());
        let memory = u64::try_from((at + 1).pow(5) * 12_000).unwrap();
        Usage { pid: u32::try_from(900 + at * at * 31_007).ok(), memory: Some(memory), cpu: Some(cpu) }
    };
    let begin = Instant::now();
    for seconds in [0, 5] {
        // The last one is up without processes.
        let known = units.iter().enumerate().take(units.len() - 1);
        let usages = known.map(|(at, unit)| (unit.clone(), usage(at, seconds))).collect();
        let at = begin + Duration::from_secs(seconds.try_into().unwrap());
        assert!(model.measure_list(&units, &usages, at));
        assert!(!model.measure_list(&units, &usages, at + Duration::from_millis(1)));
    }
    see("list_usage_160x50", &mut model, 160, 50);
    see("list_usage_200x60", &mut model, 200, 60);
    let (_, changes_at) = screen(&mut model, 200, 60);
    assert_eq!(changes_at, Some(now() + Duration::from_millis(500)), "it does not change by itself");
    for columns in [159, 120, 80] {
        let narrow = |model: &mut Model| screen(model, columns, 50).0;
        assert_eq!(narrow(&mut model), narrow(&mut trouble()));
        assert_eq!(model.to_measure_in_list(), [""; 0], "nothing is asked for at {columns} columns");
    }
}

#[test]
fn uncounted_usage_has_no_columns() {
    let mut model = trouble();
    assert!(screen(&mut model, 160, 50).0.contains("CPU  UP FOR"));
    let units = model.to_measure_in_list();
    assert!(model.measure_list(&units, &BTreeMap::new(), Instant::now()));
    assert!(!screen(&mut model, 160, 50).0.contains("CPU"));
}
