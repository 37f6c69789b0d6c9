//! JSON values. A seed determines with which white space and escapes they are written.

use proptest::prelude::*;

/// A JSON value that is not serialized yet.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// `null`, `true`, `false` or a number, in its spelling.
    Word(String),
    Text(String),
    Array(Vec<Json>),
    /// In writing order; keys may repeat.
    Object(Vec<(String, Json)>),
}

/// How a value is serialized: a seed for white space and escapes, and their frequency.
#[derive(Debug, Clone)]
pub struct Hand {
    seed: u64,
    spaces: u8,
    escapes: u8,
}

impl Hand {
    fn below(&mut self, n: u64) -> u64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 33) % n
    }

    fn space(&mut self, text: &mut String) {
        while self.below(8) < u64::from(self.spaces) {
            text.push([' ', '\n', '\t', '\r'][self.below(4) as usize]);
        }
    }

    fn write(&mut self, value: &Json, text: &mut String) {
        self.space(text);
        match value {
            Json::Word(word) => text.push_str(word),
            Json::Text(string) => self.string(string, text),
            Json::Array(elements) => {
                text.push('[');
                for (i, element) in elements.iter().enumerate() {
                    if i > 0 {
                        text.push(',');
                    }
                    self.write(element, text);
                }
                if elements.is_empty() {
                    self.space(text);
                }
                text.push(']');
            }
            Json::Object(members) => {
                text.push('{');
                for (i, (key, member)) in members.iter().enumerate() {
                    if i > 0 {
                        text.push(',');
                    }
                    self.space(text);
                    self.string(key, text);
                    self.space(text);
                    text.push(':');
                    self.write(member, text);
                }
                if members.is_empty() {
                    self.space(text);
                }
                text.push('}');
            }
        }
        self.space(text);
    }

    fn string(&mut self, string: &str, text: &mut String) {
        text.push('"');
        for c in string.chars() {
            let short = match c {
                '"' => Some('"'),
                '\\' => Some('\\'),
                '/' => Some('/'),
                '\u{8}' => Some('b'),
                '\u{c}' => Some('f'),
                '\n' => Some('n'),
                '\r' => Some('r'),
                '\t' => Some('t'),
                _ => None,
            };
            let must = c < ' ' || c == '"' || c == '\\';
            if !must && self.below(16) >= u64::from(self.escapes) {
                text.push(c);
                continue;
            }
            match short {
                Some(letter) if self.below(2) == 0 => text.extend(['\\', letter]),
                _ => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        let code = format!("\\u{unit:04x}");
                        text.push_str(&if self.below(2) == 0 {
                            code.to_uppercase().replace("\\U", "\\u")
                        } else {
                            code
                        });
                    }
                }
            }
        }
        text.push('"');
    }
}

/// These values, each followed by `between`.
pub fn written(values: &[Json], mut hand: Hand, between: &str) -> String {
    let mut text = String::new();
    for value in values {
        hand.write(value, &mut text);
        text.push_str(between);
    }
    text
}

/// A random way to write values.
pub fn hand() -> impl Strategy<Value = Hand> {
    (any::<u64>(), 0..5u8, 0..4u8).prop_map(|(seed, spaces, escapes)| Hand { seed, spaces, escapes })
}
