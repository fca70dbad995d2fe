//! What a configuration may say, and how its errors are reported.

use std::collections::BTreeMap;

use super::*;
use crate::core::policy::DefinedProbes;
use crate::core::probe::Probe;
use proptest::prelude::*;

const DOCUMENTED: &str = include_str!("../../../config/workerheal.yaml");
/// The example of the interface's description.
const DEFAULTS: &str = r#"
refresh: 3s
unit_prefix: lerd-
ignore_workers: [fp, custom, cfpm]
also_watch: []                # globs of further units, e.g. "celery@*.service"; they have no site
heal:
  states: [failed, start-limit-hit]
  backoff: {initial: 1s, factor: 2, max: 5m, jitter: 0.1}   # the first attempt is made at once
  stable_after: 10s           # a worker counts as healed once it has stayed up this long
  reset_after: 10m            # an uptime this long forgets earlier attempts
  give_up_after: 10           # attempts; 0 never gives up
  timeout: 90s                # for one start job
  max_concurrent: 8
probes: {}                    # worker name: {tcp: "127.0.0.1:6001"} or {url_file: public/hot}
on_event: []                  # a command to run on gave-up and healed, event as JSON on its standard input
metrics: {listen: null}       # e.g. 127.0.0.1:9477 for Prometheus
"#;

fn parse(text: &str) -> Result<Config, ParseError> {
    Config::parse(text.as_bytes())
}

fn error(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

/// The documented configuration with all settings in force. There, explanations are comments
/// with one blank, and a setting that is left at its default has no blank or an indentation.
fn uncommented() -> Vec<String> {
    let setting = |line: &str| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase()) || rest.starts_with("  ") => {
            Some(rest.to_owned())
        }
        _ => None,
    };
    DOCUMENTED.lines().filter_map(setting).collect()
}

