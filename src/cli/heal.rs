//! `workerheal heal`: heals workers, and shows each step.

use std::time::Duration;

use clap::Args;

use super::progress::{Form, Progress};
use super::term::{self, Style};
use super::{Status, detect, target};
use crate::client::{Client, Findings};
use crate::core::diagnosis::Asked;
use crate::core::event::{Failure, Report};
use crate::core::units::UnitName;
use crate::manager::ServiceManager;
use crate::manager::systemd::Systemd;
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
        let (manager, changes) = Systemd::connect(setup.scope, setup.rules.coverage.patterns()).await?;
        let mut client = Client::new(manager, changes, setup.rules);

        let Findings { unhealthy, shown, refused } = self.find(&client).await?;
        let mut report = Report::default();
        if !self.targets.is_empty() {
            // Whoever named them wants to know why nothing is done about them.
            let left_alone = refused.into_iter().chain(shown);
            report.failed.extend(left_alone.map(|it| Failure { worker: it.worker, error: it.refusal.to_string() }));
        }
        if self.dry_run {
            let mut unhealthy = unhealthy;
            client.enrich(&mut unhealthy).await;
            return self.announce(&unhealthy, style);
        }

        let mut progress = Progress::new(self.form(), style, &unhealthy);
        for failure in &report.failed {
            progress.refused(failure)?;
        }
        let mut healing = client.heal(unhealthy).await?;
        while let Some(event) = progress.run(healing.next()).await? {
            progress.show(&event)?;
        }
        let done = healing.into_report();
        report.healed.extend(done.healed);
        report.failed.extend(done.failed);

        match self.form() {
            Form::Json => term::print(format!("{}\n", serde_json::to_string_pretty(&report)?))?,
            Form::Text => term::print(format!("{report}\n"))?,
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

    fn announce(&self, unhealthy: &[crate::UnhealthyWorker], style: Style) -> anyhow::Result<Status> {
        match self.form() {
            Form::Json | Form::Events => term::print(format!("{}\n", serde_json::to_string_pretty(unhealthy)?))?,
            Form::Text => term::print(detect::table(unhealthy, style, term::width()))?,
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
