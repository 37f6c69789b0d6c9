//! Scans JSON text without parsing it: finds the end of a value, a string or white space.
//!
//! Ignored values (`Job`, `Metrics`, …) are skipped by counting brackets outside of strings, 64 bytes at a time. The
//! positions of quotes, backslashes and brackets become bit masks. A prefix XOR over the quotes marks the insides of
//! strings. Only a block in which the depth can reach zero is scanned bracket by bracket. (After Langdale and Lemire,
//! "Parsing Gigabytes of JSON per Second", 2019, section 3.1.)

/// How many bytes one step of [`Skipper`] processes.
const STEP: usize = 64;

/// The first position at or after `at` that is not JSON white space.
#[inline]
pub fn after_space(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(at) {
        at += 1;
    }
    at
}

/// The first position at or after `at` of a special character in a string: a quote, a backslash or a control character;
/// the length of `bytes` if there is none.
#[inline]
pub fn plain_end(bytes: &[u8], mut at: usize) -> usize {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    // Only the lowest marked byte is used. It is always a real zero, because a borrow can mark a wrong byte only above
    // a real zero.
    let has_zero = |x: u64| x.wrapping_sub(LOW) & !x & HIGH;
    while let Some(eight) = bytes.get(at..at + 8).and_then(|s| s.try_into().ok()) {
        let word = u64::from_le_bytes(eight);
        let quote = has_zero(word ^ (LOW * b'"' as u64));
        let backslash = has_zero(word ^ (LOW * b'\\' as u64));
        let control = word.wrapping_sub(LOW * 0x20) & !word & HIGH;
        let stop = quote | backslash | control;
        if stop != 0 {
            return at + (stop.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while let Some(&b) = bytes.get(at) {
        if b == b'"' || b == b'\\' || b < 0x20 {
            return at;
        }
        at += 1;
    }
    at
}

/// The end of the string whose opening quote is at `at - 1`: the position after its closing quote.
#[inline]
pub fn string_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// The end of the value at `at`, found by its structure alone: the matching bracket outside of strings, the closing
/// quote, or the first character that cannot belong to a number or a literal. The inside is not validated. `None` if
/// the bytes end before the value.
#[inline]
pub fn value_end(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at)? {
        b'"' => string_end(bytes, at + 1),
        b'{' | b'[' => Skipper::default().run(bytes, at),
        _ => {
            let rest = &bytes[at..];
            let is_end =
                |b: &u8| matches!(b, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t' | b':' | b'"' | b'{' | b'[');
            Some(at + rest.iter().position(is_end)?)
        }
    }
}

/// Skips one object or array of any length, in any number of pieces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Skipper {
    depth: u64,
    /// All ones inside a string, else zero.
    in_string: u64,
    /// 1 if the last byte is a backslash that escapes the next byte.
    escaped: u64,
}

impl Skipper {
    /// Continues at `from`; returns the position after the closing bracket, or `None` if the bytes do not contain it.
    pub fn run(&mut self, bytes: &[u8], from: usize) -> Option<usize> {
        let mut at = from;
        while let Some(chunk) = bytes.get(at..at + STEP).and_then(|c| <&[u8; STEP]>::try_from(c).ok()) {
            if let Some(end) = self.step(&Masks::classify(chunk), STEP) {
                return Some(at + end);
            }
            at += STEP;
        }
        let rest = bytes.get(at..).unwrap_or_default();
        if rest.is_empty() {
            return None;
        }
        // Padding with spaces changes neither depth nor strings. Only an escape at the very end depends on the exact
        // length.
        let mut last = [b' '; STEP];
        last[..rest.len()].copy_from_slice(rest);
        self.step(&Masks::classify(&last), rest.len()).map(|end| at + end)
    }

    /// Processes `len` bytes; returns the position after the closing bracket if it is among them.
    #[inline]
    fn step(&mut self, masks: &Masks, len: usize) -> Option<usize> {
        let escaped = self.escapes(masks.backslash, len);
        let strings = prefix_xor(masks.quote & !escaped) ^ self.in_string;
        self.in_string = ((strings as i64) >> 63) as u64;
        let (mut open, mut close) = (masks.open & !strings, masks.close & !strings);
        let closing = u64::from(close.count_ones());
        if self.depth > closing {
            self.depth = self.depth + u64::from(open.count_ones()) - closing;
            return None;
        }
        while close != 0 {
            let end = close.trailing_zeros();
            let before = open & ((1u64 << end) - 1);
            self.depth += u64::from(before.count_ones());
            open &= !before;
            close &= close - 1;
            self.depth = self.depth.saturating_sub(1);
            if self.depth == 0 {
                return Some(end as usize + 1);
            }
        }
        self.depth += u64::from(open.count_ones());
        None
    }

    /// Returns which bytes are escaped: each byte after an odd number of backslashes.
    #[inline]
    fn escapes(&mut self, backslash: u64, len: usize) -> u64 {
        if backslash == 0 && self.escaped == 0 {
            return 0;
        }
        let mut escaped = self.escaped;
        let mut slashes = backslash & !escaped;
        self.escaped = 0;
        while slashes != 0 {
            let at = slashes.trailing_zeros() as usize;
            if at + 1 >= len {
                self.escaped = 1;
                break;
            }
            escaped |= 1 << (at + 1);
            slashes &= !(0b11 << at);
        }
        escaped
    }
}

/// Prefix XOR: each bit says whether the number of quotes up to it is odd. If it is, the byte is in a string, or
/// opens one.
#[inline]
fn prefix_xor(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}

/// The positions of the relevant bytes, as bit masks.
struct Masks {
    quote: u64,
    backslash: u64,
    open: u64,
    close: u64,
}

impl Masks {
    /// Without unsafe code, explicit vector instructions are not available. So a loop that the compiler vectorises
    /// classifies the bytes, and a multiplication gathers the class bits.
    #[inline]
    fn classify(chunk: &[u8; STEP]) -> Masks {
        let mut classes = [0u8; STEP];
        for (class, &b) in classes.iter_mut().zip(chunk) {
            // `[` and `{`, `]` and `}` differ in one bit.
            let folded = b | 0x20;
            *class = u8::from(b == b'"')
                | u8::from(b == b'\\') << 1
                | u8::from(folded == b'{') << 2
                | u8::from(folded == b'}') << 3;
        }
        let mut masks = Masks { quote: 0, backslash: 0, open: 0, close: 0 };
        for (i, eight) in classes.as_chunks::<8>().0.iter().enumerate() {
            let word = u64::from_le_bytes(*eight);
            let gather = |bit: u32| gathered(word >> bit) << (8 * i);
            masks.quote |= gather(0);
            masks.backslash |= gather(1);
            masks.open |= gather(2);
            masks.close |= gather(3);
        }
        masks
    }
}

/// The lowest bit of each of the eight bytes, as the lowest eight bits.
#[inline]
fn gathered(word: u64) -> u64 {
    // The bit of byte i, at 8i, is moved to 56+i by the factor's 2^(56-7i); no other product affects these bits.
    (word & 0x0101_0101_0101_0101).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The result of [`Skipper::run`], computed byte by byte.
    fn plain_skip(bytes: &[u8]) -> Option<usize> {
        let (mut depth, mut in_string, mut escaped) = (0u32, false, false);
        for (i, &b) in bytes.iter().enumerate() {
            match b {
                _ if escaped => escaped = false,
                b'\\' if in_string => escaped = true,
                b'"' => in_string = !in_string,
                b'{' | b'[' if !in_string => depth += 1,
                b'}' | b']' if !in_string => {
                    depth -= 1;
                    if depth == 0 {
                        return Some(i + 1);
                    }
                }
                _ => {}
            }
        }
        None
    }

    #[test]
    fn skips_like_a_byte_by_byte_scan_at_every_cut() {
        let mut text = String::from(r#"{"a":"}]\"\\","b":[1,{"c":"\\\\\""},[]],"long":""#);
        for i in 0..300 {
            text.push_str(if i % 7 == 0 { r#"\\\""# } else { "x}" });
        }
        text.push_str(r#"","d":{"e":[[[["deep"]]]]}} , {"next":1}"#);
        let bytes = text.as_bytes();
        let expected = plain_skip(bytes);
        assert!(expected.is_some_and(|end| end < bytes.len()));
        assert_eq!(value_end(bytes, 0), expected);
        for cut in 0..bytes.len() {
            let mut skipper = Skipper::default();
            let end = match skipper.run(&bytes[..cut], 0) {
                Some(end) => Some(end),
                None => skipper.run(bytes, cut),
            };
            assert_eq!(end, expected, "cut at {cut}");
        }
    }

    #[test]
    fn ends_plain_text_at_quote_backslash_or_control_character() {
        for stop in [b'"', b'\\', b'\n', 0x1f] {
            for len in 0..40 {
                let mut bytes = vec![b'a'; len];
                bytes.push(stop);
                bytes.extend_from_slice("é\"\"".as_bytes());
                assert_eq!(plain_end(&bytes, 0), len);
            }
        }
        assert_eq!(plain_end("äöü".as_bytes(), 0), 6);
    }

    #[test]
    fn ends_scalars_at_the_first_byte_that_cannot_continue_them() {
        assert_eq!(value_end(b"-Inf,", 0), Some(4));
        assert_eq!(value_end(b"12 ,", 0), Some(2));
        assert_eq!(value_end(br#""a\"b" "#, 0), Some(6));
        assert_eq!(value_end(br#""open"#, 0), None);
        assert_eq!(value_end(b"12", 0), None);
    }
}
