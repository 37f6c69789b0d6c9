//! The reference reader: the same records by way of serde_json, which checks every byte.
//!
//! `--strict` reads with it, and tests hold the fast reader to it. It is simple, and several times slower: each value
//! is kept as its text until it is asked for.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::fast::Memory;
use super::fields::Field;
use super::input::{Fault, FaultKind, Input, Read, key};
use super::number;

/// One value as its text.
#[derive(Debug)]
pub struct Raw<'a, 'm> {
    value: &'a RawValue,
    /// The address of the bytes that offsets are counted from.
    base: usize,
    memory: &'m mut Memory,
}

impl<'a, 'm> Raw<'a, 'm> {
    /// The one value that `bytes` hold.
    ///
    /// # Errors
    /// When they hold no JSON, or more than one value, or are not UTF-8.
    pub fn new(bytes: &'a [u8], memory: &'m mut Memory) -> Read<Self> {
        let fault = |kind, at, what: String| Box::new(Fault { kind, at, path: String::new(), what });
        let text = std::str::from_utf8(bytes)
            .map_err(|e| fault(FaultKind::Value, e.valid_up_to(), "holds bytes that are not UTF-8".into()))?;
        let value: &RawValue = serde_json::from_str(text).map_err(|e| {
            let kind = if e.is_eof() { FaultKind::End } else { FaultKind::Syntax };
            fault(kind, offset(text, &e), format!("is not JSON: {}", message(&e)))
        })?;
        Ok(Raw { value, base: bytes.as_ptr() as usize, memory })
    }

    /// The bytes of the value, without white space around them.
    fn bytes(&self) -> &'a [u8] {
        self.value.get().as_bytes()
    }

    fn parse<T: Deserialize<'a>>(&self, wanted: &str) -> Read<T> {
        serde_json::from_str(self.value.get()).map_err(|e| match self.bytes().first() {
            // The value was checked when it was taken as text, so what is left is its type or its characters.
            Some(b'"') if wanted == "text" => self.fault(FaultKind::Value, message(&e)),
            _ => self.wrong_type(wanted),
        })
    }

    fn wrong_type(&self, wanted: &str) -> Box<Fault> {
        let found = match self.bytes().first() {
            Some(b'"') => "text",
            Some(b'{') => "an object",
            Some(b'[') => "an array",
            Some(b't' | b'f') => "true or false",
            _ => "a number",
        };
        self.fault(FaultKind::Value, format!("is {found}, not {wanted}"))
    }

    /// Reads `value` with `read`, as this reader, and comes back.
    fn within<T>(&mut self, value: &'a RawValue, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<T> {
        let outer = std::mem::replace(&mut self.value, value);
        let result = read(self);
        self.value = outer;
        result
    }

    fn members(&self) -> Read<Option<Vec<(Cow<'a, str>, &'a RawValue)>>> {
        match self.bytes().first() {
            Some(b'{') => {
                let members: Members<'a> = serde_json::from_str(self.value.get())
                    .map_err(|e| self.fault(FaultKind::Value, format!("has a key that {}", message(&e))))?;
                Ok(Some(members.0))
            }
            Some(b'n') => Ok(None),
            _ => Err(self.wrong_type("an object")),
        }
    }
}

/// What serde_json says without the place, which is ours to tell.
fn message(e: &serde_json::Error) -> String {
    let text = e.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(what, _)| what.to_owned())
}

/// The byte offset of the line and column that serde_json names.
fn offset(text: &str, e: &serde_json::Error) -> usize {
    let line_start: usize = text.split_inclusive('\n').take(e.line().saturating_sub(1)).map(str::len).sum();
    (line_start + e.column().saturating_sub(1)).min(text.len())
}

impl<'a> Input<'a> for Raw<'a, '_> {
    fn raw_text(&mut self) -> Read<Option<Cow<'a, str>>> {
        Ok(self.parse::<Option<Borrowed<'a>>>("text")?.map(|b| b.0))
    }

    fn integer(&mut self) -> Read<Option<i64>> {
        match self.bytes() {
            b"null" => Ok(None),
            text @ [b'-' | b'0'..=b'9', ..] => {
                number::integer(text).map(Some).map_err(|e| self.fault(FaultKind::Value, e.to_string()))
            }
            _ => Err(self.wrong_type("a number")),
        }
    }

    fn boolean(&mut self) -> Read<Option<bool>> {
        self.parse("true or false")
    }

    fn skip(&mut self) -> Read<()> {
        Ok(())
    }

    fn null(&mut self) -> Read<bool> {
        Ok(self.bytes() == b"null")
    }

    fn object<F: Field>(&mut self, mut member: impl FnMut(&mut Self, F) -> Read<()>) -> Read<bool> {
        let Some(members) = self.members()? else { return Ok(false) };
        let mut met = 0u64;
        for (name, value) in members {
            let Some(field) = F::of(&name) else {
                *self.memory.unknown.entry(format!("{}{name}", F::PLACE)).or_default() += 1;
                continue;
            };
            let bit = field.bit().unwrap_or(0);
            let read = self.within(value, |input| {
                if met & bit != 0 {
                    return Err(input.fault(FaultKind::Value, "belongs to a key that stands here twice"));
                }
                met |= bit;
                member(input, field)
            });
            read.map_err(|fault| fault.inside(key(&name)))?;
        }
        Ok(true)
    }

    fn map(&mut self, mut entry: impl FnMut(&mut Self, Cow<'a, str>) -> Read<()>) -> Read<bool> {
        let Some(members) = self.members()? else { return Ok(false) };
        for (name, value) in members {
            self.within(value, |input| entry(input, name.clone())).map_err(|fault| fault.inside(key(&name)))?;
        }
        Ok(true)
    }

    fn array(&mut self, mut element: impl FnMut(&mut Self, usize) -> Read<()>) -> Read<bool> {
        let elements: Elements<'a> = match self.bytes().first() {
            Some(b'[') => self.parse("an array")?,
            Some(b'n') => return Ok(false),
            _ => return Err(self.wrong_type("an array")),
        };
        for (index, value) in elements.0.into_iter().enumerate() {
            self.within(value, |input| element(input, index))
                .map_err(|fault| fault.inside(format_args!("[{index}]")))?;
        }
        Ok(true)
    }

    fn fault(&self, kind: FaultKind, what: impl Into<String>) -> Box<Fault> {
        let at = self.bytes().as_ptr() as usize - self.base;
        Box::new(Fault { kind, at, path: String::new(), what: what.into() })
    }
}

/// Text that borrows where it can; serde's own `Cow` never does.
struct Borrowed<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Borrowed<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text<'a>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for Text<'a> {
            type Value = Borrowed<'a>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Borrowed(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Borrowed(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text(PhantomData))
    }
}

/// The members of an object in the order of the text, repeated keys included.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object<'a>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for Object<'a> {
            type Value = Members<'a>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<Borrowed<'a>, &'a RawValue>()? {
                    members.push((name.0, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object(PhantomData))
    }
}

/// The elements of an array.
struct Elements<'a>(Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Elements<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Array<'a>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for Array<'a> {
            type Value = Elements<'a>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut elements = Vec::new();
                while let Some(value) = seq.next_element::<&'a RawValue>()? {
                    elements.push(value);
                }
                Ok(Elements(elements))
            }
        }
        deserializer.deserialize_seq(Array(PhantomData))
    }
}
