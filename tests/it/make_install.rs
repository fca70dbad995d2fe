//! `make install` puts everything where man and the shells look for it.

#![expect(clippy::expect_used, reason = "this is for tests only")]

use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn the_program_its_manual_pages_and_completions_are_installed_below_the_prefix() {
    let root = tempfile::tempdir().expect("there is room");
    // The steps after the build, which takes minutes.
    let made = Command::new("make")
        .args(["--no-print-directory", "install-files", "PREFIX=/usr"])
        .arg(format!("PROGRAM={}", env!("CARGO_BIN_EXE_workerheal")))
        .arg(format!("DESTDIR={}", root.path().display()))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("make can be run");
    assert!(made.status.success(), "{made:?}");
    let below = |path: &str| root.path().join("usr").join(path);
    let text = |path: &str| fs::read_to_string(below(path)).expect(path);
    assert!(text("share/man/man1/workerheal.1").contains(".SH SEE ALSO\n.BR workerheal.yaml (5)"));
    let settings = text("share/man/man5/workerheal.yaml.5");
    assert!(settings.starts_with(".TH WORKERHEAL.YAML 5\n"), "{settings}");
    assert!(settings.contains("\\fBheal.give_up_after: 10\\fR\n"), "{settings}");
    assert!(text("share/bash-completion/completions/workerheal").contains("-F _workerheal workerheal\n"));
    assert!(text("share/zsh/site-functions/_workerheal").starts_with("#compdef workerheal\n"));
    assert!(text("share/fish/vendor_completions.d/workerheal.fish").contains("--command workerheal"));
    let installed = Command::new(below("bin/workerheal")).arg("--version").output().expect("it can be run");
    assert!(installed.status.success(), "{installed:?}");
    assert_eq!(files(&below("")), 6, "what else is there?");
}

fn files(directory: &Path) -> usize {
    let entries = fs::read_dir(directory).expect("it is a directory").map(|entry| entry.expect("it is there").path());
    entries.map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
}
