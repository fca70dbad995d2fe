//! `workerheal stop`: stops workers, and records that this was intended.

use clap::Args;
use clap_complete::engine::ArgValueCompleter;

use super::Status;
use super::complete::targets;
use super::term::{self, Style};
use crate::api::StopReport;
use crate::client::Access;
use crate::core::explain::quoted;
use crate::setup::Options;

#[derive(Debug, Args)]
pub(super) struct Stop {
    /// What to stop: a unit, SITE/WORKER, SITE/WORKER@WORKTREE or a site
    #[arg(value_name = "TARGET", add = ArgValueCompleter::new(targets), required = true)]
    targets: Vec<String>,
    /// Print what was stopped as JSON
    #[arg(long)]
    json: bool,
}

impl Stop {
    pub async fn run(self, options: &Options, style: Style) -> anyhow::Result<Status> {
        let access = Box::pin(Access::open(options)).await?;
        let report = Box::pin(access.stop(options, &self.targets)).await?;
        if self.json {
            term::print(format!("{}\n", serde_json::to_string_pretty(&report)?))?;
        } else {
            let text = text(&report, &self.targets, style);
            let lines: Vec<String> = text.lines().map(|line| term::hanging(line, 0, term::width()) + "\n").collect();
            term::print(lines.concat())?;
        }
        Ok(if report.failed.is_empty() { Status::Done } else { Status::Unhealthy })
    }
}

fn text(report: &StopReport, targets: &[String], style: Style) -> String {
    let mut text = String::new();
    for failure in &report.failed {
        text.push_str(&format!("{}\n", style.bad(format!("✗ {}: {}", failure.worker.name(), failure.error))));
    }
    let (gone, stay): (Vec<_>, Vec<_>) = report.stopped.iter().partition(|worker| worker.gone);
    for worker in gone {
        text.push_str(&format!(
            "Stopped {}; its unit was transient and is gone, so start it again as you did before\n",
            worker.name()
        ));
    }
    let targets: Vec<String> = if stay.iter().all(|worker| worker.enabled) {
        targets.iter().map(|target| quoted(target)).collect()
    } else {
        // A site's name does not include workers that are not enabled.
        stay.iter().map(|worker| quoted(&worker.name())).collect()
    };
    let start = format!("workerheal heal {}", targets.join(" "));
    match stay.as_slice() {
        [] => {}
        [worker] => {
            text.push_str(&format!("Stopped {}; it stays stopped until you start it: {start}\n", worker.name()));
        }
        workers => {
            for worker in workers {
                text.push_str(&format!("Stopped {}\n", worker.name()));
            }
            text.push_str(&format!("They stay stopped until you start them: {start}\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{NotStopped, StoppedWorker};
    use crate::core::units::UnitName;

    fn worker(name: &str) -> StoppedWorker {
        StoppedWorker {
            site: "shop".into(),
            worker: name.into(),
            worktree: None,
            unit: UnitName::parse(&format!("lerd-{name}-shop")).unwrap(),
            gone: false,
            enabled: true,
        }
    }

    #[test]
    fn stopped_workers_are_listed_with_the_command_that_starts_them() {
        let shown = |report: &StopReport, target: &str| text(report, &[target.to_owned()], Style::default());
        let one = StopReport { stopped: vec![worker("queue")], failed: vec![] };
        assert_eq!(
            shown(&one, "shop/queue"),
            "Stopped shop/queue; it stays stopped until you start it: workerheal heal shop/queue\n"
        );
        let gone = StopReport { stopped: vec![StoppedWorker { gone: true, ..worker("once") }], failed: vec![] };
        assert_eq!(
            shown(&gone, "shop/once"),
            "Stopped shop/once; its unit was transient and is gone, so start it again as you did before\n"
        );
        let static_one = StoppedWorker { enabled: false, ..worker("c") };
        let some = StopReport { stopped: vec![worker("a"), static_one], failed: vec![] };
        assert_eq!(
            shown(&some, "shop"),
            "Stopped shop/a\nStopped shop/c\nThey stay stopped until you start them: workerheal heal shop/a shop/c\n"
        );
        let failed = NotStopped { worker: worker("vite"), error: "it is still stopping after 20 s".into() };
        let several = StopReport { stopped: vec![worker("a"), worker("b")], failed: vec![failed] };
        assert_eq!(
            shown(&several, "shop"),
            "✗ shop/vite: it is still stopping after 20 s\nStopped shop/a\nStopped shop/b\n\
             They stay stopped until you start them: workerheal heal shop\n"
        );
    }
}
