//! Health probes: connects to a worker that is up.
//!
//! [`core::probe`](crate::core::probe) decides what the answers mean.

use std::io;
use std::net::ToSocketAddrs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::blocking::{FILES, NAMES};
use crate::core::healer::Fact;
use crate::core::probe::{Probe, ProbeAnswer, ProbeResult, ProbeVerdict, REFUSALS};
use crate::core::text;
use crate::core::units::{Detail, UnitName};
use crate::files::paths::read_bounded;
use crate::manager::ServiceManager;

/// Maximum duration of a probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// Time between two probes of a worker that has refused one.
const PROBE_INTERVAL: Duration = Duration::from_millis(200);
/// Maximum length of a file with an address, in bytes.
const MAX_URL_FILE_BYTES: usize = 4096;

/// Probes a worker. `directory` is the base of relative paths; `None` is the unit's own `WorkingDirectory=`.
pub async fn probe(
    manager: &impl ServiceManager,
    unit: &UnitName,
    probe: &Probe,
    directory: Option<PathBuf>,
) -> ProbeResult {
    let (answer, file_age) = match timeout(PROBE_TIMEOUT, ask(manager, unit, probe, directory)).await {
        Ok(answer) => answer,
        Err(_) => (ProbeAnswer::Unknown("it takes too long to answer".to_owned()), None),
    };
    // Only a refusal needs the uptime.
    let up_for = match &answer {
        ProbeAnswer::Refused(_) => manager
            .inspect(unit, Detail::default())
            .await
            .ok()
            .filter(|seen| seen.active.is_up())
            .and_then(|seen| seen.up_for),
        ProbeAnswer::Accepted | ProbeAnswer::Unknown(_) => None,
    };
    ProbeResult { answer, up_for, file_age }
}

/// The address at which a worker that is up keeps refusing its probe, if it does.
pub(super) async fn refuses(
    manager: &impl ServiceManager,
    unit: &UnitName,
    question: &Probe,
    directory: Option<PathBuf>,
    grace: Duration,
) -> Option<String> {
    let mut refused = None;
    for asked in 0..REFUSALS {
        if asked > 0 {
            sleep(PROBE_INTERVAL).await;
        }
        match probe(manager, unit, question, directory.clone()).await.verdict(grace) {
            ProbeVerdict::Refused(place) => refused = Some(place),
            ProbeVerdict::Reachable | ProbeVerdict::Nothing(_) => return None,
        }
    }
    refused
}

/// Facts for the healer that make a worker unreachable: as many refused probes as that takes.
pub(crate) fn refused_often(unit: &UnitName, place: &str) -> impl Iterator<Item = Fact> {
    let result =
        ProbeResult { answer: ProbeAnswer::Refused(place.to_owned()), up_for: Some(Duration::MAX), file_age: None };
    std::iter::repeat_n(Fact::Probed(unit.clone(), result), REFUSALS as usize)
}

async fn ask(
    manager: &impl ServiceManager,
    unit: &UnitName,
    probe: &Probe,
    directory: Option<PathBuf>,
) -> (ProbeAnswer, Option<Duration>) {
    let (path, within) = match probe {
        Probe::Tcp(address) => return (connect(address).await, None),
        Probe::UrlFile(path) => (path, false),
        Probe::UrlFileWithin(path) => (path, true),
    };
    let directory = match directory {
        _ if path.is_absolute() && !within => Some(PathBuf::new()),
        Some(directory) => Some(directory),
        None => manager.inspect(unit, Detail::default()).await.ok().and_then(|seen| seen.working_directory),
    };
    let Some(directory) = directory else {
        return (ProbeAnswer::Unknown("it is not known in which directory its file is".to_owned()), None);
    };
    match read_address(&directory, path, within).await {
        Ok((address, age)) => (connect(&address).await, Some(age)),
        Err(why) => (ProbeAnswer::Unknown(why), None),
    }
}

/// The address in a file of the directory, and the file's age. `within`: the file must be inside the directory.
async fn read_address(directory: &Path, path: &Path, within: bool) -> Result<(String, Duration), String> {
    let file = directory.join(path);
    let shown = text::path(&file);
    let directory = within.then(|| directory.to_owned());
    let read = FILES.within(PROBE_TIMEOUT, move || -> io::Result<(Vec<u8>, SystemTime)> {
        let file = match directory {
            Some(directory) => inside(&directory, &file)?,
            None => file,
        };
        let metadata = std::fs::metadata(&file)?;
        if metadata.len() > MAX_URL_FILE_BYTES as u64 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too long for an address"));
        }
        Ok((read_bounded(&file)?, metadata.modified()?))
    });
    match read.await {
        Ok(Ok((bytes, modified))) => {
            let written = std::str::from_utf8(&bytes).ok().filter(|written| written.len() <= MAX_URL_FILE_BYTES);
            let address = written.and_then(|written| address_in(text::plain(written).trim()));
            let address = address.ok_or_else(|| format!("there is no URL in {shown}"))?;
            Ok((address, modified.elapsed().unwrap_or_default()))
        }
        Ok(Err(error)) => Err(format!("cannot read {shown}: {error}")),
        Err(silent) => Err(format!("cannot read {shown}: {silent}")),
    }
}

