//! `workerheal heal`: heals workers, and shows each step.

use std::time::Duration;

use clap::Args;

use super::progress::{Form, Progress};
use super::term::{self, Style};
use super::{Status, detect, target};
use crate::client::{Client, Findings, Refused};
use crate::core::diagnosis::Asked;
use crate::core::event::{Failure, Report};
use crate::core::units::UnitName;
use crate::manager::Native;
use crate::manager::ServiceManager;
use crate::setup::{Options, Setup};

#[derive(Debug, Args)]
pub(super) struct Heal {
    /// What to heal: a unit, SITE/WORKER or a site [default: everything unhealthy]
    #[arg(value_name = "TARGET")]
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
    #[arg(long, default_value = "1s", value_parser = humantime::parse_duration, value_name = "TIME")]
    prove: Duration,
}

impl Heal {
    pub async fn run(self, options: &Options, style: Style) -> anyhow::Result<Status> {
        let mut setup = Setup::load(options)?;
        setup.rules.policy.stable_after = self.prove;
        let (manager, changes) = Native::connect(setup.scope, setup.rules.coverage.patterns()).await?;
        let mut client = Client::new(manager, changes, setup.rules);

        let Findings { unhealthy, mut shown, refused } = Box::pin(self.find(&client)).await?;
        let mut report = Report::default();
        if !self.targets.is_empty() {
            // Whoever named them wants to know why nothing is done about them.
            let left_alone = refused.into_iter().chain(shown.drain(..));
            report.failed.extend(left_alone.map(|it| Failure { worker: it.worker, error: it.refusal.to_string() }));
        }
        if self.dry_run {
            let mut unhealthy = unhealthy;
            client.enrich(&mut unhealthy).await;
            return self.announce(&unhealthy, &shown, style);
        }

        let mut progress = Progress::new(self.form(), style, &unhealthy);
        for failure in &report.failed {
            progress.refused(failure)?;
        }
        let mut healing = client.heal(unhealthy).await?;
        while let Some(event) = progress.run(healing.next()).await? {
            progress.show(&event)?;
        }
        progress.end()?;
        let done = healing.into_report();
        report.healed.extend(done.healed);
        report.failed.extend(done.failed);

        match self.form() {
            Form::Json => term::print(format!("{}\n", serde_json::to_string_pretty(&report)?))?,
            Form::Text => term::print(format!("{}{}\n", left_alone(&shown, style), summary(&report, &shown)))?,
            Form::Events => {}
        }
        Ok(if report.failed.is_empty() { Status::Done } else { Status::Unhealthy })
    }

    async fn find<M: ServiceManager>(&self, client: &Client<M>) -> anyhow::Result<Findings> {
        if self.targets.is_empty() {
            return Ok(client.find(Asked::ByRule).await?);
        }
        let units = target::select(&self.targets, &client.workers().await?)?;
        let named = |unit: &str| units.iter().map(UnitName::short).any(|name| name == unit);
        let mut findings = client.find(Asked::ByPerson).await?;
        findings.unhealthy.retain(|worker| named(&worker.unit));
        findings.shown.retain(|shown| named(&shown.worker.unit));
        findings.refused.retain(|refused| named(&refused.worker.unit));
        Ok(findings)
    }

    fn announce(
        &self,
        unhealthy: &[crate::UnhealthyWorker],
        shown: &[Refused],
        style: Style,
    ) -> anyhow::Result<Status> {
        match self.form() {
            Form::Json | Form::Events => term::print(format!("{}\n", serde_json::to_string_pretty(unhealthy)?))?,
            Form::Text => {
                // An empty table says that nothing is wrong.
                let nothing_to_heal = unhealthy.is_empty() && !shown.is_empty();
                let table =
                    if nothing_to_heal { String::new() } else { detect::table(unhealthy, style, term::width()) };
                term::print(format!("{table}{}", left_alone(shown, style)))?;
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

/// A line for each worker that something is wrong with, but nothing that is healed without being asked.
fn left_alone(shown: &[Refused], style: Style) -> String {
    let line = |it: &Refused| {
        format!("{}\n", style.faint(format!("– {} is left alone: {}", detect::name(&it.worker), it.refusal)))
    };
    shown.iter().map(line).collect()
}

/// The last line, as other programs know it. That no worker is unhealthy is said only if it is so.
fn summary(report: &Report, shown: &[Refused]) -> String {
    if report.healed.is_empty() && report.failed.is_empty() && !shown.is_empty() {
        return "Healed 0 worker(s).".to_owned();
    }
    report.to_string()
}

#[cfg(test)]
mod tests {
    use super::super::Color;
    use super::*;
    use crate::UnhealthyWorker;
    use crate::core::diagnosis::{Refusal, State};

    fn shown(site: &str, worker: &str, state: State, refusal: Refusal) -> Refused {
        let worker = UnhealthyWorker {
            site: site.into(),
            worker: worker.into(),
            unit: format!("lerd-{worker}-{site}"),
            state,
            last_error: String::new(),
        };
        Refused { worker, refusal }
    }

    #[test]
    fn what_is_shown_but_not_healed_has_a_faint_line() {
        let shown = [
            shown("myapp", "vite", State::CrashLooping, Refusal::CrashLooping(12)),
            shown("", "celery@mail", State::Orphaned, Refusal::DirectoryGone("/srv/mail".into())),
            shown("shop", "queue", State::ExpectedButStopped, Refusal::StateNotHealed(State::ExpectedButStopped)),
        ];
        assert_eq!(
            left_alone(&shown, Style::new(Color::Never)),
            "– myapp/vite is left alone: the service manager itself restarts it, 12 times so far\n\
             – celery@mail is left alone: its working directory /srv/mail is gone\n\
             – shop/queue is left alone: the configuration does not heal the state expected-but-stopped\n"
        );
        let painted = left_alone(&shown[..1], Style::new(Color::Always));
        assert!(painted.starts_with("\u{1b}[2m– ") && painted.ends_with("\u{1b}[0m\n"), "{painted:?}");
        assert_eq!(left_alone(&[], Style::new(Color::Always)), "");
    }

    #[test]
    fn no_unhealthy_workers_is_claimed_only_if_there_are_none() {
        let looping = [shown("myapp", "vite", State::CrashLooping, Refusal::CrashLooping(12))];
        let nothing = Report::default();
        assert_eq!(summary(&nothing, &[]), "No unhealthy workers.");
        assert_eq!(summary(&nothing, &looping), "Healed 0 worker(s).");
        let healed = Report { healed: vec![looping[0].worker.clone()], failed: Vec::new() };
        assert_eq!(summary(&healed, &looping), "Healed 1 worker(s).");
    }
}
