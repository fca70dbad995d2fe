//! Names and states of units, as a service manager reports them.
//!
//! The vocabulary is systemd's; launchd's is mapped to it. A value that this version does not know becomes `Unknown`,
//! and nothing is done about it.

mod inspection;
mod related;

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use inspection::{
    Deactivation, Depth, Detail, Inspection, Location, Restarts, Said, StopEvidence, Transition, UnitFile,
    has_run_since, is_another_definition,
};
pub use related::{Parent, StopOrder, StoppedGroup, TriggerUnit};

/// Maximum length of a unit name in systemd, in bytes (`UNIT_NAME_MAX` in its sources).
const MAX_NAME_BYTES: usize = 255;
const SUFFIX: &str = ".service";

/// The validated full name of a service unit, for example `lerd-queue-myapp.service`.
///
/// Cheap to clone: all clones share one string.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UnitName(Arc<str>);

impl TryFrom<String> for UnitName {
    type Error = InvalidUnitName;

    fn try_from(text: String) -> Result<Self, InvalidUnitName> {
        Self::parse(&text)
    }
}

impl From<UnitName> for String {
    fn from(name: UnitName) -> Self {
        name.short().to_owned()
    }
}

/// Why a text is not the name of a service unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUnitName {
    /// Nothing before the suffix.
    #[error("a unit name cannot be empty")]
    Empty,
    /// Longer than systemd accepts.
    #[error("a unit name has at most {MAX_NAME_BYTES} characters")]
    TooLong,
    /// A character outside systemd's set for unit names, see systemd.unit(5).
    #[error("a unit name cannot contain {0:?}")]
    Character(char),
    /// The suffix twice: without it the name would be that of another unit.
    #[error("a unit name ends with {SUFFIX} only once")]
    Doubled,
    /// A unit of another type, such as a timer or socket.
    #[error("only service units can be healed, not .{0} units")]
    NotAService(&'static str),
}

impl UnitName {
    /// Parses a unit name, with or without its `.service`.
    ///
    /// # Errors
    ///
    /// If the text cannot name a service unit by the rules of systemd.unit(5).
    pub fn parse(text: &str) -> Result<Self, InvalidUnitName> {
        const OTHER_TYPES: [&str; 10] =
            ["socket", "device", "mount", "automount", "swap", "target", "path", "timer", "slice", "scope"];
        let short = text.strip_suffix(SUFFIX).unwrap_or(text);
        if short.is_empty() || short.starts_with('@') {
            return Err(InvalidUnitName::Empty);
        }
        if short.ends_with(SUFFIX) {
            return Err(InvalidUnitName::Doubled);
        }
        if short.len() + SUFFIX.len() > MAX_NAME_BYTES {
            return Err(InvalidUnitName::TooLong);
        }
        if let Some(wrong) = short.chars().find(|c| !is_unit_character(*c)) {
            return Err(InvalidUnitName::Character(wrong));
        }
        if let Some((_, other)) = short.rsplit_once('.')
            && let Some(kind) = OTHER_TYPES.into_iter().find(|kind| *kind == other)
        {
            return Err(InvalidUnitName::NotAService(kind));
        }
        Ok(Self(if text.len() > short.len() { text.into() } else { format!("{short}{SUFFIX}").into() }))
    }

    /// The full name, `.service` included.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name without `.service`, as in the JSON interface.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.strip_suffix(SUFFIX).unwrap_or(&self.0)
    }

    /// Whether it is a template, which itself is no unit: `celery@`.
    #[must_use]
    pub fn is_template(&self) -> bool {
        self.short().ends_with('@')
    }
}

/// Whether systemd allows the character in a unit name (`VALID_CHARS` and `@`, systemd.unit(5)).
#[must_use]
pub fn is_unit_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '_' | '.' | '\\' | '@')
}

/// Compares with a name without `.service`, as in the JSON interface.
impl PartialEq<str> for UnitName {
    fn eq(&self, short: &str) -> bool {
        self.short() == short
    }
}

impl PartialEq<&str> for UnitName {
    fn eq(&self, short: &&str) -> bool {
        self == *short
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

impl fmt::Debug for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for UnitName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// An enum of a service manager's words for one property, with `Unknown` for all others.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
            /// A word that this version does not know; nothing is done about it.
            #[default]
            Unknown,
        }

