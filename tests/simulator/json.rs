//! JSON as Nomad's encoders write it. `serde_json` cannot be used, because key order, spacing and escapes matter
//! here.

/// A value. Objects keep the order of their keys.
#[derive(Debug, Clone)]
pub enum Json {
    Null,
    Bool(bool),
    Int(i64),
    /// A number, as it is written.
    Number(String),
    Text(String),
    List(Vec<Json>),
    Map(Vec<(String, Json)>),
}

impl From<bool> for Json {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Json {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<&str> for Json {
    fn from(value: &str) -> Self {
        Self::Text(value.into())
    }
}

impl From<&String> for Json {
    fn from(value: &String) -> Self {
        Self::Text(value.clone())
    }
}

impl From<String> for Json {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl<T: Into<Json>> From<Option<T>> for Json {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// An object with these keys, in this order.
pub fn object<const N: usize>(pairs: [(&str, Json); N]) -> Vec<(String, Json)> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

impl Json {
    /// Returns true for values that Nomad omits from full allocations.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Null | Self::Bool(false) | Self::Int(0) => true,
            Self::Text(text) => text.is_empty(),
            Self::List(items) => items.is_empty(),
            Self::Map(pairs) => pairs.is_empty(),
            _ => false,
        }
    }

    /// Returns the value with the keys of every object sorted.
    pub fn sorted(self) -> Self {
        match self {
            Self::List(items) => Self::List(items.into_iter().map(Self::sorted).collect()),
            Self::Map(pairs) => {
                let mut pairs: Vec<_> = pairs.into_iter().map(|(key, value)| (key, value.sorted())).collect();
                pairs.sort_by(|a, b| a.0.cmp(&b.0));
                Self::Map(pairs)
            }
            other => other,
        }
    }
}

/// How values are serialized.
#[derive(Debug, Clone, Copy)]
pub struct Print {
    /// The number of spaces per level; `None` writes all on one line.
    pub indent: Option<usize>,
    /// Whether `<`, `>` and `&` are escaped as Go's `encoding/json` does.
    pub escape_html: bool,
}

impl Print {
    /// Appends a value at this depth.
    pub fn value(&self, value: &Json, depth: usize, out: &mut Vec<u8>) {
        match value {
            Json::Null => out.extend(b"null"),
            Json::Bool(value) => out.extend(value.to_string().bytes()),
            Json::Int(value) => out.extend(value.to_string().bytes()),
            Json::Number(digits) => out.extend(digits.bytes()),
            Json::Text(text) => self.text(text, out),
            Json::List(items) => {
                self.enclosed(b"[]", items.iter(), depth, out, |item, out| self.value(item, depth + 1, out));
            }
            Json::Map(pairs) => self.enclosed(b"{}", pairs.iter(), depth, out, |(key, value), out| {
                self.text(key, out);
                out.extend(if self.indent.is_some() { b": ".as_slice() } else { b":" });
                self.value(value, depth + 1, out);
            }),
        }
    }

    fn enclosed<T>(
        &self,
        ends: &[u8; 2],
        items: impl ExactSizeIterator<Item = T>,
        depth: usize,
        out: &mut Vec<u8>,
        mut each: impl FnMut(T, &mut Vec<u8>),
    ) {
        let some = items.len() > 0;
        out.push(ends[0]);
        for (i, item) in items.enumerate() {
            if i > 0 {
                out.push(b',');
            }
            self.line(depth + 1, out);
            each(item, out);
        }
        if some {
            self.line(depth, out);
        }
        out.push(ends[1]);
    }

    /// A line break at this depth, if there are line breaks.
    pub fn line(&self, depth: usize, out: &mut Vec<u8>) {
        if let Some(indent) = self.indent {
            out.push(b'\n');
            out.extend(std::iter::repeat_n(b' ', indent * depth));
        }
    }

    fn text(&self, text: &str, out: &mut Vec<u8>) {
        out.push(b'"');
        for c in text.chars() {
            match c {
                '"' => out.extend(b"\\\""),
                '\\' => out.extend(b"\\\\"),
                '\n' => out.extend(b"\\n"),
                '\r' => out.extend(b"\\r"),
                '\t' => out.extend(b"\\t"),
                '<' | '>' | '&' if !self.escape_html => out.push(c as u8),
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..' ' => {
                    out.extend(format!("\\u{:04x}", c as u32).bytes());
                }
                c => out.extend(c.encode_utf8(&mut [0; 4]).bytes()),
            }
        }
        out.push(b'"');
    }
}
