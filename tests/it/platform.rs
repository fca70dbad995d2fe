//! Only the modules for Linux need Linux: code that would not compile on a Mac fails here.
//!
//! `make lint` also compiles it, where Rust's library for macOS is installed.

#![expect(clippy::unwrap_used, reason = "this is for tests only")]

use std::fs;
use std::path::{Path, PathBuf};

const FOR_LINUX: &str = "#[cfg(target_os = \"linux\")]";
/// Crates, modules and files that only Linux has.
const LINUX_ONLY: [&str; 11] = [
    "zbus",
    "sd_notify",
    "systemd::",
    "journal::Journal",
    "os::linux",
    "rustix::thread",
    "inotify",
    "pidfd",
    "epoll",
    "\"/proc",
    "\"/sys",
];

#[test]
fn only_the_modules_for_linux_need_linux() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    let texts: Vec<(PathBuf, String)> =
        files.into_iter().map(|path| (path.clone(), fs::read_to_string(&path).unwrap())).collect();
    let for_linux: Vec<PathBuf> = texts.iter().flat_map(|(path, text)| modules_for_linux(path, text)).collect();
    assert!(for_linux.iter().any(|path| path.ends_with("manager/systemd")), "{for_linux:?}");
    for (path, text) in &texts {
        if for_linux.iter().any(|module| path.starts_with(module) || path.with_extension("") == *module) {
            continue;
        }
        for (number, line) in outside_of_linux(text) {
            let found = LINUX_ONLY.iter().find(|name| line.contains(**name));
            assert_eq!(found, None, "{}:{number}: {line}", path.display());
        }
    }
}

#[test]
fn the_scan_finds_what_is_not_gated() {
    let text = "use zbus::A;\n#[cfg(target_os = \"linux\")]\nuse zbus::B;\n// zbus::C\n\
                #[cfg(target_os = \"linux\")]\nif x {\n    zbus::D;\n}\nzbus::E;\n";
    let left: Vec<usize> = outside_of_linux(text).filter(|(_, line)| line.contains("zbus")).map(|(at, _)| at).collect();
    assert_eq!(left, [1, 9]);
}

#[test]
fn crates_for_linux_are_dependencies_on_linux_only() {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let (everywhere, on_linux) = manifest.split_once("[target.'cfg(target_os = \"linux\")'.dependencies]").unwrap();
    for name in ["zbus", "sd-notify"] {
        let line = format!("\n{name} = ");
        assert!(on_linux.contains(&line) && !everywhere.contains(&line), "{name}");
    }
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The modules that a file declares for Linux only, as the paths of their directories.
fn modules_for_linux(path: &Path, text: &str) -> Vec<PathBuf> {
    let is_root = path.ends_with("mod.rs") || path.ends_with("lib.rs");
    let directory = if is_root { path.parent().unwrap().to_owned() } else { path.with_extension("") };
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let declared = lines.windows(2).filter(|pair| pair[0] == FOR_LINUX).filter_map(|pair| {
        let name = pair[1].strip_suffix(';')?.rsplit_once("mod ")?.1;
        Some(directory.join(name))
    });
    declared.collect()
}

/// The lines, with their numbers, that are also compiled on other systems: without comments, and without items,
/// statements or fields that have the attribute for Linux.
fn outside_of_linux(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut gated = false;
    let mut depth = 0i32;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let code = line.trim();
        if code.starts_with("//") || code.is_empty() {
            return None;
        }
        if gated {
            depth += code.chars().map(|c| i32::from("{([".contains(c)) - i32::from("})]".contains(c))).sum::<i32>();
            let is_attribute = code.starts_with("#[");
            gated = is_attribute || depth > 0 || !code.ends_with([';', '}', ',']);
            return None;
        }
        gated = code == FOR_LINUX;
        depth = 0;
        (!gated).then_some((index + 1, line))
    })
}
