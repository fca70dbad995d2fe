//! Which workers are measured for the list, and which measurements are kept.

use super::*;

/// With 20 workers that are up and one that is not, in a list of which ten rows are visible.
fn wide_model() -> Model {
    let mut model = Model::new();
    model.order = Order::Site;
    let up_since = Some(NOW);
    let mut workers: Vec<_> = (0..20)
        .map(|number| WorkerReport { up_since, ..WorkerReport::plain(&format!("w{number:02}"), Stage::Up) })
        .collect();
    workers.insert(2, WorkerReport::plain("vite", Stage::GaveUp));
    model.learn(snapshot(workers, Vec::new()));
    (model.measures_list, model.list_at) = (true, Rect { x: 0, y: 2, width: 106, height: 10 });
    model.settle(10, 0);
    model
}

fn measure_visible(model: &mut Model, at: Instant) {
    let units = model.to_measure_in_list();
    let usages = units.iter().map(|unit| (unit.clone(), Usage { pid: Some(42), ..Usage::default() })).collect();
    model.measure_list(&units, &usages, at);
}

#[test]
fn workers_that_are_up_and_visible_are_measured_for_the_list() {
    let mut model = wide_model();
    // Of ten rows, the first is the heading, the second is selected, and one was given up.
    let listed = model.to_measure_in_list();
    assert_eq!(listed.len(), 7, "{listed:?}");
    assert!(listed.iter().all(|unit| unit.starts_with("lerd-w0")), "{listed:?}");
    assert_eq!(model.to_measure().map(UnitName::short), Some("lerd-w00-myapp"));
    letters(&mut model, "e");
    assert_eq!(model.to_measure_in_list().len(), 8, "the selected one is not measured for its details");
    letters(&mut model, "e");
    press(&mut model, KeyCode::End);
    model.settle(10, 0);
    assert_eq!(model.to_measure_in_list().len(), 9);
    letters(&mut model, "/vite");
    assert_eq!(model.to_measure_in_list(), [""; 0]);
    press(&mut model, KeyCode::Esc);
    model.measures_list = false;
    assert_eq!(model.to_measure_in_list(), [""; 0], "there is no room");
    model.measures_list = true;
    model.lost("it has ended".into(), NOW);
    assert_eq!(model.to_measure_in_list(), [""; 0]);
}

#[test]
fn only_measurements_of_visible_runs_are_kept() {
    let mut model = wide_model();
    let known = |model: &Model| {
        let workers = model.workers().iter().filter(|worker| model.usage_of(worker).is_some());
        workers.map(|worker| worker.worker.clone()).collect::<Vec<_>>()
    };
    assert!(model.lacks_measurements());
    let now = Instant::now();
    measure_visible(&mut model, now);
    model.measure("lerd-w00-myapp", Usage { pid: Some(7), ..Usage::default() }, now);
    assert_eq!(known(&model), ["w00", "w01", "w02", "w03", "w04", "w05", "w06", "w07"]);
    assert!(!model.lacks_measurements());

    let mut workers = model.workers().to_vec();
    workers[0].phase = Stage::Waiting;
    workers[1].up_since = Some(NOW + Duration::from_secs(1));
    workers.remove(3);
    model.learn(snapshot(workers, Vec::new()));
    assert_eq!(known(&model), ["w03", "w04", "w05", "w06", "w07"], "one is down, one was restarted, one is gone");
    assert!(model.lacks_measurements());

    press(&mut model, KeyCode::End);
    model.settle(10, 0);
    measure_visible(&mut model, now);
    let units = known(&model);
    assert_eq!((units.len(), units[0].as_str()), (9, "w10"));
}