        impl $name {
            /// Every known word.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The manager's word.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                    Self::Unknown => "unknown",
                }
            }
        }

        impl From<&str> for $name {
            fn from(word: &str) -> Self {
                match word {
                    $($word => Self::$variant,)*
                    _ => Self::Unknown,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// `ActiveState` of a unit: its place in the life cycle common to all units.
    ActiveState {
        /// Up.
        Active = "active",
        /// Up, and rereading its configuration.
        Reloading = "reloading",
        /// Up, and being refreshed (systemd 257 and later).
        Refreshing = "refreshing",
        /// Down, and nothing went wrong.
        Inactive = "inactive",
        /// Down after something went wrong.
        Failed = "failed",
        /// On its way up; also waiting for an automatic restart.
        Activating = "activating",
        /// On its way down.
        Deactivating = "deactivating",
        /// Being maintained, down.
        Maintenance = "maintenance",
    }
}

impl ActiveState {
    /// Whether the unit does its work.
    #[must_use]
    pub fn is_up(self) -> bool {
        matches!(self, Self::Active | Self::Reloading | Self::Refreshing)
    }

    /// Whether the unit is down for good, whether or not it failed.
    #[must_use]
    pub fn is_down(self) -> bool {
        matches!(self, Self::Inactive | Self::Failed)
    }
}

words! {
    /// `LoadState`: whether the unit's file could be read.
    LoadState {
        /// Read without error.
        Loaded = "loaded",
        /// There is no such file.
        NotFound = "not-found",
        /// The file has a setting that systemd rejects.
        BadSetting = "bad-setting",
        /// The file could not be read.
        Error = "error",
        /// Linked to /dev/null: never to be started.
        Masked = "masked",
        /// An alias of a unit.
        Merged = "merged",
        /// Known by name only.
        Stub = "stub",
    }
}

impl LoadState {
    /// Whether there is no unit file that the manager can use.
    #[must_use]
    pub fn is_unusable(self) -> bool {
        matches!(self, Self::NotFound | Self::BadSetting | Self::Error)
    }
}

words! {
    /// `Restart=` of a service, systemd.service(5).
    RestartPolicy {
        /// Never restarted by the manager.
        No = "no",
        /// Only after a clean end.
        OnSuccess = "on-success",
        /// After every unclean end.
        OnFailure = "on-failure",
        /// After every unclean end but a non-zero exit status.
        OnAbnormal = "on-abnormal",
        /// Only after an uncaught signal or a core dump.
        OnAbort = "on-abort",
        /// Only after the watchdog ran out.
        OnWatchdog = "on-watchdog",
        /// Always.
        Always = "always",
    }
}

words! {
    /// `Result` of a service: how its last run ended.
    ServiceResult {
        /// Cleanly.
        Success = "success",
        /// With a non-zero exit status.
        ExitCode = "exit-code",
        /// By a signal.
        Signal = "signal",
        /// By a signal, leaving a core dump.
        CoreDump = "core-dump",
        /// An operation took too long.
        Timeout = "timeout",
        /// It did not feed its watchdog.
        Watchdog = "watchdog",
        /// Started too often in too short a time.
        StartLimitHit = "start-limit-hit",
        /// Killed for lack of memory.
        OomKill = "oom-kill",
        /// It broke the protocol of its `Type=`.
        Protocol = "protocol",
        /// Something it needs could not be had.
        Resources = "resources",
        /// An `ExecCondition=` said no.
        ExecCondition = "exec-condition",
    }
}

/// A unit's entry in a list, or a signal about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitStatus {
    /// The unit.
    pub name: UnitName,
    /// Whether its file could be read. Signals do not include it; `None` keeps the known value.
    pub load: Option<LoadState>,
    /// Where it is in its life cycle.
    pub active: ActiveState,
    /// Whether a job (start, stop, restart) is queued or running for it.
    pub has_job: bool,
    /// Whether it died and waits for an automatic restart.
    pub auto_restart: bool,
}

impl UnitStatus {
    /// The status of a unit that is not loaded: it is down.
    #[must_use]
    pub fn gone(name: UnitName) -> Self {
        Self { name, load: None, active: ActiveState::Inactive, has_job: false, auto_restart: false }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_unit_is_named_with_or_without_its_suffix() {
        let short = UnitName::parse("lerd-queue-myapp").unwrap();
        let full = UnitName::parse("lerd-queue-myapp.service").unwrap();
        assert_eq!(short, full);
        assert_eq!(full.as_str(), "lerd-queue-myapp.service");
        assert_eq!(full.to_string(), "lerd-queue-myapp");
        assert!(full == "lerd-queue-myapp" && full != "lerd-queue-shop");
    }

    #[test]
    fn names_that_systemd_refuses_are_refused() {
        use InvalidUnitName::{Character, Doubled, Empty, NotAService, TooLong};
        for (text, why) in [
            ("", Empty),
            (".service", Empty),
            ("@.service", Empty),
            ("../../etc/passwd", Character('/')),
            ("lerd queue", Character(' ')),
            ("lerd\nqueue", Character('\n')),
            ("lerd-queue-*", Character('*')),
            ("grün", Character('ü')),
            ("backup.timer", NotAService("timer")),
            ("backup.service.service", Doubled),
            (&"x".repeat(248), TooLong),
        ] {
            assert_eq!(UnitName::parse(text), Err(why), "{text:?}");
        }
        assert!(UnitName::parse(&"x".repeat(247)).is_ok());
    }

    proptest! {
        #[test]
        fn parsing_any_text_never_panics_and_is_idempotent(text in ".{0,300}") {
            if let Ok(name) = UnitName::parse(&text) {
                prop_assert_eq!(UnitName::parse(name.as_str()), Ok(name.clone()));
                prop_assert!(name.as_str().len() <= MAX_NAME_BYTES);
            }
        }

        #[test]
        fn a_word_of_the_future_is_unknown(word in "[a-z-]{1,20}") {
            let state = ActiveState::from(word.as_str());
            prop_assert!(state == ActiveState::Unknown || state.as_str() == word);
        }
    }
}
