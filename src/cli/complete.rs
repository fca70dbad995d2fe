//! Shell completions: commands, options, sites and workers.
//!
//! The shell runs this program again, with `$WORKERHEAL_COMPLETE` set, so that it offers the current workers.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::time::Duration;

use clap::{CommandFactory, ValueEnum};
use clap_complete::CompleteEnv;
use clap_complete::engine::CompletionCandidate;
use clap_complete::env::{Bash, Elvish, EnvCompleter, Fish, Powershell, Zsh};

use super::Cli;
use crate::client::Access;
use crate::core::selector::Worker;
use crate::core::units::UnitName;
use crate::manager::Scope;
use crate::setup::Options;

/// The variable by which a shell requests completions.
const VARIABLE: &str = "WORKERHEAL_COMPLETE";
/// Maximum time to list workers for a completion.
const LIST_TIMEOUT: Duration = Duration::from_millis(500);

/// A shell that completions are printed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Shell {
    Bash,
    Elvish,
    Fish,
    Powershell,
    Zsh,
}

/// Bash treats `@` as the end of a word, so `site/worker@worktree` would be several words. The words are computed again
/// from the line, and the part before the last `@`, which readline has already, is removed.
const WORDS_OF_BASH: &str = r#"
_workerheal() {
    local COMP_WORDS COMP_CWORD current=""
    read -r -a COMP_WORDS <<<"${COMP_LINE:0:COMP_POINT}"
    [[ ${COMP_LINE:0:COMP_POINT} == *" " ]] && COMP_WORDS+=("")
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    current=${COMP_WORDS[COMP_CWORD]}
    _clap_complete_workerheal "$1" "$current" "$3"
    if [[ $current == *@* && $COMP_WORDBREAKS == *@* ]]; then
        COMPREPLY=("${COMPREPLY[@]#"${current%@*}@"}")
    fi
}
complete -o nospace -o bashdefault -F _workerheal workerheal
"#;

/// Zsh loads a script from its `fpath` when it is first needed: the pending completion must not be lost.
const FIRST_OF_ZSH: &str = r#"
if [[ ${funcstack[1]} == _workerheal ]]; then
    _clap_dynamic_completer_workerheal "$@"
fi
"#;

/// Answers a shell's request and ends the process, if it is one.
pub(super) fn answer() {
    CompleteEnv::with_factory(Cli::command).var(VARIABLE).bin("workerheal").complete();
}

/// Prints the script that makes a shell request completions.
///
/// # Errors
///
/// If it cannot be written.
pub(super) fn script(shell: Shell) -> io::Result<String> {
    let registration: &dyn EnvCompleter = match shell {
        Shell::Bash => &Bash,
        Shell::Elvish => &Elvish,
        Shell::Fish => &Fish,
        Shell::Powershell => &Powershell,
        Shell::Zsh => &Zsh,
    };
    let mut script = Vec::new();
    registration.write_registration(VARIABLE, "workerheal", "workerheal", "workerheal", &mut script)?;
    let mut script = String::from_utf8_lossy(&script).into_owned();
    match shell {
        Shell::Bash => script.push_str(WORDS_OF_BASH),
        Shell::Zsh => script.push_str(FIRST_OF_ZSH),
        Shell::Elvish | Shell::Fish | Shell::Powershell => {}
    }
    Ok(script)
}

/// Sites, and workers by their display names.
pub(super) fn targets(begun: &OsStr) -> Vec<CompletionCandidate> {
    let begun = begun.to_string_lossy();
    offered(&workers(), &begun).into_iter().map(CompletionCandidate::new).collect()
}

/// Sites.
pub(super) fn sites(begun: &OsStr) -> Vec<CompletionCandidate> {
    let (workers, begun) = (workers(), begun.to_string_lossy());
    let sites: BTreeSet<&str> = workers.iter().map(|(_, worker)| worker.site.as_str()).collect();
    let sites = sites.into_iter().filter(|site| !site.is_empty() && site.starts_with(&*begun));
    sites.map(CompletionCandidate::new).collect()
}

/// Sites and workers that begin like this, in alphabetical order.
fn offered(workers: &[(UnitName, Worker)], begun: &str) -> BTreeSet<String> {
    let names = workers.iter().flat_map(|(_, worker)| [worker.site.clone(), worker.to_string()]);
    names.filter(|name| !name.is_empty() && name.starts_with(begun)).collect()
}

/// Every worker; none if they cannot be listed in time.
fn workers() -> Vec<(UnitName, Worker)> {
    let is_system = std::env::args_os().any(|argument| argument == "--system");
    let options = Options { scope: if is_system { Scope::System } else { Scope::User }, ..Options::default() };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return Vec::new() };
    let workers = runtime.block_on(async {
        let ask = async { Box::pin(Access::open(&options)).await.ok()?.named(&[]).await.ok() };
        tokio::time::timeout(LIST_TIMEOUT, ask).await.ok().flatten()
    });
    runtime.shutdown_background();
    workers.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sites_and_workers_are_completed_by_prefix() {
        let worker = |site: &str, name: &str, worktree: Option<&str>| {
            let worker = Worker { site: site.into(), name: name.into(), worktree: worktree.map(str::to_owned) };
            (UnitName::parse(name).unwrap(), worker)
        };
        let workers = [
            worker("", "celery@mail", None),
            worker("shop", "queue", None),
            worker("shop", "queue", Some("feat-x")),
            worker("myapp", "vite", None),
        ];
        let offered = |begun| offered(&workers, begun).into_iter().collect::<Vec<_>>();
        let all = ["celery@mail", "myapp", "myapp/vite", "shop", "shop/queue", "shop/queue@feat-x"];
        assert_eq!(offered(""), all);
        assert_eq!(offered("sh"), ["shop", "shop/queue", "shop/queue@feat-x"]);
        assert_eq!(offered("shop/queue@"), ["shop/queue@feat-x"]);
        assert_eq!(offered("x"), [""; 0]);
    }
}
