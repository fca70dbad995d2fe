//! The manual page of the configuration, generated from the documented example.

use super::text;

/// Every setting with its default and an explanation.
const EXAMPLE: &str = include_str!("../../../config/workerheal.yaml");

const HEAD: &str = "\
.TH WORKERHEAL.YAML 5
.SH NAME
workerheal.yaml \\- the configuration of workerheal
.SH SYNOPSIS
.I ~/.config/workerheal/config.yaml
.PP
.I /etc/workerheal/config.yaml
with \\fB\\-\\-system\\fR
.SH DESCRIPTION
A file in YAML. It may be missing, and every setting may be left out. \\fBworkerheal init\\fR writes \\fBalso_watch\\fR, \
\\fBworkerheal check\\fR reports mistakes with their line and column.
Changes are in force as soon as the file is saved. After a mistake the previous settings stay in force.
.PP
Durations are written as 500ms, 3s, 10m or 1h. Each setting is shown with its default.
.SH SETTINGS
";

const TAIL: &str = "\
.SH EXAMPLE
.nf
also_watch: [\"celery@*.service\", my\\-bot.service]
heal:
  stable_after: 30s
  give_up_after: 5
probes:
  reverb: {tcp: \"127.0.0.1:6001\"}
metrics: {listen: \"127.0.0.1:9477\"}
.fi
.SH SEE ALSO
.BR workerheal (1)
";

/// A setting of the example.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// Its key, with the keys that contain it: `heal.states`.
    pub key: String,
    /// Its default, as written; empty for a key that contains others.
    pub default: String,
    /// Its description, one paragraph.
    pub about: String,
}

/// The page, roff.
pub(super) fn page() -> String {
    let mut page = HEAD.to_owned();
    for Setting { key, default, about } in settings(EXAMPLE) {
        let head = if default.is_empty() { key } else { format!("{key}: {default}") };
        page.push_str(&format!(".TP\n\\fB{}\\fR\n{}\n", text(&head), bold(&about)));
    }
    page.push_str(TAIL);
    page
}

/// Escapes a text for roff, with backquoted text in bold.
fn bold(about: &str) -> String {
    let parts = text(about);
    let parts = parts.split('`').enumerate();
    parts.map(|(number, part)| if number % 2 == 0 { part.to_owned() } else { format!("\\fB{part}\\fR") }).collect()
}

/// The settings of an example: a paragraph of comments, then the setting, commented out. A comment has a blank after
/// its `#`; a setting has none, or two if it is below another.
pub(super) fn settings(example: &str) -> Vec<Setting> {
    let (mut settings, mut about, mut parent) = (Vec::new(), Vec::new(), String::new());
    for line in example.lines() {
        let line = line.strip_prefix('#').unwrap_or_default();
        match line.strip_prefix("  ").map_or((line, false), |under| (under, true)) {
            // The first paragraphs describe the file.
            ("", _) => about.clear(),
            (comment, false) if comment.starts_with(' ') => about.push(comment.trim()),
            (setting, is_under) => {
                let (key, default) = setting.split_once(':').unwrap_or((setting, ""));
                let key = if is_under { format!("{parent}.{key}") } else { key.to_owned() };
                if default.is_empty() {
                    parent.clone_from(&key);
                }
                settings.push(Setting { key, default: default.trim().to_owned(), about: about.join(" ") });
                about.clear();
            }
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_is_read_setting_by_setting() {
        let example = "# About the file.\n\n# How often.\n# Really.\n#refresh: 3s\n\n# How.\n#heal:\n\n# Which.\n#  states: [failed]\n";
        let setting = |key: &str, default: &str, about: &str| Setting {
            key: key.into(),
            default: default.into(),
            about: about.into(),
        };
        assert_eq!(
            settings(example),
            [
                setting("refresh", "3s", "How often. Really."),
                setting("heal", "", "How."),
                setting("heal.states", "[failed]", "Which.")
            ]
        );
    }

    #[test]
    fn each_setting_that_can_be_written_is_on_the_page_with_an_explanation() {
        let settings = settings(EXAMPLE);
        for Setting { key, about, .. } in &settings {
            assert!(about.ends_with(['.', ')', ']']), "{key}: {about}");
        }
        let known = crate::files::config::known_keys();
        let keys: Vec<&str> = settings.iter().map(|setting| setting.key.as_str()).collect();
        for key in &known {
            let inner = key.rsplit('.').next().unwrap_or(key);
            let is_inside = |setting: &Setting| {
                key.starts_with(&setting.key) && (setting.default.contains(inner) || setting.about.contains(inner))
            };
            assert!(keys.contains(&key.as_str()) || settings.iter().any(is_inside), "{key} is not documented");
        }
        for key in keys {
            assert!(known.iter().any(|it| it == key), "{key} is none");
        }
    }
}
