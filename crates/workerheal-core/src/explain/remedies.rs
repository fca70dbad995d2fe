//! What would change the answer: what a person can do, in commands to be pasted.
//!
//! Whether a heal by hand would help is asked of the rules themselves, by judging the worker as
//! `workerheal heal` does.

use super::Objection;
use super::rest::Rest;
use super::words::Words;
use crate::diagnosis::{Asked, Hopeless, Refusal};
use crate::pauses::{Pause, Target};
use crate::rules::{Case, History, Rule, Verdict};
use crate::text;
use crate::units::ActiveState;

impl Words<'_> {
    /// What takes all the objections away, as steps in order, with a choice where there is one.
    pub fn remedies(&self, objections: &[Objection]) -> Vec<String> {
        let by_hand = self.by_hand();
        let state = self.case.state();
        let is_overruled = |rule| state.is_none_or(|state| by_hand.objection(rule, state).is_none());
        let (overruled, stubborn): (Vec<&Objection>, Vec<&Objection>) = objections
            .iter()
            .filter(|(rule, _)| !super::is_an_echo(*rule, objections))
            .partition(|(rule, _)| is_overruled(*rule));
        // These go away by themselves once the others have.
        let passes = |rule: &Rule| *rule == Rule::Backoff || (*rule == Rule::GivenUp && self.is_said_by_the_file());
        let lasting: Vec<&Objection> = overruled.iter().copied().filter(|(rule, _)| !passes(rule)).collect();

        let mut steps: Vec<Vec<String>> = stubborn.iter().map(|(_, objection)| self.remedy(objection)).collect();
        match (stubborn.as_slice(), overruled.as_slice(), lasting.as_slice()) {
            ([], [], _) => steps.push(self.see_to_the_daemon()),
            ([], [(_, only)], _) | ([], _, [(_, only)]) => steps.push(self.choice(only)),
            (_, _, []) => {}
            _ => steps.push(vec![self.heal_by_hand()]),
        }
        in_order(steps)
    }

    /// What a person can do with a worker that is not ill.
    pub fn ways_out_of_rest(&self, rest: &Rest) -> Vec<String> {
        let (unit, systemctl) = (self.unit(), self.sources.commands.systemctl);
        let mut steps = Vec::new();
        if let Some(refusal) = self.case.intent().filter(|_| rest.is_down()) {
            // Lerd stops the workers of what it pauses, and starts them when that is over.
            return self.remedy(&Verdict::Held(refusal));
        }
        match rest {
            Rest::Up | Rest::Restarting | Rest::Starting | Rest::Stopping => {}
            Rest::Masked => {
                steps.push(vec![format!("unmask it: {systemctl} unmask {unit}")]);
                steps.push(vec![format!("start it: {systemctl} start {unit}")]);
            }
            Rest::NoFile => steps.push(self.remedy(&Verdict::Hopeless(Hopeless::NotFound))),
            Rest::NotEnabled => steps.push(vec![format!("enable and start it: {systemctl} enable --now {unit}")]),
            Rest::NotLoaded(_) | Rest::Unclear(_) => {
                steps.push(vec![format!("see what is the matter: {systemctl} status {unit}")]);
            }
            Rest::OnDemand | Rest::Once | Rest::PerhapsStopped(_) | Rest::FilesUnknown => {
                steps.push(vec![format!("start it: {systemctl} start {unit}")]);
            }
        }
        in_order(steps)
    }

    /// The command that shows its log.
    pub fn log(&self) -> String {
        format!("{} -u {}", self.sources.commands.journalctl, self.unit())
    }

    /// The worker as `workerheal heal` sees it, which knows nothing of earlier attempts.
    fn by_hand(&self) -> Case<'_> {
        let history = History { asked: Asked::ByPerson, refuses: self.case.history.refuses, ..History::default() };
        Case { history, ..*self.case }
    }

    /// The unit's name, fit to be pasted into a shell.
    fn unit(&self) -> String {
        quoted(self.case.unit.short())
    }

    fn heal_command(&self) -> String {
        format!("{} heal {}", self.sources.commands.workerheal, quoted(&self.name()))
    }

    fn heal_by_hand(&self) -> String {
        if self.by_hand().state().is_some() {
            format!("heal it by hand: {}", self.heal_command())
        } else {
            format!("start it: {} start {}", self.sources.commands.systemctl, self.unit())
        }
    }

    /// For a worker that is to be started now.
    fn see_to_the_daemon(&self) -> Vec<String> {
        let systemctl = self.sources.commands.systemctl;
        vec![format!("see whether the daemon is running: {systemctl} status workerheal"), self.heal_by_hand()]
    }

    /// What takes away an objection that a heal by hand would overrule.
    fn choice(&self, objection: &Verdict) -> Vec<String> {
        let (unit, systemctl) = (self.unit(), self.sources.commands.systemctl);
        let by_hand = self.heal_by_hand();
        match objection {
            Verdict::GivenUp | Verdict::Exhausted(_) => {
                let registry = self.sources.sites.rsplit('/').next().unwrap_or_default();
                let site = match self.case.worker.site.as_str() {
                    "" => String::new(),
                    _ => format!(", or its site's entry in {registry}"),
                };
                vec![
                    format!("mend what makes it fail, then {by_hand}"),
                    format!("change its unit's file{site}: it is then tried anew"),
                ]
            }
            Verdict::Wait(_) => vec![format!("try it now, without waiting: {}", self.heal_command())],
            Verdict::Held(Refusal::Disabled) => vec![by_hand, format!("enable it: {systemctl} enable {unit}")],
            Verdict::Held(Refusal::StateNotHealed(state)) => {
                vec![by_hand, format!("add {state} to heal.states in {}", self.sources.config)]
            }
            _ => vec![by_hand],
        }
    }

    /// What takes an objection away that no heal by hand overrules; or any other, if need be.
    fn remedy(&self, objection: &Verdict) -> Vec<String> {
        let (unit, systemctl) = (self.unit(), self.sources.commands.systemctl);
        match objection {
            Verdict::Hopeless(Hopeless::NotFound) => {
                vec![format!("write its unit's file again, then: {systemctl} daemon-reload")]
            }
            Verdict::Hopeless(Hopeless::BadSetting | Hopeless::Unreadable) => vec![
                format!("see what is wrong with its unit's file: {systemctl} status {unit}"),
                format!("and mend it, then: {systemctl} daemon-reload"),
            ],
            Verdict::Hopeless(Hopeless::RestartPrevented(_)) => {
                vec![format!("fix the cause, then {}", self.heal_by_hand())]
            }
            Verdict::Hopeless(Hopeless::NotByHand(_)) => vec![
                format!("start what brings it up: {systemctl} list-dependencies --reverse {unit}"),
                format!("remove RefuseManualStart= from its unit: {systemctl} edit {unit}"),
            ],
            Verdict::Held(refusal) => match refusal {
                Refusal::ConflictUp(other) => vec![format!("stop {other}: {systemctl} stop {}", quoted(other))],
                Refusal::LeftToTrigger(trigger) => {
                    vec![
                        self.heal_by_hand(),
                        format!("wait for {trigger}; to see when: {systemctl} status {}", quoted(trigger)),
                    ]
                }
                Refusal::OneshotEnded => {
                    vec![self.heal_by_hand(), format!("add Restart=on-failure to its unit: {systemctl} edit {unit}")]
                }
                Refusal::Stuck(..) => vec![
                    format!("see what it waits for: {systemctl} status {unit}"),
                    format!("end it: {systemctl} kill --signal=KILL {unit}"),
                ],
                Refusal::StopMarker => vec!["start Lerd again, which removes that file".to_owned()],
                Refusal::Paused(_) => {
                    let pauses: Vec<Pause> = self.pauses().collect();
                    let mut ways = vec![self.resume(&pauses)];
                    if pauses.iter().all(|pause| pause.until.is_some()) {
                        ways.push("wait until the pause is over".to_owned());
                    }
                    ways
                }
                Refusal::SitePaused(site) => vec![format!("resume the site {site} in Lerd")],
                Refusal::WorkerPaused(worker) => {
                    vec![format!("start the worker {} of {} in Lerd", worker.name, worker.site)]
                }
                Refusal::IdleSuspended(worker) => {
                    vec![format!("open the site {} in a browser, which wakes its workers", worker.site)]
                }
                Refusal::Masked => vec![format!("unmask it: {systemctl} unmask {unit}")],
                Refusal::JobPending => {
                    vec![format!("wait until that job has ended; to watch it: {systemctl} list-jobs")]
                }
                Refusal::ParentDown(_) => {
                    let down: Vec<String> = self.down_parents().map(|parent| quoted(&parent.name)).collect();
                    let is_coming = self.down_parents().all(|it| it.active == ActiveState::Activating && !it.stopping);
                    let (way, verb) = if is_coming {
                        ("wait until what it needs is up; to watch it", "status")
                    } else {
                        ("start what it needs", "start")
                    };
                    vec![format!("{way}: {systemctl} {verb} {}", down.join(" "))]
                }
                Refusal::CrashLooping(_) => {
                    vec!["mend what makes it crash".to_owned(), format!("stop it until then: {systemctl} stop {unit}")]
                }
                Refusal::DirectoryGone(path) => {
                    let mut ways = vec![
                        format!("bring back {}", text::path(path)),
                        format!("forget the worker: {systemctl} disable {unit}"),
                    ];
                    if self.case.seen.active == ActiveState::Failed {
                        ways.push(format!("and its failure: {systemctl} reset-failed {unit}"));
                    }
                    ways
                }
                Refusal::Declined(_) | Refusal::Unreadable(_) => {
                    vec![format!("see what is the matter: {systemctl} status {unit}")]
                }
                Refusal::Disabled | Refusal::StopUnknown(_) | Refusal::StateNotHealed(_) => self.choice(objection),
            },
            Verdict::Stopped | Verdict::GivenUp | Verdict::Exhausted(_) | Verdict::Wait(_) => self.choice(objection),
            Verdict::Well | Verdict::Start | Verdict::Restart => Vec::new(),
        }
    }

    /// Every pause that holds the worker back, the narrower ones too.
    fn pauses(&self) -> impl Iterator<Item = Pause> {
        let Case { unit, worker, orders, .. } = *self.case;
        orders.pauses.iter().filter(|pause| pause.target.includes(unit, worker))
    }

    /// The command that ends these pauses.
    fn resume(&self, pauses: &[Pause]) -> String {
        let mut command = format!("resume it: {} resume", self.sources.commands.workerheal);
        let all = pauses.iter().any(|pause| pause.target == Target::Everything);
        for Pause { target, .. } in pauses.iter().filter(|_| !all) {
            match target {
                // To resume everything ends them all.
                Target::Everything => {}
                Target::Site(site) => command.push_str(&format!(" {}", quoted(site))),
                Target::Unit(unit) => command.push_str(&format!(" {}", quoted(unit.short()))),
            }
        }
        command
    }
}

/// Steps, and the choices of each one after the other. What begins with `and` is no choice, but goes on.
fn in_order(steps: Vec<Vec<String>>) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for step in steps {
        let then = if lines.is_empty() { "" } else { "then " };
        for (at, way) in step.into_iter().enumerate() {
            let word = match at {
                0 => then,
                _ if way.starts_with("and ") => "",
                _ => "or ",
            };
            lines.push(format!("{word}{way}"));
        }
    }
    lines
}

/// A name fit to be pasted into a shell: names of units may have backslashes.
fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '@' | '/');
    if name.chars().all(plain) { name.to_owned() } else { format!("'{}'", name.replace('\'', r"'\''")) }
}
