//! What starts a job, and whether it should be up: launchd.plist(5) as a table.
//!
//! | the plist says | started by launchd | down, it is |
//! | --- | --- | --- |
//! | `KeepAlive` true, `OnDemand` false | at load, and after every end | meant to be up |
//! | `KeepAlive` {`SuccessfulExit` false} | at load, and after an error or a signal | meant to be up after those, else done |
//! | `KeepAlive` {`SuccessfulExit` true} | at load, and after exit status 0 | meant to be up after that, else failed |
//! | `KeepAlive` {`Crashed` true} | at load, and after a signal | meant to be up after that; else done, or failed |
//! | `KeepAlive` {`Crashed` false} | at load, and after any exit status | meant to be up after that, else failed |
//! | `KeepAlive` {`PathState`, `OtherJobEnabled`, `NetworkState`} | while that holds | waiting for the condition |
//! | the same with `AfterInitialDemand` | only once it was demanded | waiting until it has run |
//! | `Sockets`, `MachServices`, `LaunchEvents`, `WatchPaths`, `QueueDirectories`, `StartOnMount`, `StartInterval`, `StartCalendarInterval` | when that happens | waiting for the trigger |
//! | `RunAtLoad` true | at load | meant to be up if it never ran; else done, or failed |
//! | none of these | when it is demanded | done, or failed |
//!
//! The rows are by priority; the first five keys of a dictionary are combined, as launchd ORs them. Jobs that wait for
//! a condition or a trigger are started by launchd, and not healed.

use super::answers::End;

/// Keys of triggers.
pub(super) const TRIGGERS: [&str; 8] = [
    "Sockets",
    "MachServices",
    "LaunchEvents",
    "WatchPaths",
    "QueueDirectories",
    "StartOnMount",
    "StartInterval",
    "StartCalendarInterval",
];
/// Keys of the `KeepAlive` dictionary that are conditions.
const CONDITIONS: [&str; 3] = ["PathState", "OtherJobEnabled", "NetworkState"];

/// What starts a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Starts {
    /// It starts when it is loaded.
    pub at_load: bool,
    /// The ends after which launchd restarts it.
    pub again_after: Ends,
    /// Only after it was demanded once.
    pub after_demand: bool,
    /// The condition under which it is kept alive, by its key.
    pub condition: Option<&'static str>,
    /// Its trigger, by its key.
    pub trigger: Option<&'static str>,
}

/// Kinds of ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Ends {
    /// With status 0.
    pub success: bool,
    /// With another status.
    pub error: bool,
    /// By a signal.
    pub crash: bool,
}

impl Ends {
    pub const ALL: Self = Self { success: true, error: true, crash: true };

    fn or(self, other: Self) -> Self {
        Self {
            success: self.success || other.success,
            error: self.error || other.error,
            crash: self.crash || other.crash,
        }
    }

    fn include(self, end: &End) -> bool {
        match end {
            End::Code(0) => self.success,
            End::Code(_) => self.error,
            End::Signal(_) | End::Reason(_) => self.crash,
            // Every kind of end.
            End::Unknown => self == Self::ALL,
            End::Never => false,
        }
    }
}

