//! Where in `sites.yaml` something is said, for people who want to look it up.
//!
//! The parser tells places only of what it refuses. So a place is found by reading the document once
//! more and refusing just that.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::document::{self, refuse};

/// The message of the refusal, by which it is known again.
const FOUND: &str = "found";

/// The line, from 1, on which the registry has this key of the site with this index, from 0. `None` if
/// it has no such key, or is too long to be read in one go.
#[must_use]
pub fn line_of(bytes: &[u8], site: usize, key: &str) -> Option<usize> {
    let flaw = document::parse_seed(bytes, Document { site, key }).err()?;
    (flaw.message == FOUND && flaw.line > 0).then_some(flaw.line)
}

/// The whole document: looks into `sites`.
struct Document<'k> {
    site: usize,
    key: &'k str,
}

impl<'de> DeserializeSeed<'de> for Document<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a registry")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if key == "sites" {
                map.next_value_seed(Sites { site: self.site, key: self.key })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// The list of sites: looks into one of them.
struct Sites<'k> {
    site: usize,
    key: &'k str,
}

impl<'de> DeserializeSeed<'de> for Sites<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Sites<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of sites")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sites: A) -> Result<(), A::Error> {
        for _ in 0..self.site {
            if sites.next_element::<IgnoredAny>()?.is_none() {
                return Ok(());
            }
        }
        sites.next_element_seed(Site { key: self.key })?;
        while sites.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

/// One site: looks for the key.
struct Site<'k> {
    key: &'k str,
}

impl<'de> DeserializeSeed<'de> for Site<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Site<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a site")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_key_seed(Key(self.key))?.is_some() {
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

/// A key, refused if it is the one.
struct Key<'k>(&'k str);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<(), E> {
        if key == self.0 { Err(refuse(FOUND, "")) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_in_its_site_and_in_no_other() {
        let text = b"# written by lerd\nversion: 1\nsites:\n- name: a\n  path: /a\n  paused: true\n- {name: b,\n   paused: true}\n";
        assert_eq!(line_of(text, 0, "name"), Some(4));
        assert_eq!(line_of(text, 0, "paused"), Some(6));
        assert_eq!(line_of(text, 1, "paused"), Some(8));
        assert_eq!(line_of(text, 1, "path"), None);
        assert_eq!(line_of(text, 2, "name"), None);
        assert_eq!(line_of(b"sites: 3", 0, "name"), None);
        assert_eq!(line_of(b"\xff", 0, "name"), None);
    }
}
