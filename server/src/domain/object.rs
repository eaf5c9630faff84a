//! JSON objects, read as objects only: what serde derives for a struct takes an array of its fields in their order, too.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// Something that was sent as an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields(PhantomData))
    }
}

struct Fields<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
    type Value = Object<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Object<T>, M::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

/// For `deserialize_with`: one object.
///
/// # Errors
/// The format's, and when it is something else.
pub fn one<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Object::deserialize(deserializer).map(|Object(value)| value)
}

/// For `deserialize_with`: an object or `null`.
///
/// # Errors
/// As [`one`].
pub fn optional<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(deserializer).map(|found| found.map(|Object(value)| value))
}

/// For `deserialize_with`: a list of objects.
///
/// # Errors
/// As [`one`].
pub fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Vec::deserialize(deserializer).map(|found: Vec<Object<T>>| found.into_iter().map(|Object(value)| value).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Pair {
        one: u8,
        #[serde(default)]
        two: u8,
    }

    #[test]
    fn an_array_of_the_fields_is_no_object() {
        let read = |text: &str| serde_json::from_str::<Object<Pair>>(text).map_err(|error| error.to_string());
        assert_eq!(read(r#"{"one":1}"#), Ok(Object(Pair { one: 1, two: 0 })));
        assert!(serde_json::from_str::<Pair>("[1,2]").is_ok(), "what this is for");
        assert!(read("[1,2]").unwrap_err().contains("expected an object"));
        assert!(read(r#"{"one":1,"three":3}"#).unwrap_err().contains("unknown field `three`"));
        assert!(read("null").is_err());
    }
}
