//! JSON objects, read as objects only: what serde derives for a struct takes an array of its fields in their order, too.
//! And read with each key once: of equal keys in a map, serde keeps the last without a word.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

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

/// For `deserialize_with`: an object of anything, whose objects have each key once.
///
/// # Errors
/// The format's, when it is something else, and for a key that is there twice, as serde says it of a field.
pub fn distinct<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map<String, Value>, D::Error> {
    let Object(Distinct(value)) = Object::deserialize(deserializer)?;
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(D::Error::custom("expected an object")),
    }
}

/// Any JSON, whose objects have each key once.
#[derive(Debug, Clone, PartialEq)]
pub struct Distinct(pub Value);

impl<'de> Deserialize<'de> for Distinct {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue).map(Self)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<Value, S::Error> {
        let mut values = Vec::new();
        while let Some(Distinct(value)) = list.next_element()? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<M: MapAccess<'de>>(self, mut pairs: M) -> Result<Value, M::Error> {
        let mut map = Map::new();
        while let Some(key) = pairs.next_key::<String>()? {
            if map.contains_key(&key) {
                return Err(M::Error::custom(format_args!("duplicate field `{key}`")));
            }
            let Distinct(value) = pairs.next_value()?;
            map.insert(key, value);
        }
        Ok(map.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_there_twice_is_named_however_deep() {
        let read = |text: &str| serde_json::from_str::<Distinct>(text).map_err(|error| error.to_string());
        let plain = r#"{"a":[1,-1,1.5,"x",null,true,{"b":{}}],"b":{"a":1}}"#;
        assert_eq!(read(plain), Ok(Distinct(serde_json::from_str(plain).unwrap())));
        for text in [r#"{"x":1,"x":2}"#, r#"{"x":1,"\u0078":1}"#, r#"[{"a":{"x":1,"y":2,"x":null}}]"#] {
            assert!(read(text).unwrap_err().starts_with("duplicate field `x`"), "{text}");
        }
    }

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
