//! `workerheal heal`: heals workers, and shows each step.

use std::time::Duration;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;

use super::Status;
use super::complete::targets;
use super::progress::{Form, Progress};
use super::term::{self, Style};
use super::time::short_duration;
use super::unhealthy::{paused_line, table};
use crate::api::HealRequest;
use crate::client::Access;
use crate::core::batch::{LeftAlone, Plan, summary};
use crate::core::event::{Failure, UnhealthyWorker};
use crate::core::report::{Stage, WorkerReport};
use crate::setup::Options;

#[derive(Debug, Args)]
pub(super) struct Heal {
    /// What to heal: a unit, SITE/WORKER, SITE/WORKER@WORKTREE or a site [default: everything unhealthy]
    #[arg(value_name = "TARGET", add = ArgValueCompleter::new(targets))]
    targets: Vec<String>,
    /// Print the result as JSON
    #[arg(long, conflicts_with = "events")]
    json: bool,
    /// Print each step as a line of JSON
    #[arg(long)]
    events: bool,
    /// Only show what would be healed
    #[arg(long)]
    dry_run: bool,
    /// How long a worker has to stay up to count as healed
    #[arg(long, default_value = "1s", value_parser = short_duration, value_name = "TIME")]
    prove: Duration,
}

impl Heal {
    pub async fn run(self, options: &Options, style: Style) -> anyhow::Result<Status> {
        let mut access = Box::pin(Access::open(options)).await?;
        access.warnings().iter().for_each(term::complain);
        if self.dry_run {
            let plan = Box::pin(access.plan(&self.targets)).await?;
            return self.announce(&plan, style);
        }
        let prove = Some(humantime::format_duration(self.prove).to_string());
        let request = HealRequest { targets: self.targets.clone(), prove, dry_run: false };
        let reports = if self.targets.is_empty() { Vec::new() } else { access.reports().await? };
        let mut heal = Box::pin(access.heal(&request)).await?;
        let (left_alone, paused) = (heal.plan().left_alone.clone(), heal.plan().paused.clone());
        if self.form() == Form::Text {
            under_way(&reports, heal.plan()).try_for_each(|report| term::print(under_way_line(report, style)))?;
        }
        let waited_for = under_way(&reports, heal.plan()).map(|report| report.unit.clone()).collect();
        let mut progress = Progress::new(self.form(), style, heal.plan(), waited_for, term::width());
        while let Some(event) = progress.run(heal.next()).await?? {
            progress.show(&event)?;
        }
        progress.end()?;
        let report = heal.into_report();
        match self.form() {
            Form::Json => term::print(format!("{}\n", serde_json::to_string_pretty(&report)?))?,
            Form::Text => {
                let width = term::width();
                let untouched: Vec<LeftAlone> = left_alone.iter().chain(&paused).cloned().collect();
                let others = left_alone_lines(&left_alone, style, width) + &paused_line(&paused, style, width);
                term::print(format!("{others}{}\n", summary(&report, &untouched)))?;
            }
            Form::Events => {}
        }
        Ok(if report.failed.is_empty() { Status::Done } else { Status::Unhealthy })
    }

    fn announce(&self, Plan { unhealthy, left_alone, paused, refused }: &Plan, style: Style) -> anyhow::Result<Status> {
        match self.form() {
            Form::Json | Form::Events => term::print(format!("{}\n", serde_json::to_string_pretty(unhealthy)?))?,
            Form::Text => {
                // An empty table means that nothing is wrong.
                let width = term::width();
                let others = left_alone_lines(left_alone, style, width)
                    + &paused_line(paused, style, width)
                    + &refused_lines(refused, style, width);
                let nothing_to_heal = unhealthy.is_empty() && !others.is_empty();
                let table = if nothing_to_heal { String::new() } else { table(unhealthy, style, width) };
                term::print(format!("{table}{others}"))?;
            }
        }
        Ok(Status::Done)
    }

    fn form(&self) -> Form {
        match (self.json, self.events) {
            (true, _) => Form::Json,
            (_, true) => Form::Events,
            (false, false) => Form::Text,
        }
    }
}

/// A line for each unhealthy worker that is not healed automatically.
fn left_alone_lines(left_alone: &[LeftAlone], style: Style, columns: Option<usize>) -> String {
    let line = |it: &LeftAlone| line(&it.worker, &it.reason, style, columns);
    left_alone.iter().map(line).collect()
}

/// The workers that were being started before, and whose results are waited for.
fn under_way<'a>(reports: &'a [WorkerReport], plan: &'a Plan) -> impl Iterator<Item = &'a WorkerReport> {
    let is_planned = |report: &&WorkerReport| plan.unhealthy.iter().any(|worker| worker.unit == report.unit);
    let is_under_way = |report: &&WorkerReport| matches!(report.phase, Stage::Proving | Stage::Starting);
    reports.iter().filter(is_under_way).filter(is_planned)
}

fn under_way_line(report: &WorkerReport, style: Style) -> String {
    let attempt = report.attempts.max(1);
    let is = if report.phase == Stage::Proving { "proven" } else { "started" };
    let line = format!("– {} is being {is}, attempt {attempt}; waiting for the end of that", report.name());
    format!("{}\n", style.faint(line))
}

/// A line for each named worker that would be refused.
fn refused_lines(refused: &[Failure], style: Style, columns: Option<usize>) -> String {
    refused.iter().map(|it| line(&it.worker, &it.error, style, columns)).collect()
}

fn line(worker: &UnhealthyWorker, why: &str, style: Style, columns: Option<usize>) -> String {
    let line = term::hanging(&format!("{} is not healed: {why}", worker.name()), 2, columns);
    format!("{}\n", style.faint(format!("– {line}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::diagnosis::{Refusal, State};
    use crate::core::units::UnitName;

    fn shown(site: &str, worker: &str, state: State, refusal: &Refusal) -> LeftAlone {
        let worker = UnhealthyWorker {
            site: site.into(),
            worker: worker.into(),
            worktree: None,
            unit: UnitName::parse(&format!("lerd-{worker}-{site}")).unwrap(),
            state,
            last_error: String::new(),
        };
        LeftAlone { worker, reason: refusal.to_string() }
    }

    #[test]
    fn workers_that_are_only_shown_have_a_faint_line() {
        let shown = [
            shown("myapp", "vite", State::CrashLooping, &Refusal::CrashLooping(12)),
            shown("", "celery@mail", State::Orphaned, &Refusal::DirectoryGone("/srv/mail".into())),
            shown("shop", "queue", State::ExpectedButStopped, &Refusal::StateNotHealed(State::ExpectedButStopped)),
        ];
        assert_eq!(
            left_alone_lines(&shown, Style::default(), None),
            "– myapp/vite is not healed: the service manager itself restarts it, 12 times so far\n\
             – celery@mail is not healed: its working directory /srv/mail is gone\n\
             – shop/queue is not healed: the configuration does not heal the state expected-but-stopped\n"
        );
        let narrow = left_alone_lines(&shown[2..], Style::default(), Some(60));
        assert_eq!(
            narrow,
            "– shop/queue is not healed: the configuration does not heal\n  the state expected-but-stopped\n"
        );
        let painted = left_alone_lines(&shown[..1], Style { colored: true }, None);
        assert!(painted.starts_with("\u{1b}[2m– ") && painted.ends_with("\u{1b}[0m\n"), "{painted:?}");
        assert_eq!(left_alone_lines(&[], Style { colored: true }, None), "");
    }
}
