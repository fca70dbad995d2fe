//! A deserializer around another one, with additional rules.
//!
//! - No mapping has a key twice, and none has a merge key (`<<`), which would be silently ignored.
//! - Aliases do not multiply a document: what is read through them counts as if written out, and is limited.
//! - The message of an error and what was expected are recorded apart from the place, for [`messages`].

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fmt;

use serde::de::value::{BorrowedStrDeserializer, StrDeserializer};
use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Visitor};

use super::{messages, refuse};

/// State shared by all deserializers of a document.
pub(super) struct DocumentState {
    /// The remaining number of values.
    values: Cell<usize>,
    /// The remaining number of bytes of text.
    bytes: Cell<usize>,
    /// The first error as the innermost visitor reported it.
    pub(super) noted: RefCell<Option<String>>,
    /// What was expected when the parser found another type.
    pub(super) expected: RefCell<Option<String>>,
}

impl DocumentState {
    /// For a document of this size. Without aliases, neither limit can be reached.
    pub(super) fn new(units: usize, bytes: usize) -> Self {
        Self {
            values: Cell::new(units + 1000),
            bytes: Cell::new(2 * bytes + 10_000),
            noted: RefCell::default(),
            expected: RefCell::default(),
        }
    }

    fn spend<E: Error>(limit: &Cell<usize>, amount: usize) -> Result<(), E> {
        match limit.get().checked_sub(amount) {
            Some(rest) => {
                limit.set(rest);
                Ok(())
            }
            None => Err(refuse("aliases repeat too much here", "write the values out")),
        }
    }

    fn note<T, E: Error>(&self, result: Result<T, E>) -> Result<T, E> {
        if let Err(error) = &result {
            self.noted.borrow_mut().get_or_insert_with(|| messages::brief(error));
        }
        result
    }
}

/// The deserializer: `inner` with the rules above.
pub(super) struct Strict<'c, D> {
    inner: D,
    state: &'c DocumentState,
}

impl<'c, D> Strict<'c, D> {
    pub(super) fn new(inner: D, state: &'c DocumentState) -> Self {
        Self { inner, state }
    }

    fn watch<V>(&self, visitor: V) -> Watched<'c, V> {
        Watched { visitor, state: self.state }
    }
}

macro_rules! forward {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            let watched = self.watch(visitor);
            self.inner.$method(watched)
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Strict<'_, D> {
    type Error = D::Error;

    forward! {
        deserialize_any deserialize_bool
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64 deserialize_char deserialize_str deserialize_string
        deserialize_bytes deserialize_byte_buf deserialize_option deserialize_unit
        deserialize_seq deserialize_map deserialize_identifier
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        // The value is dropped, and the parser skips it without recursion.
        self.inner.deserialize_ignored_any(visitor)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        let watched = self.watch(visitor);
        self.inner.deserialize_unit_struct(name, watched)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        let watched = self.watch(visitor);
        self.inner.deserialize_newtype_struct(name, watched)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, D::Error> {
        let watched = self.watch(visitor);
        self.inner.deserialize_tuple(len, watched)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let watched = self.watch(visitor);
        self.inner.deserialize_tuple_struct(name, len, watched)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let watched = self.watch(visitor);
        self.inner.deserialize_struct(name, fields, watched)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let watched = self.watch(visitor);
        self.inner.deserialize_enum(name, variants, watched)
    }
}

impl<'de, D: DeserializeSeed<'de>> DeserializeSeed<'de> for Strict<'_, D> {
    type Value = D::Value;

    fn deserialize<I: Deserializer<'de>>(self, inner: I) -> Result<D::Value, I::Error> {
        self.inner.deserialize(Strict::new(inner, self.state))
    }
}

/// A visitor that observes another one.
struct Watched<'c, V> {
    visitor: V,
    state: &'c DocumentState,
}

macro_rules! visit_scalars {
    ($($method:ident($type:ty))*) => {$(
        fn $method<E: Error>(self, value: $type) -> Result<V::Value, E> {
            self.state.note(self.visitor.$method(value))
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Watched<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Only used to word errors.
        let expected = Expected(&self.visitor).to_string();
        f.write_str(&expected)?;
        *self.state.expected.borrow_mut() = Some(expected);
        Ok(())
    }

    visit_scalars! {
        visit_bool(bool) visit_i64(i64) visit_u64(u64) visit_i128(i128) visit_u128(u128) visit_f64(f64)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<V::Value, E> {
        self.state.note(DocumentState::spend(&self.state.bytes, text.len()))?;
        self.state.note(self.visitor.visit_str(text))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<V::Value, E> {
        self.state.note(DocumentState::spend(&self.state.bytes, text.len()))?;
        self.state.note(self.visitor.visit_borrowed_str(text))
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.state.note(self.visitor.visit_none())
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.state.note(self.visitor.visit_unit())
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.state.note(self.visitor.visit_some(Strict::new(inner, self.state)))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.state.note(self.visitor.visit_newtype_struct(Strict::new(inner, self.state)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.state.note(self.visitor.visit_seq(Items { access, state: self.state }))
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        let entries = Entries { access, state: self.state, keys: HashSet::new() };
        self.state.note(self.visitor.visit_map(entries))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.state.note(self.visitor.visit_enum(access))
    }
}

/// The expectation of a visitor, as text.
struct Expected<'a, V>(&'a V);

impl<'de, V: Visitor<'de>> fmt::Display for Expected<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }
}

struct Items<'c, A> {
    access: A,
    state: &'c DocumentState,
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Items<'_, A> {
    type Error = A::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, A::Error> {
        DocumentState::spend(&self.state.values, 1)?;
        self.access.next_element_seed(Strict::new(seed, self.state))
    }
}

struct Entries<'de, 'c, A> {
    access: A,
    state: &'c DocumentState,
    keys: HashSet<Cow<'de, str>>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Entries<'de, '_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        DocumentState::spend(&self.state.values, 1)?;
        self.access.next_key_seed(Key { seed, state: self.state, keys: &mut self.keys })
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, A::Error> {
        self.access.next_value_seed(Strict::new(seed, self.state))
    }
}

/// A key of a mapping. An error while it is visited is reported at the key.
struct Key<'k, 'de, 'c, S> {
    seed: S,
    state: &'c DocumentState,
    keys: &'k mut HashSet<Cow<'de, str>>,
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Key<'_, 'de, '_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        let state = self.state;
        inner.deserialize_str(Watched { visitor: self, state })
    }
}

impl<'de, S: DeserializeSeed<'de>> Visitor<'de> for Key<'_, 'de, '_, S> {
    type Value = S::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<S::Value, E> {
        admit(self.keys, key, |key| Cow::Owned(key.to_owned()))?;
        self.seed.deserialize(StrDeserializer::new(key))
    }

    fn visit_borrowed_str<E: Error>(self, key: &'de str) -> Result<S::Value, E> {
        admit(self.keys, key, Cow::Borrowed)?;
        self.seed.deserialize(BorrowedStrDeserializer::new(key))
    }
}

fn admit<'k, 'de, E: Error>(
    keys: &mut HashSet<Cow<'de, str>>,
    key: &'k str,
    keep: impl FnOnce(&'k str) -> Cow<'de, str>,
) -> Result<(), E> {
    if key == "<<" {
        return Err(refuse("merge keys are not supported", "write the merged keys out"));
    }
    if keys.insert(keep(key)) {
        Ok(())
    } else {
        Err(refuse(format_args!("the key `{key}` is here twice"), "delete one"))
    }
}
