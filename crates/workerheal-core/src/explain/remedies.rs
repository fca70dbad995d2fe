//! What you can do about a worker, with commands to paste.
//!
//! Whether `workerheal heal` would help is decided by the rules themselves, by judging the worker as that command does.

use super::commands::quoted;
use super::rest::Rest;
use super::wording::Wording;
use super::{Commands, Objection};
use crate::diagnosis::{PERMIT, Refusal, Trigger, Unrecoverable};
use crate::pauses::{Pause, Target};
use crate::rules::{Case, History, Rule, Verdict};
use crate::text;
use crate::units::{ActiveState, LoadState, Parent, TriggerUnit};

impl Wording<'_> {
    /// Steps that remove all objections, with alternatives where there are any.
    pub fn remedies(&self, objections: &[Objection]) -> Vec<String> {
        let by_hand = self.by_hand();
        let state = self.case.state();
        let is_overruled = |rule| state.is_none_or(|state| by_hand.objection(rule, state).is_none());
        let (overruled, stubborn): (Vec<&Objection>, Vec<&Objection>) = objections
            .iter()
            .filter(|(rule, _)| !super::is_an_echo(*rule, objections))
            .partition(|(rule, _)| is_overruled(*rule));
        // These objections disappear with the others.
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

    /// What you can do with a healthy worker.
    pub fn ways_out_of_rest(&self, rest: &Rest) -> Vec<String> {
        let (unit, commands) = (self.unit(), self.commands());
        let mut steps = Vec::new();
        if let Some(refusal) = self.case.intent().filter(|_| rest.is_down() || matches!(rest, Rest::Up)) {
            // Lerd stops the workers of a paused site, and starts them when it is resumed.
            return self.remedy(&Verdict::Held(refusal));
        }
        match rest {
            Rest::Restarting => {
                let restart = commands.restart(&unit).filter(|_| self.case.seen.restarts_in().is_some());
                steps.extend(restart.map(|restart| vec![format!("restart it now: {restart}")]));
            }
            Rest::Up | Rest::Starting | Rest::Stopping => {}
            Rest::Queued => steps.push(self.remedy(&Verdict::Held(Refusal::JobPending))),
            Rest::Masked => {
                steps.push(vec![format!("unmask it: {}", commands.unmask(&unit))]);
                steps.push(vec![format!("start it: {}", commands.start(&unit))]);
            }
            Rest::NoFile => steps.push(self.remedy(&Verdict::Unrecoverable(Unrecoverable::NotFound))),
            Rest::NotEnabled => match commands.enable_and_start(&unit) {
                // launchd starts nothing that is disabled.
                Some(both) => steps.extend(both.into_iter().map(|step| vec![step])),
                None if self.by_hand().state().is_some() => {
                    steps.push(vec![format!("start it: {}", self.heal_command())]);
                }
                None => steps.push(vec![format!("start it: {}", commands.start(&unit))]),
            },
            Rest::NotLoaded(_) | Rest::Unclear(_) => {
                steps.push(vec![format!("see what is the matter: {}", commands.status(&unit))]);
            }
            Rest::OnDemand if let Some(trigger) = self.case.idle_trigger() => {
                steps.push(vec![self.start_the_trigger(trigger), format!("start it: {}", commands.start(&unit))]);
            }
            Rest::WithTargets => {
                let target = "start the unit that [Install] in its unit file names, such as a target".to_owned();
                steps.push(vec![target, format!("start it alone: {}", self.heal_command())]);
            }
            Rest::OnDemand | Rest::Once | Rest::PerhapsStopped(_) | Rest::FilesUnknown | Rest::LeftTo(_) => {
                steps.push(vec![format!("start it: {}", commands.start(&unit))]);
            }
        }
        in_order(steps)
    }

    /// The command that shows its log.
    pub fn log(&self) -> String {
        self.commands().log(&self.unit())
    }

    /// The worker as `workerheal heal` sees it, without earlier attempts.
    fn by_hand(&self) -> Case<'_> {
        let history = History { trigger: Trigger::Request, refuses: self.case.history.refuses, ..History::default() };
        Case { history, ..*self.case }
    }

    fn commands(&self) -> &Commands {
        &self.references.commands
    }

    /// The unit's name, quoted for a shell.
    fn unit(&self) -> String {
        quoted(self.case.unit.short())
    }

    fn heal_command(&self) -> String {
        format!("{} heal {}", self.references.commands.workerheal, quoted(&self.name()))
    }

    fn heal_by_hand(&self) -> String {
        if self.by_hand().state().is_some() {
            format!("heal it by hand: {}", self.heal_command())
        } else {
            format!("start it: {}", self.commands().start(&self.unit()))
        }
    }

    fn start_the_trigger(&self, trigger: &TriggerUnit) -> String {
        format!("start what starts it: {}", self.commands().start(&quoted(&trigger.name)))
    }

    /// Steps to start a worker now.
    fn see_to_the_daemon(&self) -> Vec<String> {
        let status = self.commands().status_of_the_daemon();
        let mut ways = vec![format!("see whether the daemon is running: {status}"), self.heal_by_hand()];
        ways.extend(self.commands().demand().map(|demand| format!("have the manager start it: {demand}")));
        ways
    }

    /// Removes an objection that `workerheal heal` overrules.
    fn choice(&self, objection: &Verdict) -> Vec<String> {
        let (unit, commands) = (self.unit(), self.commands());
        let by_hand = self.heal_by_hand();
        match objection {
            Verdict::GivenUp if self.reason_of_giving_up() == Unrecoverable::NotByHand.to_string() => {
                self.remedy(&Verdict::Unrecoverable(Unrecoverable::NotByHand))
            }
            Verdict::GivenUp | Verdict::Exhausted(_) => {
                let registry = self.references.sites.rsplit('/').next().unwrap_or_default();
                let site = match self.case.worker.site.as_str() {
                    "" => String::new(),
                    _ => format!(", or its site's entry in {registry}"),
                };
                vec![
                    format!("fix the cause, then {by_hand}"),
                    format!("change its unit's file{site}: it is then tried again"),
                ]
            }
            Verdict::Wait(_) => vec![format!("try it now, without waiting: {}", self.heal_command())],
            Verdict::Held(Refusal::Disabled) => {
                vec![by_hand, format!("enable it: {}", commands.enable(&unit))]
            }
            Verdict::Held(Refusal::StateNotHealed(state)) => {
                vec![by_hand, format!("add {state} to heal.states in {}", self.references.config)]
            }
            Verdict::Held(Refusal::Stuck(..) | Refusal::LeftToTrigger(_) | Refusal::OneshotEnded)
            | Verdict::Unrecoverable(_) => self.remedy(objection),
            _ => vec![by_hand],
        }
    }

    /// For a worker that waits for units that it needs.
    fn bring_back_parents(&self) -> Vec<String> {
        let commands = self.commands();
        let unusable = self.down_parents().filter(|parent| parent.cannot_be_started());
        let make_usable = |parent: &Parent| {
            let name = &parent.name;
            match parent.load {
                LoadState::Masked => format!("unmask {name}: {}", commands.unmask(&quoted(name))),
                LoadState::NotFound => commands.reload_after(&format!("write the file of {name} again")),
                _ => commands.reload_after(&format!("correct the file of {name}")),
            }
        };
        let mut ways: Vec<String> = unusable.map(make_usable).collect();
        let is_coming = self.down_parents().all(|it| it.active == ActiveState::Activating && !it.stopping);
        let down = self.down_parents().map(|parent| quoted(&parent.name)).collect::<Vec<_>>().join(" ");
        ways.push(match (is_coming, ways.is_empty()) {
            (true, _) => format!("wait until what it needs is up; to watch it: {}", commands.status(&down)),
            (false, true) => format!("start what it needs: {}", commands.start(&down)),
            (false, false) => format!("and start what it needs: {}", commands.start(&down)),
        });
        ways
    }

    /// Removes an objection that `workerheal heal` does not overrule, or any other if needed.
    pub(super) fn remedy(&self, objection: &Verdict) -> Vec<String> {
        let (unit, commands) = (self.unit(), self.commands());
        match objection {
            Verdict::Unrecoverable(Unrecoverable::NotFound) => vec![commands.write_the_file_again()],
            Verdict::Unrecoverable(Unrecoverable::BadSetting | Unrecoverable::Unreadable) => {
                commands.mend_the_file(&unit).into()
            }
            Verdict::Unrecoverable(Unrecoverable::RestartPrevented(_)) => {
                vec![format!("fix the cause, then {}", self.heal_by_hand())]
            }
            Verdict::Unrecoverable(Unrecoverable::NotByHand) => commands.start_by_others(&unit),
            Verdict::Held(refusal) => match refusal {
                Refusal::ConflictUp(other) => vec![format!("stop {other}: {}", commands.stop(&quoted(other)))],
                Refusal::LeftToTrigger(trigger) => {
                    let wait = match trigger.why_idle() {
                        Some(_) => self.start_the_trigger(trigger),
                        None => format!(
                            "wait for {}; to see when: {}",
                            trigger.name,
                            commands.status_of_the_trigger(&quoted(&trigger.name))
                        ),
                    };
                    vec![self.heal_by_hand(), wait]
                }
                Refusal::OneshotEnded => {
                    vec![self.heal_by_hand(), commands.restart_on_failure(&unit)]
                }
                Refusal::Stuck(..) => vec![
                    format!("see what it waits for: {}", commands.status(&unit)),
                    format!("end it: {}", commands.kill(&unit)),
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
                Refusal::Masked => vec![format!("unmask it: {}", commands.unmask(&unit))],
                Refusal::JobPending => {
                    vec![format!("wait until that job has ended; to watch it: {}", commands.jobs(&unit))]
                }
                Refusal::ParentDown(_) => self.bring_back_parents(),
                Refusal::CrashLooping(_) => {
                    vec![
                        "fix the cause of the crashes".to_owned(),
                        format!("stop it until then: {}", commands.stop(&unit)),
                    ]
                }
                Refusal::DirectoryGone(path) => {
                    let mut ways = vec![
                        format!("bring back {}", text::path(path)),
                        format!("forget the worker: {}", commands.disable(&unit)),
                    ];
                    if self.case.seen.active == ActiveState::Failed {
                        ways.extend(commands.reset_failed(&unit).map(|reset| format!("and its failure: {reset}")));
                    }
                    ways
                }
                Refusal::Forbidden(_) if commands.are_of_the_system() => {
                    vec![format!("permit it: {PERMIT}")]
                }
                Refusal::Forbidden(_) => vec![format!("see who may start it: {}", commands.status(&unit))],
                Refusal::Declined(_) | Refusal::Unreadable(_) => {
                    vec![format!("see what is the matter: {}", commands.status(&unit))]
                }
                Refusal::Disabled | Refusal::StopUnknown(_) | Refusal::StateNotHealed(_) => self.choice(objection),
            },
            Verdict::Stopped | Verdict::GivenUp | Verdict::Exhausted(_) | Verdict::Wait(_) => self.choice(objection),
            Verdict::Well | Verdict::Start | Verdict::Restart => Vec::new(),
        }
    }

    /// All pauses that apply to the worker, including narrower ones.
    fn pauses(&self) -> impl Iterator<Item = Pause> {
        let Case { unit, worker, context, .. } = *self.case;
        context.pauses.iter().filter(|pause| pause.target.includes(unit, worker))
    }

    /// The command that ends these pauses.
    fn resume(&self, pauses: &[Pause]) -> String {
        let mut command = format!("resume it: {} resume", self.references.commands.workerheal);
        let all = pauses.iter().any(|pause| pause.target == Target::Everything);
        for Pause { target, .. } in pauses.iter().filter(|_| !all) {
            match target {
                // Resuming everything ends them all.
                Target::Everything => {}
                Target::Site(site) => command.push_str(&format!(" {}", quoted(site))),
                Target::Unit(_) => command.push_str(&format!(" {}", quoted(&self.name()))),
            }
        }
        command
    }
}

/// Steps followed by their alternatives. A step that begins with `and` is no alternative, but a continuation.
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
