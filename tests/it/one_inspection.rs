//! A heal inspects each worker once before its start, and once more to prove that it stays up.

#![expect(clippy::unwrap_used, reason = "this is for tests only")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc;
use workerheal::Standalone;
use workerheal::core::context::Context;
use workerheal::core::healer::Outcome;
use workerheal::core::policy::Policy;
use workerheal::core::registry::{Registry, Site};
use workerheal::core::rules::Start;
use workerheal::core::units::{
    ActiveState, Detail, Inspection, LoadState, Location, ServiceResult, StopEvidence, UnitFile, UnitName, UnitStatus,
};
use workerheal::detect::Detector;
use workerheal::manager::log::{Log, WantedLines};
use workerheal::manager::{Change, ManagerError, ServiceManager};

/// A service manager whose starts succeed, and which counts inspections.
#[derive(Clone)]
struct Counting {
    units: Arc<Mutex<HashMap<UnitName, Unit>>>,
    changes: mpsc::UnboundedSender<Change>,
}

#[derive(Clone, Copy)]
struct Unit {
    active: ActiveState,
    inspections: usize,
}

impl Counting {
    fn status(name: &UnitName, active: ActiveState) -> UnitStatus {
        UnitStatus { name: name.clone(), load: Some(LoadState::Loaded), active, has_job: false, auto_restart: false }
    }

    fn inspections(&self, unit: &str) -> usize {
        self.units.lock().unwrap()[&UnitName::parse(unit).unwrap()].inspections
    }
}

impl ServiceManager for Counting {
    async fn list(&self) -> Result<Vec<UnitStatus>, ManagerError> {
        Ok(self.units.lock().unwrap().iter().map(|(name, unit)| Self::status(name, unit.active)).collect())
    }

    fn refresh(&self) {}

    fn cover(&self, _: Vec<String>) {}

    async fn inspect(&self, unit: &UnitName, detail: Detail) -> Result<Inspection, ManagerError> {
        let mut units = self.units.lock().unwrap();
        let unit = units.get_mut(unit).unwrap();
        unit.inspections += 1;
        let is_up = unit.active.is_up();
        Ok(Inspection {
            active: unit.active,
            up_for: is_up.then_some(Duration::from_secs(60)),
            down_for: (!is_up).then_some(Duration::from_secs(60)),
            result: if is_up { ServiceResult::Success } else { ServiceResult::ExitCode },
            file: detail.file.then_some(UnitFile {
                enabled: true,
                on_demand: false,
                waits_with_targets: false,
                definition: 1,
            }),
            stop: detail.stop.then_some(StopEvidence::NotRequested),
            ..Inspection::crashed()
        })
    }

    async fn location(&self, _: &UnitName) -> Result<Location, ManagerError> {
        Ok(Location::default())
    }

    fn start(&self, start: &Start, _: Duration) {
        self.units.lock().unwrap().get_mut(&start.unit).unwrap().active = ActiveState::Active;
        self.changes.send(Change::Unit(Self::status(&start.unit, ActiveState::Active))).unwrap();
        self.changes.send(Change::Finished(start.unit.clone(), Outcome::Done)).unwrap();
    }

    fn stop(&self, _: &UnitName) {}

    async fn end(&self, _: &UnitName) -> Result<(), ManagerError> {
        Ok(())
    }

    async fn last_error(&self, _: &UnitName) -> Option<String> {
        None
    }

    async fn log(&self, _: &UnitName, _: WantedLines) -> Log {
        std::future::pending().await
    }
}

/// A client of a manager in which these workers have failed.
fn failed(workers: &[&str]) -> (Counting, Standalone<Counting>) {
    let (changes, receiver) = mpsc::unbounded_channel();
    let unit = Unit { active: ActiveState::Failed, inspections: 0 };
    let units = workers.iter().map(|name| (UnitName::parse(name).unwrap(), unit)).collect();
    let manager = Counting { units: Arc::new(Mutex::new(units)), changes };
    let registry: Registry = [Site::new("myapp", "/srv/myapp")].into_iter().collect();
    let policy = Policy { stable_after: Duration::from_millis(10), ..Policy::default() };
    let context = Context { registry: Arc::new(registry), policy, ..Context::default() };
    (manager.clone(), Standalone::new(Detector::new(manager, context), receiver))
}

#[tokio::test]
async fn a_heal_of_everything_inspects_each_worker_once_before_its_start() {
    let workers = ["lerd-queue-myapp", "lerd-vite-myapp"];
    let (manager, mut client) = failed(&workers);
    let report = client.heal_all(|_| ()).await.unwrap();
    assert_eq!(report.to_string(), "Healed 2 worker(s).");
    assert_eq!(workers.map(|unit| manager.inspections(unit)), [2, 2], "before the start, and to prove that it is up");
}

#[tokio::test]
async fn a_heal_of_one_unit_inspects_it_once_before_its_start() {
    let (manager, mut client) = failed(&["lerd-queue-myapp"]);
    client.heal_unit(&UnitName::parse("lerd-queue-myapp").unwrap()).await.unwrap();
    assert_eq!(manager.inspections("lerd-queue-myapp"), 2, "before the start, and to prove that it is up");
}