#[test]
fn probes_and_a_command_are_read() {
    let config = parse(
        "probes: {reverb: {tcp: '127.0.0.1:6001'}, vite: {url_file: public/hot}}\non_event: [/bin/alert, --loud]\n",
    );
    let config = config.unwrap();
    assert_eq!(config.policy.probes["reverb"], Probe::Tcp("127.0.0.1:6001".into()));
    assert_eq!(config.policy.probes["vite"], Probe::UrlFile("public/hot".into()));
    assert_eq!(config.on_event, ["/bin/alert", "--loud"]);
    let config = parse("probes: {app-api.service: {tcp: 'a:1'}, bot.service: off}").unwrap();
    assert_eq!(config.policy.workers_in_probes().collect::<Vec<_>>(), ["app-api", "bot"]);
    assert_eq!(config.policy.probes["app-api"], Probe::Tcp("a:1".into()));
    let off = |text: &str| parse(text).unwrap().policy.defined_probes;
    assert_eq!(off("probes: off"), DefinedProbes::Off);
    assert_eq!(off("probes: false"), DefinedProbes::Off);
    assert_eq!(off("probes: {vite: off, x: {tcp: 'a:1'}}"), DefinedProbes::AllBut(["vite".to_owned()].into()));
    for bad in [
        "probes: on",
        "probes: {vite: on}",
        "probes: {vite: {tpc: 'a:1'}}",
        "probes: [vite]",
        "on_event: /bin/alert",
        "probes: {x: {tcp: 'a:0'}}",
    ] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn nothing_and_the_documented_defaults_are_the_defaults() {
    for text in ["", "# only comments\n", "{}", "null", "heal:\n", "heal: {backoff: {}}", DEFAULTS, DOCUMENTED] {
        assert_eq!(parse(text), Ok(Config::default()), "{text}");
    }
}

#[test]
fn every_documented_setting_shows_its_default() {
    let lines = uncommented();
    assert_eq!(parse(&lines.join("\n")), Ok(Config::default()), "{lines:#?}");
    let key = |line: &str| line.split_once(':').map(|(key, _)| key.trim_end().to_owned());
    let keys = |text: &str| text.lines().filter_map(|line| key(line).filter(|key| !key.is_empty())).collect::<Vec<_>>();
    let documented: Vec<String> = lines.iter().filter_map(|line| key(line)).collect();
    for key in keys(DEFAULTS) {
        assert!(documented.contains(&key), "{key} is not documented");
    }
    // And each key alone, as in a first configuration.
    for line in &lines {
        let text = if line.starts_with("    ") {
            format!("heal:\n  backoff:\n{line}\n")
        } else if line.starts_with(' ') {
            format!("heal:\n{line}\n")
        } else {
            format!("{line}\n")
        };
        assert_eq!(parse(&text), Ok(Config::default()), "{text}");
    }
}

#[test]
fn unquoted_values_are_not_reinterpreted() {
    let config = parse(
        "refresh: 500ms\nunit_prefix: app-\nignore_workers:\nalso_watch: ['celery@*.service']\n\
             heal: {states: [failed, failed], backoff: {initial: 2s, max: 2s, factor: 1.5}, stable_after: 0s, \
             reset_after: 1h, give_up_after: 0, timeout: 1m 30s, max_concurrent: 1}\n",
    )
    .unwrap();
    assert_eq!(config.refresh, Duration::from_millis(500));
    assert_eq!(config.selector, Selector::new("app-", [], &["celery@*.service".to_owned()]).unwrap());
    let expected = Policy {
        states: vec![State::Failed],
        backoff: Backoff::new(Duration::from_secs(2), 1.5, Duration::from_secs(2), 0.1).unwrap(),
        stable_after: Duration::ZERO,
        reset_after: Duration::from_secs(3600),
        give_up_after: None,
        timeout: Duration::from_secs(90),
        max_concurrent: 1,
        probes: BTreeMap::new(),
        defined_probes: DefinedProbes::default(),
    };
    assert_eq!(config.policy, expected);
}

#[test]
fn invalid_settings_are_refused_at_their_place() {
    for (text, expected) in [
        ("\nhelth: {}\n", "2:1: unknown key `helth`; did you mean `heal`?"),
        ("heal:\n  timout: 3s\n", "2:3: unknown key `timout`; did you mean `timeout`?"),
        ("heal:\n  backoff: {start: 3s}\n", "2:13: unknown key `start`; known keys are initial, factor, max, jitter"),
        ("refresh: 3\n", "1:10: `3` is not a duration; write a number with its unit, such as 500ms, 3s, 10m or 90s"),
        ("refresh: [3s]\n", "1:10: expected a duration such as 3s or 10m, found a list"),
        ("refresh: 10ms\n", "1:10: `10ms` is too short; write 100ms or more"),
        ("refresh: 2h\n", "1:10: `2h` is too long; write 1h or less"),
        ("heal: {reset_after: 2y}\n", "1:21: `2y` is too long; write 365d or less"),
        ("heal: {timeout: 0s}\n", "1:17: `0s` is too short; write 1ms or more"),
        ("heal:\n  backoff: {initial: 0s}\n", "2:22: `0s` is too short; write 1ms or more"),
        ("heal:\n  backoff: {factor: 0.5}\n", "2:21: expected a number from 1 to 100, found `0.5`"),
        ("heal:\n  backoff: {jitter: .nan}\n", "2:21: expected a number from 0 to 1, found `.nan`"),
        ("heal:\n  backoff: {jitter: [1]}\n", "2:21: expected a number from 0 to 1, found a list"),
        ("heal:\n  backoff: {initial: 6m}\n", "2:12: `max` must not be shorter than `initial`"),
        ("heal:\n  max_concurrent: 0\n", "2:19: expected a number from 1 to 1000, found `0`"),
        ("heal:\n  give_up_after: -1\n", "2:18: expected a number of attempts, 0 for never, found `-1`"),
        (
            "heal:\n  states: [failed, dead]\n",
            "2:20: there is no state `dead`; what can be healed is failed, start-limit-hit, \
                 expected-but-stopped, unreachable",
        ),
        ("heal:\n  states: [faild]\n", "2:12: there is no state `faild`; did you mean `failed`?"),
        (
            "heal:\n  states: [orphaned]\n",
            "2:12: the state `orphaned` is shown, but cannot be healed; what can be healed is failed, \
                 start-limit-hit, expected-but-stopped, unreachable",
        ),
        ("heal: fast\n", "1:7: expected a mapping of settings, such as `give_up_after: 10`, found `fast`"),
        (
            "unit_prefix: ''\n",
            "1:14: `` cannot be the beginning of a unit name; write it without blanks, such as lerd-",
        ),
        (
            "unit_prefix: a b\n",
            "1:14: `a b` cannot be the beginning of a unit name; write it without blanks, such as lerd-",
        ),
        (
            "probes: {queue: {tcp: '6001'}}\n",
            "1:23: `6001` is no address; write host:port, such as \"127.0.0.1:6001\" or \"[::1]:6001\"",
        ),
        ("probes:\n  vite: {}\n", "2:9: this probe asks nothing; write tcp: or url_file:"),
        ("probes:\n  bot: off\n  bot.service: off\n", "2:3: the worker `bot` is here twice; delete one"),
        ("on_event: ['']\n", "1:11: the name of the program is empty; write for example [/usr/local/bin/alert]"),
        (
            "metrics: {listen: 'localhost'}\n",
            "1:19: `localhost` is no address to listen at; write an IP address with a port, such as \
                 127.0.0.1:9477 or \"[::]:9477\"",
        ),
        ("refresh: 3s\nrefresh: 3s\n", "2:1: the key `refresh` is here twice; delete one"),
    ] {
        assert_eq!(error(text), expected, "{text:?}");
    }
    let glob = error("also_watch:\n  - ok@*.service\n  - '*.timer'\n");
    assert!(glob.starts_with("3:5: this cannot be watched: "), "{glob}");
}

proptest! {
    #[test]
    fn any_line_for_any_key_is_read_or_refused(key in "[a-z_]{0,12}", value in "\\PC{0,20}") {
        for text in [format!("{key}: {value}\n"), format!("refresh: {value}\n"), format!("heal:\n  {key}: {value}\n")] {
            let _ = parse(&text);
        }
    }

    #[test]
    fn any_duration_in_range_is_read(milliseconds in 100u64..3_600_000) {
        let duration = Duration::from_millis(milliseconds);
        let config = parse(&format!("refresh: {}\n", humantime::format_duration(duration)));
        prop_assert_eq!(config.map(|config| config.refresh), Ok(duration));
    }
}