/// What a job that does not run should be doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meant {
    /// It should be up, so it is unhealthy.
    Up,
    /// Nothing more, unless its last run failed.
    Down,
    /// It waits for this condition, which may not hold.
    Condition(&'static str),
    /// It waits for this trigger.
    Trigger(&'static str),
}

impl Starts {
    /// Reads the keys of a plist.
    pub fn of(plist: &plist::Dictionary) -> Self {
        let is_true = |key: &str| plist.get(key).and_then(plist::Value::as_boolean).unwrap_or(false);
        let mut starts = Self {
            at_load: is_true("RunAtLoad"),
            trigger: TRIGGERS.into_iter().find(|key| plist.get(key).is_some_and(|value| !is_empty(value))),
            ..Self::default()
        };
        let on_demand = plist.get("OnDemand").and_then(plist::Value::as_boolean);
        match plist.get("KeepAlive") {
            Some(plist::Value::Boolean(true)) => starts.again_after = Ends::ALL,
            Some(plist::Value::Dictionary(conditions)) => starts.read_conditions(conditions),
            // The older key, which means the opposite.
            None if on_demand == Some(false) => starts.again_after = Ends::ALL,
            // The manual has no other form: anything else keeps nothing alive.
            _ => {}
        }
        starts.at_load |= starts.again_after != Ends::default() && !starts.after_demand;
        starts
    }

    fn read_conditions(&mut self, conditions: &plist::Dictionary) {
        let says = |key: &str| conditions.get(key).and_then(plist::Value::as_boolean);
        let after_exit = match says("SuccessfulExit") {
            Some(true) => Ends { success: true, ..Ends::default() },
            Some(false) => Ends { error: true, crash: true, ..Ends::default() },
            None => Ends::default(),
        };
        let after_crash = match says("Crashed") {
            Some(true) => Ends { crash: true, ..Ends::default() },
            Some(false) => Ends { success: true, error: true, ..Ends::default() },
            None => Ends::default(),
        };
        self.again_after = after_exit.or(after_crash);
        self.after_demand = says("AfterInitialDemand") == Some(true);
        self.condition = CONDITIONS.into_iter().find(|key| conditions.contains_key(key));
    }

    /// Whether launchd starts it again after every end.
    pub fn is_kept_up(&self) -> bool {
        self.again_after == Ends::ALL
    }

    /// Whether anything but its load decides when it runs.
    pub fn waits(&self) -> bool {
        !self.is_kept_up() && (self.condition.is_some() || self.trigger.is_some() || self.after_demand)
    }

    /// What the job should be doing while it does not run, given the number of its runs and how the last one ended.
    pub fn meant(&self, end: &End, runs: u32) -> Meant {
        if self.after_demand && runs == 0 {
            return Meant::Condition("AfterInitialDemand");
        }
        if self.is_kept_up() || self.again_after.include(end) {
            return Meant::Up;
        }
        match (self.condition, self.trigger) {
            (Some(condition), _) => Meant::Condition(condition),
            (None, Some(trigger)) => Meant::Trigger(trigger),
            (None, None) if self.at_load && runs == 0 => Meant::Up,
            (None, None) => Meant::Down,
        }
    }
}

fn is_empty(value: &plist::Value) -> bool {
    match value {
        plist::Value::Array(values) => values.is_empty(),
        plist::Value::Dictionary(values) => values.is_empty(),
        plist::Value::Boolean(set) => !set,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(keys: &str) -> Starts {
        let text = format!("<plist version=\"1.0\"><dict>{keys}</dict></plist>");
        Starts::of(&plist::from_bytes(text.as_bytes()).unwrap())
    }

    fn keep_alive(keys: &str) -> String {
        format!("<key>KeepAlive</key><dict>{keys}</dict>")
    }

    /// The table of the module: what a plist says, and what the job is meant to be before its first run, after exit
    /// status 0, after another, and after a signal.
    #[test]
    fn each_row_of_the_table_holds() {
        use Meant::{Condition, Down, Trigger, Up};
        let at_load = "<key>RunAtLoad</key><true/>";
        let interval = "<key>StartInterval</key><integer>60</integer>";
        let rows = [
            ("<key>KeepAlive</key><true/>".to_owned(), [Up, Up, Up, Up]),
            ("<key>OnDemand</key><false/>".to_owned(), [Up, Up, Up, Up]),
            (format!("<key>KeepAlive</key><true/>{interval}"), [Up, Up, Up, Up]),
            (keep_alive("<key>SuccessfulExit</key><false/>"), [Up, Down, Up, Up]),
            (keep_alive("<key>SuccessfulExit</key><true/>"), [Up, Up, Down, Down]),
            (keep_alive("<key>Crashed</key><true/>"), [Up, Down, Down, Up]),
            (keep_alive("<key>Crashed</key><false/>"), [Up, Up, Up, Down]),
            (keep_alive("<key>SuccessfulExit</key><false/><key>Crashed</key><true/>"), [Up, Down, Up, Up]),
            (keep_alive("<key>SuccessfulExit</key><true/><key>Crashed</key><true/>"), [Up, Up, Down, Up]),
            (keep_alive("<key>PathState</key><dict><key>/x</key><true/></dict>"), [Condition("PathState"); 4]),
            (
                keep_alive("<key>OtherJobEnabled</key><dict><key>x</key><true/></dict>"),
                [Condition("OtherJobEnabled"); 4],
            ),
            (keep_alive("<key>NetworkState</key><true/>"), [Condition("NetworkState"); 4]),
            (
                keep_alive("<key>SuccessfulExit</key><false/><key>AfterInitialDemand</key><true/>"),
                [Condition("AfterInitialDemand"), Down, Up, Up],
            ),
            (
                keep_alive("<key>SuccessfulExit</key><false/><key>PathState</key><dict><key>/x</key><true/></dict>"),
                [Condition("PathState"), Condition("PathState"), Up, Up],
            ),
            (interval.to_owned(), [Trigger("StartInterval"); 4]),
            (format!("{at_load}{interval}"), [Trigger("StartInterval"); 4]),
            (
                "<key>StartCalendarInterval</key><dict><key>Hour</key><integer>3</integer></dict>".to_owned(),
                [Trigger("StartCalendarInterval"); 4],
            ),
            ("<key>WatchPaths</key><array><string>/x</string></array>".to_owned(), [Trigger("WatchPaths"); 4]),
            (
                "<key>QueueDirectories</key><array><string>/x</string></array>".to_owned(),
                [Trigger("QueueDirectories"); 4],
            ),
            ("<key>StartOnMount</key><true/>".to_owned(), [Trigger("StartOnMount"); 4]),
            ("<key>Sockets</key><dict><key>x</key><dict/></dict>".to_owned(), [Trigger("Sockets"); 4]),
            ("<key>MachServices</key><dict><key>x</key><true/></dict>".to_owned(), [Trigger("MachServices"); 4]),
            ("<key>LaunchEvents</key><dict><key>x</key><dict/></dict>".to_owned(), [Trigger("LaunchEvents"); 4]),
            (at_load.to_owned(), [Up, Down, Down, Down]),
            (format!("{at_load}<key>WatchPaths</key><array/><key>StartOnMount</key><false/>"), [Up, Down, Down, Down]),
            // The manual has no such form: launchd keeps nothing alive for it.
            (format!("{at_load}<key>KeepAlive</key><string>true</string>"), [Up, Down, Down, Down]),
            ("<key>KeepAlive</key><false/>".to_owned(), [Down; 4]),
            (String::new(), [Down; 4]),
        ];
        for (keys, meant) in rows {
            let starts = read(&keys);
            let ends = [(End::Never, 0), (End::Code(0), 1), (End::Code(1), 1), (End::Signal(9), 1)];
            assert_eq!(ends.map(|(end, runs)| starts.meant(&end, runs)), meant, "{keys}");
        }
    }

    #[test]
    fn an_end_that_cannot_be_read_counts_only_where_every_end_does() {
        assert_eq!(read("<key>KeepAlive</key><true/>").meant(&End::Unknown, 1), Meant::Up);
        assert_eq!(read(&keep_alive("<key>SuccessfulExit</key><false/>")).meant(&End::Unknown, 1), Meant::Down);
        assert_eq!(
            read(&keep_alive("<key>Crashed</key><true/>")).meant(&End::Reason("OS_REASON_DYLD".into()), 1),
            Meant::Up
        );
    }
}
