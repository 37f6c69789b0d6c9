//! Globs over text: for `--job`, and for one component of a path.
//!
//! A glob is translated to a regular expression. The crate globset is not used, because it matches bytes: its `?`
//! matches half of an `ä`.

use regex::Regex;

use crate::error::Usage;

/// A compiled glob: `*` matches any text, `?` one character, `[a-z]` and `[!a-z]` a character class, `{a,b}`
/// alternatives, and a backslash escapes the next character.
#[derive(Debug, Clone)]
pub struct Glob(Regex);

impl Glob {
    /// Compiles a glob.
    ///
    /// # Errors
    /// When the text is not a glob. The message is a predicate without a subject, such as `ends with a backslash`.
    pub fn new(text: &str) -> Result<Glob, Usage> {
        let pattern = format!(r"(?s)\A(?:{})\z", translated(text)?);
        Regex::new(&pattern).map(Glob).map_err(|_| "is too large".into())
    }

    /// Returns true if all of `text` matches.
    pub fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

fn translated(text: &str) -> Result<String, String> {
    let mut pattern = String::with_capacity(text.len() * 2);
    let mut depth = 0;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => pattern.push_str(&literal(chars.next().ok_or("ends with a backslash")?)),
            '*' => {
                while chars.next_if_eq(&'*').is_some() {}
                pattern.push_str(".*");
            }
            '?' => pattern.push('.'),
            '[' => pattern.push_str(&class(&mut chars)?),
            '{' => {
                depth += 1;
                pattern.push_str("(?:");
            }
            '}' if depth > 0 => {
                depth -= 1;
                pattern.push(')');
            }
            '}' => return Err("has a } without a {".into()),
            ',' if depth > 0 => pattern.push('|'),
            c => pattern.push_str(&literal(c)),
        }
    }
    if depth > 0 { Err("has a { without a }".into()) } else { Ok(pattern) }
}

/// Translates a character class after its opening bracket. A `]` at its start belongs to the class.
fn class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<String, String> {
    const OPEN: &str = "has a [ without a ]";
    let is_negated = chars.next_if(|c| matches!(c, '!' | '^')).is_some();
    let mut class = String::from(if is_negated { "[^" } else { "[" });
    let mut is_first = true;
    loop {
        let from = match chars.next().ok_or(OPEN)? {
            ']' if !is_first => break,
            '\\' => chars.next().ok_or(OPEN)?,
            c => c,
        };
        is_first = false;
        // A `-` at the end is literal.
        let is_range = chars.peek() == Some(&'-') && chars.clone().nth(1).is_some_and(|c| c != ']');
        let to = if is_range {
            chars.next();
            match chars.next().ok_or(OPEN)? {
                '\\' => chars.next().ok_or(OPEN)?,
                c => c,
            }
        } else {
            from
        };
        if to < from {
            return Err(format!("has the range {from}-{to}, which is empty"));
        }
        class.push_str(&format!("{}-{}", literal(from), literal(to)));
    }
    class.push(']');
    Ok(class)
}

fn literal(c: char) -> String {
    if c.is_ascii_alphanumeric() { c.to_string() } else { format!(r"\x{{{:x}}}", u32::from(c)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_match_and_not_bytes() -> Result<(), Usage> {
        for (glob, matching, other) in [
            ("t?sk*", "täsk", "tsk"),
            ("????", "日本語😀", "日本語"),
            ("[ä-ü]x", "öx", "ax"),
            ("[!ä]x", "öx", "äx"),
            ("[^ä]x", "öx", "äx"),
            ("*", "", "\0"),
            ("a*c", "a/b\nc", "a/b"),
            ("a**c", "abc", "abd"),
            ("[[]1[]]", "[1]", "11"),
            ("[]a-]", "-", "b"),
            ("[a\\]]", "]", "\\"),
            ("{a,b{c,d}}?", "bdx", "bx"),
            ("\\*\\{", "*{", "a{"),
            ("a.b", "a.b", "axb"),
            ("{,a}b", "b", "a"),
        ] {
            let glob = Glob::new(glob)?;
            assert!(glob.is_match(matching), "{glob:?} {matching}");
            assert!(other == "\0" || !glob.is_match(other), "{glob:?} {other}");
        }
        Ok(())
    }

    #[test]
    fn malformed_globs_are_refused() {
        for wrong in ["[", "[a", "[a-", "[!]", "{a", "a}", "\\", "[z-a]", "{a,{b}", "[a\\"] {
            assert!(Glob::new(wrong).is_err(), "{wrong}");
        }
    }
}
