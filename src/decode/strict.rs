//! The strict reader: returns the same records, but parses with serde_json, which validates every byte.
//!
//! `--strict` uses it, and tests compare the fast reader with it. It is simple, and several times slower, because it
//! stores each value as raw text until it is read.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, Visitor};
use serde_json::value::RawValue;

use super::grammar;
use super::key_order::{KeyMemory, Predicted, unknown_name};
use super::number;
use super::value_reader::{FaultKind, LONE_SURROGATE, NOT_UTF8, Read, ReadFault, TWICE, ValueReader, key};
use crate::members::Members;

/// One value as raw text.
#[derive(Debug)]
pub struct Raw<'a, 'm> {
    value: &'a RawValue,
    /// The address that offsets are relative to.
    base: usize,
    memory: &'m mut KeyMemory,
}

impl<'a, 'm> Raw<'a, 'm> {
    /// Wraps `bytes`, which must contain exactly one value.
    ///
    /// # Errors
    /// When the bytes are not JSON, not UTF-8, or contain more than one value.
    pub fn new(bytes: &'a [u8], memory: &'m mut KeyMemory) -> Read<Self> {
        let text = std::str::from_utf8(bytes).map_err(|e| {
            let at = e.valid_up_to();
            let path = grammar::path_to(bytes, 0, at);
            Box::new(ReadFault { kind: FaultKind::Value, at, path, what: NOT_UTF8.into() })
        })?;
        let value = serde_json::from_str(text).map_err(|e| {
            // serde_json reports the error; the grammar check of this program finds its position and path.
            let what = format!("is not JSON: {e}");
            let unlocated = Box::new(ReadFault { kind: FaultKind::Syntax, at: 0, path: String::new(), what });
            grammar::first_fault(bytes, 0, false).unwrap_or(unlocated)
        })?;
        Ok(Raw { value, base: bytes.as_ptr() as usize, memory })
    }

    /// The bytes of the value, without white space around them.
    fn bytes(&self) -> &'a [u8] {
        self.value.get().as_bytes()
    }

    fn wrong_type(&self, wanted: &str) -> Box<ReadFault> {
        let found = match self.bytes().first() {
            Some(b'"') => "text",
            Some(b'{') => "an object",
            Some(b'[') => "an array",
            Some(b't' | b'f') => "true or false",
            _ => "a number",
        };
        self.fault(self.position(), format!("is {found}, not {wanted}"))
    }

    /// Calls `read` with this reader at `value`.
    fn within<T>(&mut self, value: &'a RawValue, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<T> {
        let outer = std::mem::replace(&mut self.value, value);
        let result = read(self);
        self.value = outer;
        result
    }

    /// The raw members of an object; `None` for `null`.
    fn members(&self) -> Read<Option<Vec<(&'a RawValue, &'a RawValue)>>> {
        match self.bytes().first() {
            Some(b'{') => Ok(Some(self.parse::<Members<&'a RawValue, &'a RawValue>>("an object")?.0)),
            Some(b'n') => Ok(None),
            _ => Err(self.wrong_type("an object")),
        }
    }

    /// Parses the value as a type that its first byte allows. The value is known to be valid JSON.
    fn parse<T: Deserialize<'a>>(&self, wanted: &str) -> Read<T> {
        serde_json::from_str(self.value.get()).map_err(|_| self.wrong_type(wanted))
    }

    /// The text of a string, as key or value.
    fn text_of(&self, written: &'a RawValue) -> Read<Cow<'a, str>> {
        // The string is valid JSON and UTF-8, so only a lone surrogate can be wrong.
        let text: Result<Borrowed<'a>, _> = serde_json::from_str(written.get());
        text.map(|text| text.0).map_err(|_| self.fault(self.offset(written), LONE_SURROGATE))
    }

    fn offset(&self, value: &RawValue) -> usize {
        value.get().as_ptr() as usize - self.base
    }
}

impl<'a> ValueReader<'a> for Raw<'a, '_> {
    fn raw_text(&mut self) -> Read<Option<Cow<'a, str>>> {
        match self.bytes().first() {
            Some(b'"') => self.text_of(self.value).map(Some),
            Some(b'n') => Ok(None),
            _ => Err(self.wrong_type("text")),
        }
    }

    fn integer(&mut self) -> Read<Option<i64>> {
        match self.bytes() {
            b"null" => Ok(None),
            text @ [b'-' | b'0'..=b'9', ..] => {
                number::integer(text).map(Some).map_err(|e| self.fault(self.position(), e.to_string()))
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

    fn object<F: Predicted>(&mut self, mut member: impl FnMut(&mut Self, F) -> Read<()>) -> Read<bool> {
        let Some(members) = self.members()? else { return Ok(false) };
        let mut met = 0u64;
        for (written, value) in members {
            let name = self.text_of(written)?;
            let Some(field) = F::from_name(&name) else {
                self.memory.note(unknown_name::<F>(&name));
                continue;
            };
            let bit = field.bit().unwrap_or(0);
            let read = self.within(value, |input| {
                if met & bit != 0 {
                    return Err(input.fault(input.position(), TWICE));
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
        for (written, value) in members {
            let name = self.text_of(written)?;
            self.within(value, |input| entry(input, name.clone())).map_err(|fault| fault.inside(key(&name)))?;
        }
        Ok(true)
    }

    fn array(&mut self, mut element: impl FnMut(&mut Self, usize) -> Read<()>) -> Read<bool> {
        let elements: Vec<&'a RawValue> = match self.bytes().first() {
            Some(b'[') => self.parse("an array")?,
            Some(b'n') => return Ok(false),
            _ => return Err(self.wrong_type("an array")),
        };
        for (index, value) in elements.into_iter().enumerate() {
            self.within(value, |input| element(input, index))
                .map_err(|fault| fault.inside(format_args!("[{index}]")))?;
        }
        Ok(true)
    }

    fn position(&self) -> usize {
        self.offset(self.value)
    }

    fn fault(&self, at: usize, what: impl Into<String>) -> Box<ReadFault> {
        Box::new(ReadFault { kind: FaultKind::Value, at, path: String::new(), what: what.into() })
    }
}

/// Text that is borrowed if possible; serde's own `Cow` is never borrowed.
struct Borrowed<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Borrowed<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor<'a>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for TextVisitor<'a> {
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
        deserializer.deserialize_str(TextVisitor(PhantomData))
    }
}
