//! Fuzz targets, see [`fuzz`](crate::fuzz).

use super::{private_socket, wire};

/// Any text as an object path, and as a unit.
pub(crate) fn names(text: &str) {
    if let Some(name) = wire::unit_of_path(text) {
        let path = wire::unit_path(name.as_str());
        assert_eq!(wire::unit_of_path(&path).as_ref(), Some(&name));
    }
    let path = wire::unit_path(text);
    if let Some(name) = wire::unit_of_path(&path) {
        assert_eq!(name.as_str(), text);
    }
}

/// Bytes of the private socket, in pieces as they come.
pub(crate) fn messages(data: &[u8]) {
    let (cut, rest) = data.split_first().unwrap_or((&0, &[]));
    let mut buffer = rest.to_vec();
    let whole = private_socket::rewrite(&mut buffer);
    assert!(whole <= rest.len() && buffer.len() == rest.len());
    // A part of it is passed on no further than the whole.
    let mut part = rest[..usize::from(*cut).min(rest.len())].to_vec();
    let handed_on = private_socket::rewrite(&mut part);
    if rest.first() == Some(&b'l') {
        assert!(handed_on <= whole);
        assert_eq!(part[..handed_on], buffer[..handed_on]);
    }
}
