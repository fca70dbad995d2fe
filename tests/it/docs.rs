//! What README, CONTRIBUTING, SECURITY and docs/ name exists: commands and flags, targets of make, tests, links, files,
//! settings, identifiers, paths of the API, messages. What exists and is for users is named there, too.
//!
//! That the README's `curl` lines, units and configurations work is tested in `api::readme` and `recipes`.

#![expect(clippy::expect_used, reason = "this is for tests only")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{Ran, WORKERHEAL};

/// Flags that the documents name without their program, which is another one.
const FOREIGN_FLAGS: [&str; 1] = ["--workdir"];
/// A program of macOS, and the README's example of a mistake.
const NOT_IN_THE_CODE: [&str; 2] = ["sw_vers", "stabel_after"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A document.
struct Page {
    path: PathBuf,
    text: String,
}

impl Page {
    fn name(&self) -> String {
        self.path.strip_prefix(root()).unwrap_or(&self.path).display().to_string()
    }

    /// Everything that is set as code, and the prose between.
    fn pieces(&self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut paragraph = (0, String::new());
        let (mut is_fenced, mut is_after_blank, mut is_indented) = (false, true, false);
        for (at, line) in (1..).zip(self.text.lines()) {
            let is_fence = line.trim_start().starts_with("```");
            let is_code = line.starts_with("    ") && (is_indented || is_after_blank);
            if is_fence || is_fenced || is_code || line.trim().is_empty() {
                pieces.extend(spans(paragraph.0, &std::mem::take(&mut paragraph.1)));
            } else {
                if paragraph.1.is_empty() {
                    paragraph.0 = at;
                }
                paragraph.1 += line;
                paragraph.1.push('\n');
            }
            if !is_fence && (is_fenced || is_code) {
                let text = if is_fenced { line } else { &line[4..] };
                pieces.push(Piece { line: at, text: text.to_owned(), is_inline: false });
            }
            is_fenced ^= is_fence;
            is_after_blank = line.trim().is_empty();
            is_indented = is_code || (is_indented && is_after_blank);
        }
        pieces.extend(spans(paragraph.0, &paragraph.1));
        pieces
    }

    /// The anchors of its headings, as GitHub makes them.
    fn anchors(&self) -> Vec<String> {
        let headings = self.text.lines().filter(|line| line.starts_with('#'));
        headings
            .map(|line| {
                let kept = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
                kept.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
            })
            .collect()
    }

    /// The targets of its links and images, with the line of each.
    fn links(&self) -> Vec<(usize, String)> {
        let of_line = |(at, line): (usize, &str)| {
            let rests: Vec<&str> = line.split("](").skip(1).collect();
            rests
                .into_iter()
                .map(move |rest| (at, rest.split(')').next().unwrap_or_default().to_owned()))
                .collect::<Vec<_>>()
        };
        (1..).zip(self.text.lines()).flat_map(of_line).collect()
    }
}

/// A line of a block of code, or a span of code in prose.
struct Piece {
    line: usize,
    text: String,
    is_inline: bool,
}

/// The spans of code of a paragraph that begins at this line.
fn spans(line: usize, paragraph: &str) -> Vec<Piece> {
    let parts: Vec<&str> = paragraph.split('`').collect();
    let mut spans = Vec::new();
    let mut at = line;
    for (n, part) in parts.iter().enumerate() {
        if n % 2 == 1 && n + 1 < parts.len() {
            // In a table, a bar is escaped.
            let text = part.replace('\n', " ").replace("\\|", "|");
            spans.push(Piece { line: at, text, is_inline: true });
        }
        at += part.matches('\n').count();
    }
    spans
}

/// All documents.
fn pages() -> Vec<Page> {
    let read = |path: PathBuf| Page { text: fs::read_to_string(&path).expect("it can be read"), path };
    let mut paths: Vec<PathBuf> = ["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(|name| root().join(name)).into();
    let docs = fs::read_dir(root().join("docs")).expect("there are docs").flatten().map(|entry| entry.path());
    paths.extend(docs.filter(|path| path.extension().is_some_and(|kind| kind == "md")));
    paths.into_iter().map(read).collect()
}

/// Calls a check with each piece of code of each document, and reports what it complains of.
#[track_caller]
fn assert_for_each_piece(mut check: impl FnMut(&Piece) -> Vec<String>) {
    let mut wrong = Vec::new();
    for page in pages() {
        for piece in page.pieces() {
            wrong.extend(check(&piece).into_iter().map(|what| format!("{}:{}: {what}", page.name(), piece.line)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The files of the repository that are not documents, and their texts.
fn sources() -> Vec<(String, String)> {
    fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).expect("it is a directory").flatten() {
            let path = entry.path();
            if path.is_dir() { walk(&path, found) } else { found.push(path) }
        }
    }
    let mut paths = vec![root().join("Makefile"), root().join("Cargo.toml")];
    for directory in
        ["src", "crates", "tests", "benches", "fuzz/fuzz_targets", "packaging", "config", "examples", ".ci"]
    {
        walk(&root().join(directory), &mut paths);
    }
    let name = |path: &Path| path.strip_prefix(root()).unwrap_or(path).display().to_string();
    let text = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    // What is looked for must not be found in this very file.
    paths.retain(|path| !path.ends_with("it/docs.rs"));
    paths.iter().map(|path| (name(path), text(path))).collect()
}

/// Splits a line into the simple commands of a shell, as words without their quotes.
fn commands(line: &str) -> Vec<Vec<String>> {
    let mut commands = vec![Vec::new()];
    let (mut word, mut is_word, mut quote) = (String::new(), false, None);
    for c in line.chars().chain([' ']) {
        match quote {
            Some(end) if c == end => quote = None,
            Some(_) => word.push(c),
            None if c == '\'' || c == '"' => (quote, is_word) = (Some(c), true),
            None if c == '#' && !is_word => break,
            None if c.is_whitespace() || ";|&()".contains(c) => {
                if std::mem::take(&mut is_word) {
                    commands.last_mut().expect("there is one").push(std::mem::take(&mut word));
                }
                if !c.is_whitespace() {
                    commands.push(Vec::new());
                }
            }
            None => {
                word.push(c);
                is_word = true;
            }
        }
    }
    commands.retain(|words| !words.is_empty());
    commands
}

/// The arguments of this program, if that is what a simple command runs.
fn own_arguments(words: &[String]) -> Option<&[String]> {
    let at = words.iter().rposition(|word| word == "workerheal")?;
    (at == 0 || matches!(words[0].as_str(), "sudo" | "ssh" | "claude")).then(|| &words[at + 1..])
}

/// Runs the program where there is nothing.
fn run(arguments: &[String]) -> Ran {
    let nowhere = tempfile::tempdir().expect("there is room");
    let mut command = Command::new(WORKERHEAL);
    Ran::of(command.env_clear().env("HOME", nowhere.path()).env("XDG_RUNTIME_DIR", nowhere.path()).args(arguments))
}

/// Whether these words are a command of this program with arguments, and no call of man(1).
fn is_short_form(words: &[String], subcommands: &[String]) -> bool {
    words.len() > 1 && subcommands.contains(&words[0]) && !words[1].starts_with("workerheal")
}

/// Why the program does not accept a command line. It is only parsed: what is found wrong comes before the help.
fn refusal(arguments: &[String]) -> Option<String> {
    assert!(!arguments.iter().any(|it| it == "--"), "it would be run: {arguments:?}");
    let ran = run(&[arguments, &["--help".to_owned()]].concat());
    let why = ran.err.lines().next().unwrap_or_default();
    (ran.status != 0).then(|| format!("workerheal {}: {why}", arguments.join(" ")))
}

/// The names of the program's commands.
fn subcommands() -> Vec<String> {
    let help = run(&["--help".to_owned()]).out;
    let (_, list) = help.split_once("Commands:\n").expect("it has commands");
    // Further lines of a description are further in.
    let lines = list.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.strip_prefix("  "));
    let names = lines.filter(|line| !line.starts_with(' ')).filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

/// A manual page, without its markup.
fn manual(page: &[&str]) -> String {
    let arguments: Vec<String> = [&["man"], page].concat().iter().map(|&word| word.to_owned()).collect();
    run(&arguments).out.replace("\\-", "-").replace("\\fB", "").replace("\\fR", "").replace("\\fI", "")
}

#[test]
fn each_command_line_is_one_that_the_program_accepts() {
    let subcommands = subcommands();
    let mut seen = BTreeSet::new();
    assert_for_each_piece(|piece| {
        let mut wrong = Vec::new();
        for words in commands(&piece.text) {
            let arguments = match own_arguments(&words) {
                Some(_) if piece.text.starts_with(' ') => continue,
                Some(arguments) => arguments,
                // In prose the program is left out: `heal --events`.
                None if piece.is_inline && is_short_form(&words, &subcommands) => &words[..],
                None => continue,
            };
            if !arguments.is_empty() && seen.insert(arguments.to_vec()) {
                wrong.extend(refusal(arguments));
            }
        }
        wrong
    });
    let manual = manual(&[]);
    let (_, examples) = manual.split_once(".SH EXAMPLES\n").expect("it has them");
    let (examples, _) = examples.split_once(".SH").expect("more follows");
    let examples: Vec<Vec<String>> = examples.lines().flat_map(commands).collect();
    let examples: Vec<&[String]> = examples.iter().filter_map(|words| own_arguments(words)).collect();
    let wrong: Vec<String> = examples.iter().filter_map(|arguments| refusal(arguments)).collect();
    assert!(wrong.is_empty() && examples.len() > 8, "the manual page: {wrong:?}, {examples:?}");

    let is_named = |name: &String| seen.iter().any(|arguments| arguments.contains(name));
    let unnamed: Vec<&String> = subcommands.iter().filter(|name| !is_named(name)).collect();
    // The service runs that one.
    assert_eq!(unnamed, ["daemon"], "no document says how these commands are used");
}

#[test]
fn each_flag_and_exit_status_is_in_the_manual() {
    let manual = manual(&[]);
    let is_flag = |word: &str| manual.split([' ', ',', '\n', '[', ']', '=']).any(|it| it == word);
    assert_for_each_piece(|piece| {
        let flag = piece.text.split([' ', '=']).next().unwrap_or_default();
        let is_wrong = piece.is_inline && flag.starts_with("--") && !is_flag(flag) && !FOREIGN_FLAGS.contains(&flag);
        is_wrong.then(|| format!("the manual page has no {flag}")).into_iter().collect()
    });
    let (_, statuses) = manual.split_once(".SH EXIT STATUS\n").expect("it has them");
    let (statuses, _) = statuses.split_once(".SH").expect("more follows");
    let statuses: Vec<&str> = statuses.lines().filter_map(|line| line.strip_prefix(".B ")).collect();
    assert_eq!(statuses, ["0", "1", "2", "3"]);
    let readme = fs::read_to_string(root().join("README.md")).expect("it is there").replace('\n', " ");
    let (_, listed) = readme.split_once("The exit status is ").expect("the README lists them");
    let listed: Vec<&str> = listed.split([' ', ';', ',']).filter(|word| statuses.contains(word)).take(4).collect();
    assert_eq!(listed, statuses, "as in the README");
}

#[test]
fn each_target_and_variable_of_make_exists() {
    let makefile = fs::read_to_string(root().join("Makefile")).expect("there is one");
    let is_target = |word: &str| makefile.lines().any(|line| line.starts_with(&format!("{word}:")));
    let all: String = sources().into_iter().map(|(_, text)| text).collect();
    assert_for_each_piece(|piece| {
        let mut wrong = Vec::new();
        for words in commands(&piece.text) {
            let Some(at) = words.iter().position(|word| word == "make") else { continue };
            if words[..at].iter().any(|word| !word.contains('=')) {
                continue;
            }
            for word in words[..at].iter().chain(&words[at + 1..]) {
                let is_known = match word.split_once('=') {
                    Some((variable, _)) => has_word(&all, variable),
                    None => is_target(word),
                };
                if !is_known {
                    wrong.push(format!("make does not know {word}"));
                }
            }
        }
        wrong
    });
}

#[test]
fn each_test_that_is_named_exists() {
    let sources = sources();
    let has = |what: &str| sources.iter().any(|(_, text)| text.contains(what));
    let mut count = 0;
    assert_for_each_piece(|piece| {
        let mut wrong = Vec::new();
        for words in commands(&piece.text) {
            // docs/faults.md calls it T.
            if words[0] != "T" && !(words[0] == "cargo" && words.get(1).is_some_and(|word| word == "test")) {
                continue;
            }
            let is_name = |word: &&String| word.contains(['_', ':']) && !word.contains(['-', '=', '.', '/']);
            for word in words.iter().filter(is_name) {
                let mut parts: Vec<&str> = word.split("::").collect();
                let name = parts.pop().unwrap_or_default();
                let missing =
                    parts.iter().find(|part| !has(&format!("mod {part};")) && !has(&format!("mod {part} {{")));
                if missing.is_some() || !has(&format!("fn {name}")) {
                    wrong.push(format!("there is no test {word}"));
                }
                count += 1;
            }
        }
        wrong
    });
    assert!(count > 15, "of {count} tests");
}

#[test]
fn each_link_leads_somewhere() {
    let pages = pages();
    let mut wrong = Vec::new();
    for page in &pages {
        for (line, link) in page.links() {
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            if file.contains("://") {
                continue;
            }
            let target = if file.is_empty() { page.path.clone() } else { page.path.with_file_name("").join(file) };
            let Ok(target) = target.canonicalize() else {
                wrong.push(format!("{}:{line}: {link} does not exist", page.name()));
                continue;
            };
            let other = pages.iter().find(|it| it.path == target);
            if !anchor.is_empty() && !other.is_some_and(|it| it.anchors().iter().any(|name| name == anchor)) {
                wrong.push(format!("{}:{line}: {link} is no heading", page.name()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_file_that_is_named_exists() {
    let sources = sources();
    let top: Vec<String> = fs::read_dir(root())
        .expect("it is a directory")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name != "target" && !name.starts_with(".git"))
        .collect();
    let exists = |word: &str| {
        let first = word.split('/').next().unwrap_or_default();
        if word.contains('/') && top.iter().any(|name| name == first) {
            return root().join(word).exists();
        }
        // Of what is named below a directory that the sentence is about, the end of the path has to fit.
        let end = format!("/{word}");
        if Path::new(word).extension().is_some_and(|kind| kind == "rs") {
            return sources.iter().any(|(path, _)| path.ends_with(&end));
        }
        let is_directory = word.ends_with('/') && !word.starts_with(['/', '~', '$', '%']) && !word.contains("://");
        !is_directory || sources.iter().any(|(path, _)| path.contains(&end)) || root().join(word).exists()
    };
    let mut count = 0;
    assert_for_each_piece(|piece| {
        let words: Vec<String> = commands(&piece.text).concat().iter().flat_map(|word| expanded(word)).collect();
        count += words.len();
        words.iter().filter(|word| !exists(word)).map(|word| format!("{word} does not exist")).collect()
    });
    assert!(count > 500, "of {count} words");
}

/// What a shell makes of a word with one pair of braces.
fn expanded(word: &str) -> Vec<String> {
    let braces = word.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)));
    let Some((before, (parts, after))) = braces else { return vec![word.to_owned()] };
    parts.split(',').map(|part| format!("{before}{part}{after}")).collect()
}

/// Whether a text has this word, in any case.
fn has_word(text: &str, word: &str) -> bool {
    let is_inside = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let found = |text: &str, word: &str| {
        text.match_indices(word)
            .any(|(at, _)| !text[..at].ends_with(is_inside) && !text[at + word.len()..].starts_with(is_inside))
    };
    found(text, word) || found(text, &word.to_lowercase())
}

#[test]
fn each_identifier_exists() {
    let all: String = sources().into_iter().map(|(_, text)| text + "\n").collect();
    let is_identifier = |word: &str| {
        let is_path = word.contains("::") && word.starts_with(char::is_alphabetic) && !word.ends_with(':');
        let is_id = word.len() == 32 && word.chars().all(|c| c.is_ascii_hexdigit());
        let is_plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "_:".contains(c));
        is_plain && (is_path || is_id || word.trim_matches(['_', ':']).contains('_'))
    };
    let mut count = 0;
    assert_for_each_piece(|piece| {
        let words = piece.text.split(|c: char| !c.is_ascii_alphanumeric() && !"_:-./".contains(c));
        let words: Vec<&str> = words.filter(|word| is_identifier(word)).map(|word| word.trim_matches(':')).collect();
        count += words.len();
        let is_test = piece.text.contains("cargo test") || piece.text.starts_with("T ");
        let is_unknown = |word: &&&str| {
            !is_test && !NOT_IN_THE_CODE.contains(word) && word.split("::").any(|part| !has_word(&all, part))
        };
        words.iter().filter(is_unknown).map(|word| format!("{word} is not in the code")).collect()
    });
    assert!(count > 60, "of {count} words");
}

/// The keys that are known below these, as the program says when it meets another.
fn known_keys(above: &[&str]) -> Vec<String> {
    let yaml = above.iter().rev().fold("{qqqqq: 1}".to_owned(), |inner, key| format!("{{{key}: {inner}}}"));
    let said = checked(&yaml).err;
    let (_, keys) = said.split_once("known keys are ").unwrap_or_else(|| panic!("{yaml}: {said}"));
    keys.trim().split(", ").map(str::to_owned).collect()
}

/// `workerheal check` of a configuration.
fn checked(yaml: &str) -> Ran {
    let directory = tempfile::tempdir().expect("there is room");
    let file = directory.path().join("config.yaml");
    fs::write(&file, yaml).expect("it can be written");
    run(&["check".to_owned(), "--config".to_owned(), file.display().to_string()])
}

#[test]
fn each_setting_is_one_that_the_program_knows_and_each_of_those_is_in_the_manual() {
    let top = known_keys(&[]);
    let mut keys: BTreeSet<String> = top.iter().cloned().collect();
    for above in [&["heal"][..], &["heal", "backoff"], &["metrics"]] {
        keys.extend(known_keys(above).iter().map(|key| format!("{}.{key}", above.join("."))));
    }
    let mut count = 0;
    assert_for_each_piece(|piece| {
        let mut wrong = Vec::new();
        let word = piece.text.split([' ', ':']).next().unwrap_or_default();
        let first = word.split('.').next().unwrap_or_default();
        let is_file = [".yaml", ".rs", ".md", ".html"].iter().any(|kind| word.ends_with(kind));
        if piece.is_inline && top.iter().any(|key| key == first) && !is_file {
            count += 1;
            if word.contains('.') && !keys.contains(word) {
                wrong.push(format!("there is no setting {word}"));
            }
            if piece.text.contains(": ") && !piece.text.contains("...") {
                let ran = checked(&piece.text);
                wrong.extend((ran.status != 0).then_some(ran.err));
            }
        }
        wrong
    });
    assert!(count > 20, "of {count} settings");

    let manual = manual(&["config"]);
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let is_listed = |key: &&String| {
        let heading = |line: &str| line.split(':').next() == Some(key.as_str());
        manual.lines().any(heading) || manual.contains(&format!("{}: ", last(key)))
    };
    let missing: Vec<&String> = keys.iter().filter(|key| !is_listed(key)).collect();
    assert!(missing.is_empty(), "the manual page does not describe {missing:?}");
    let readme = fs::read_to_string(root().join("README.md")).expect("it is there");
    let mistake = readme.lines().find_map(|line| line.strip_prefix("    config.yaml:")).expect("it shows a mistake");
    let said = checked("heal:\n  states: []\n  stabel_after: 3s\n").err;
    assert!(said.trim_end().ends_with(mistake), "{said}");

    let states = checked("heal: {states: [qqqqq]}").err;
    let (_, states) = states.split_once("what can be healed is ").expect("it names them");
    for state in states.trim().split(", ") {
        assert!(readme.contains(&format!("\n| `{state}`: ")), "the README does not describe {state}");
    }
}

#[test]
fn each_path_of_the_api_exists_and_is_in_the_readme() {
    let handlers = fs::read_to_string(root().join("src/daemon/api/handlers.rs")).expect("it is there");
    let routes = handlers.split(".route(\"").skip(1).filter_map(|rest| rest.split('"').next());
    let routes: BTreeSet<&str> = routes.collect();
    assert!(routes.contains("/v1/status"), "{routes:?}");
    let mut named = BTreeSet::new();
    assert_for_each_piece(|piece| {
        let mut wrong = Vec::new();
        for (at, _) in piece.text.match_indices("/v1/").chain(piece.text.match_indices("localhost/metrics")) {
            let path = piece.text[at..].trim_start_matches("localhost");
            let path = path.split([' ', '?', '\'', '"', '`']).next().unwrap_or_default();
            let parts: Vec<&str> = path.split('/').collect();
            let path = match parts[..] {
                ["", "v1", "workers", _, what] => format!("/v1/workers/{{unit}}/{what}"),
                _ => path.to_owned(),
            };
            if !routes.contains(path.as_str()) {
                wrong.push(format!("{path} is not served"));
            }
            named.insert(path);
        }
        wrong
    });
    let unnamed: Vec<&&str> = routes.iter().filter(|route| !named.contains(**route)).collect();
    assert!(unnamed.is_empty(), "no document names {unnamed:?}");
}

#[test]
fn each_message_that_the_readme_helps_with_is_one_that_the_program_has() {
    let readme = fs::read_to_string(root().join("README.md")).expect("it is there");
    let (_, table) = readme.split_once("| you see | do this |\n").expect("it has such a table");
    let sources = sources();
    let mut count = 0;
    for row in table.lines().take_while(|line| line.starts_with('|')) {
        let seen = row.split('|').nth(1).unwrap_or_default();
        for message in seen.split('`').skip(1).step_by(2).map(|text| text.trim_end_matches('…').trim()) {
            let is_said = |(path, text): &(String, String)| {
                !path.starts_with("tests/") && !path.contains("/tests/") && text.contains(message)
            };
            assert!(sources.iter().any(is_said), "the program does not say {message:?}");
            count += 1;
        }
    }
    assert!(count >= 5, "of {count} messages");
}