/// The target of the path, if that is inside the directory.
fn inside(directory: &Path, file: &Path) -> io::Result<PathBuf> {
    let (directory, file) = (directory.canonicalize()?, file.canonicalize()?);
    if file.starts_with(&directory) {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::PermissionDenied, "it leads out of the worker's directory"))
}

/// `host:port` of a URL such as `http://localhost:5173` or `https://[::1]:5173/build/`.
fn address_in(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let port = match scheme {
        "http" | "ws" => 80,
        "https" | "wss" => 443,
        _ => return None,
    };
    let authority = rest.split(['/', '?', '#']).next()?;
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, digits)) if !digits.ends_with(']') => (host, digits.parse().ok()?),
        _ => (authority, port),
    };
    (!host.is_empty()).then(|| format!("{}:{port}", reachable(host)))
}

/// A server that listens on all addresses says so in its URL; it is probed on the loopback address.
fn reachable(host: &str) -> &str {
    match host {
        "0.0.0.0" => "127.0.0.1",
        "[::]" => "[::1]",
        host => host,
    }
}

/// Connects and disconnects. A name with several addresses refuses if all of them do.
async fn connect(address: &str) -> ProbeAnswer {
    let name = address.to_owned();
    let resolved = NAMES.within(PROBE_TIMEOUT, move || name.to_socket_addrs().map(Iterator::collect::<Vec<_>>));
    let candidates = match resolved.await {
        Ok(Ok(candidates)) => candidates,
        Err(silent) => return ProbeAnswer::Unknown(format!("{address}: {silent}")),
        Ok(Err(error)) => return ProbeAnswer::Unknown(format!("{address}: {error}")),
    };
    let mut answer = ProbeAnswer::Unknown(format!("{address} stands for no address"));
    for candidate in candidates {
        match TcpStream::connect(candidate).await {
            Ok(_) => return ProbeAnswer::Accepted,
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                if !matches!(&answer, ProbeAnswer::Unknown(why) if why.contains(": ")) {
                    answer = ProbeAnswer::Refused(address.to_owned());
                }
            }
            Err(error) => answer = ProbeAnswer::Unknown(format!("{address}: {error}")),
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_in_any_url_that_servers_write() {
        for (url, address) in [
            ("http://localhost:5173", Some("localhost:5173")),
            ("https://myapp.test/build/", Some("myapp.test:443")),
            ("http://[::1]:5173/", Some("[::1]:5173")),
            ("http://[::]:5173", Some("[::1]:5173")),
            ("http://0.0.0.0:5173?x", Some("127.0.0.1:5173")),
            ("ws://user:secret@127.0.0.1:6001/app", Some("127.0.0.1:6001")),
            ("http://[::1]", Some("[::1]:80")),
            ("localhost:5173", None),
            ("http://", None),
            ("http://host:port", None),
            ("ftp://host:21", None),
            ("", None),
        ] {
            assert_eq!(address_in(url).as_deref(), address, "{url:?}");
        }
    }

    #[tokio::test]
    async fn a_file_that_leads_out_of_the_directory_is_not_read() {
        let place = tempfile::tempdir().unwrap();
        let site = place.path().join("site");
        std::fs::create_dir_all(site.join("public")).unwrap();
        let url = "http://127.0.0.1:5173\n";
        std::fs::write(site.join("public/hot"), url).unwrap();
        std::fs::write(place.path().join("secret"), url).unwrap();
        std::os::unix::fs::symlink(place.path().join("secret"), site.join("link")).unwrap();
        std::os::unix::fs::symlink("public/hot", site.join("near")).unwrap();
        std::fs::write(site.join("long"), "x".repeat(5000)).unwrap();
        let read = async |path: &Path, within| read_address(&site, path, within).await.map(|(address, _)| address);
        let address = Ok("127.0.0.1:5173".to_owned());
        assert_eq!(read(Path::new("public/hot"), true).await, address);
        assert_eq!(read(Path::new("near"), true).await, address);
        for path in ["../secret", "link", "missing", "public"]
            .map(PathBuf::from)
            .into_iter()
            .chain([place.path().join("secret")])
        {
            assert!(read(&path, true).await.is_err(), "{path:?}");
        }
        assert_eq!(read(Path::new("../secret"), false).await, address, "that is what its user configured");
        assert!(read(Path::new("long"), true).await.is_err());
    }

    #[tokio::test]
    async fn a_listener_accepts_and_its_absence_refuses() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        assert_eq!(connect(&address).await, ProbeAnswer::Accepted);
        drop(listener);
        assert_eq!(connect(&address).await, ProbeAnswer::Refused(address));
        assert!(matches!(connect("no.such.host.invalid:1").await, ProbeAnswer::Unknown(_)));
    }
}
