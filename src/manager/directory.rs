//! Working directories of units, in the file system and in commands.

use std::io;
use std::path::Path;
#[cfg(any(target_os = "linux", test))]
use std::path::PathBuf;

/// Whether there is definitely no such directory (`ENOENT`), or something else in its place (`ENOTDIR`). If it cannot
/// be accessed, it may exist. This may block on a file system that does not answer.
pub(crate) fn is_gone(path: &Path) -> bool {
    match std::fs::metadata(path) {
        Ok(found) => !found.is_dir(),
        Err(error) => matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
    }
}

/// The directory of a `podman exec` command: `-w DIR`, `--workdir DIR` or `--workdir=DIR`, before the name of the
/// container.
#[cfg(any(target_os = "linux", test))]
pub(super) fn of_container_command(command: &[String]) -> Option<PathBuf> {
    /// Options of podman-exec(1) with a separate value.
    const TAKE_A_WORD: [&str; 9] =
        ["-e", "--env", "--env-file", "-u", "--user", "--detach-keys", "--preserve-fd", "--preserve-fds", "--cidfile"];
    let program = Path::new(command.first()?).file_name()?;
    let rest = command.get(1..).filter(|_| program == "podman" || program == "docker")?;
    let exec = rest.iter().position(|word| word == "exec").or_else(|| {
        // `podman container exec` is the same.
        rest.windows(2).position(|words| words[0] == "container" && words[1] == "exec").map(|at| at + 1)
    })?;
    let mut words = rest[exec + 1..].iter().map(String::as_str);
    let mut directory = None;
    while let Some(word) = words.next().filter(|word| word.starts_with('-') && *word != "--") {
        if word == "-w" || word == "--workdir" {
            directory = words.next();
        } else if let Some(value) = word.strip_prefix("--workdir=").or_else(|| word.strip_prefix("-w")) {
            directory = Some(value.strip_prefix('=').unwrap_or(value));
        } else if TAKE_A_WORD.contains(&word) {
            words.next();
        }
    }
    directory.map(PathBuf::from).filter(|path| path.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_missing_or_replaced_directory_is_gone() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(!is_gone(place.path()));
        assert!(is_gone(&place.path().join("missing")));
        assert!(is_gone(&file));
        assert!(is_gone(&file.join("below")));
        let link = place.path().join("link");
        std::os::unix::fs::symlink(place.path().join("missing"), &link).unwrap();
        assert!(is_gone(&link), "it leads nowhere");
        // If it cannot be accessed for another reason, it may exist.
        assert!(!is_gone(&place.path().join("x".repeat(300))));
        let circle = place.path().join("circle");
        std::os::unix::fs::symlink(&circle, &circle).unwrap();
        assert!(!is_gone(&circle));
    }

    #[test]
    fn a_container_command_tells_where_it_works() {
        for (command, directory) in [
            ("/usr/bin/podman exec -w /srv/app --env=A=b lerd-php85-fpm php artisan queue:work", Some("/srv/app")),
            ("podman exec --workdir /srv/app -u www fpm php", Some("/srv/app")),
            ("podman exec -i -u www -w=/srv/app fpm php", Some("/srv/app")),
            ("podman --log-level warn exec --workdir=/srv/app fpm php", Some("/srv/app")),
            ("podman container exec -w /srv/app fpm php", Some("/srv/app")),
            ("podman exec fpm php -w /srv/app", None),
            ("podman exec -e -w fpm php", None),
            ("podman exec -w relative fpm php", None),
            ("podman exec -w", None),
            ("podman run -w /srv/app image", None),
            ("php exec -w /srv/app", None),
            ("", None),
        ] {
            let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
            assert_eq!(of_container_command(&words), directory.map(PathBuf::from), "{command}");
        }
    }
}
