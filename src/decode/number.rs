//! JSON numbers as exact integers.
//!
//! Nomad's nanoseconds exceed 2^53, so they are never converted to floats. Number text with a fraction or exponent
//! (from old `jq` or scripts) is accepted if its value is an integer.

/// Why a JSON number cannot be read as an integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAnInteger {
    /// Not the grammar of RFC 8259, section 6.
    #[error("is not a JSON number")]
    Syntax,
    /// It has a fraction.
    #[error("is not a whole number")]
    Fraction,
    /// It does not fit a signed 64-bit integer.
    #[error("does not fit a signed 64-bit integer")]
    Range,
}

/// Reads the number at the start of `text` if it consists of at most 19 digits, as nearly all of Nomad's numbers do.
/// Returns its value and its number of digits. `None` means "use [`integer`]", not "invalid".
#[inline]
pub fn plain(text: &[u8]) -> Option<(i64, usize)> {
    let (mut value, mut len) = (0u64, 0);
    while len < 16
        && let Some(eight) = text.get(len..len + 8).and_then(|digits| digits.try_into().ok())
        && let Some(digits) = eight_digits(u64::from_le_bytes(eight))
    {
        value = value * 100_000_000 + digits;
        len += 8;
    }
    while let Some(digit @ b'0'..=b'9') = text.get(len) {
        if len == 19 {
            return None;
        }
        value = value * 10 + u64::from(digit - b'0');
        len += 1;
    }
    if len == 0 || (len > 1 && text[0] == b'0') {
        return None;
    }
    // 19 digits always fit an unsigned 64-bit integer, but not always a signed one.
    i64::try_from(value).ok().map(|value| (value, len))
}

/// The value of eight decimal digits, the first in the lowest byte; `None` if a byte is not a digit.
#[inline]
fn eight_digits(text: u64) -> Option<u64> {
    const HIGH_NIBBLES: u64 = 0xF0F0_F0F0_F0F0_F0F0;
    let digits = text ^ 0x3030_3030_3030_3030;
    // The byte of a digit is now 0 to 9. The byte of any other character has a bit in its high nibble, or is 10 to
    // 15. Adding 6 to a byte from 10 to 15 sets a bit in its high nibble.
    if (digits | (digits & !HIGH_NIBBLES).wrapping_add(0x0606_0606_0606_0606)) & HIGH_NIBBLES != 0 {
        return None;
    }
    // Combine adjacent digits to numbers of two, four and eight digits.
    let twos = (digits * 10 + (digits >> 8)) & 0x00FF_00FF_00FF_00FF;
    let fours = (twos * 100 + (twos >> 16)) & 0x0000_FFFF_0000_FFFF;
    Some((fours * 10_000 + (fours >> 32)) & 0xFFFF_FFFF)
}

/// Returns true if the text is a JSON number.
pub fn is_number(text: &[u8]) -> bool {
    integer(text) != Err(NotAnInteger::Syntax)
}

/// The exact value of a JSON number's text.
///
/// # Errors
/// When the text is not a JSON number, not an integer, or too large.
pub fn integer(text: &[u8]) -> Result<i64, NotAnInteger> {
    let (negative, rest) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let digits = |b: &[u8]| b.iter().take_while(|d| d.is_ascii_digit()).count();
    let whole = digits(rest);
    if whole == 0 || (whole > 1 && rest[0] == b'0') {
        return Err(NotAnInteger::Syntax);
    }
    let (whole, rest) = rest.split_at(whole);
    let (fraction, rest) = match rest {
        [b'.', rest @ ..] => {
            let n = digits(rest);
            if n == 0 {
                return Err(NotAnInteger::Syntax);
            }
            rest.split_at(n)
        }
        _ => (&[][..], rest),
    };
    let exponent = match rest {
        [] => 0,
        [b'e' | b'E', rest @ ..] => exponent(rest)?,
        _ => return Err(NotAnInteger::Syntax),
    };
    scaled(negative, whole, fraction, exponent)
}

/// The exponent after `e`, clamped to ±10,000. Beyond these bounds, a number is an integer that fits only if all of its
/// digits are zero.
fn exponent(text: &[u8]) -> Result<i64, NotAnInteger> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(NotAnInteger::Syntax);
    }
    let size = digits.iter().fold(0i64, |n, d| (n * 10 + i64::from(d - b'0')).min(10_000));
    Ok(if negative { -size } else { size })
}

/// `whole.fraction × 10^exponent`, if it is an integer that fits.
fn scaled(negative: bool, whole: &[u8], fraction: &[u8], exponent: i64) -> Result<i64, NotAnInteger> {
    let all = whole.iter().chain(fraction).map(|d| d - b'0');
    // How many digits are before the decimal point after applying the exponent.
    let kept = whole.len() as i64 + exponent;
    let mut value = 0i128;
    let mut count = 0i64;
    for digit in all {
        count += 1;
        if count > kept {
            if digit != 0 {
                return Err(NotAnInteger::Fraction);
            }
        } else {
            value = value * 10 + i128::from(digit);
            if value > i128::from(u64::MAX) {
                return Err(NotAnInteger::Range);
            }
        }
    }
    while count < kept && value != 0 {
        count += 1;
        value *= 10;
        if value > i128::from(u64::MAX) {
            return Err(NotAnInteger::Range);
        }
    }
    i64::try_from(if negative { -value } else { value }).map_err(|_| NotAnInteger::Range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_whole_numbers_exactly_in_any_notation() {
        for (text, value) in [
            ("0", 0),
            ("-0", 0),
            ("-12", -12),
            ("1795458551898620217", 1_795_458_551_898_620_217),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
            ("1.4957473717957038e18", 1_495_747_371_795_703_800),
            ("1.4957473717957038E+18", 1_495_747_371_795_703_800),
            ("12.000", 12),
            ("1200e-2", 12),
            ("0e99999999999", 0),
            ("0.0e-5", 0),
        ] {
            assert_eq!(integer(text.as_bytes()), Ok(value), "{text}");
        }
    }

    #[test]
    fn plain_digits_are_read_as_the_exact_reader_does() {
        for text in
            ["0", "7", "12", "12345678", "99999999", "1234567890123456", "1795458551898620217", "9223372036854775807"]
        {
            let expected = integer(text.as_bytes()).map(|value| (value, text.len())).ok();
            assert_eq!(plain(text.as_bytes()), expected, "{text}");
            for behind in [",", "}", "x12345678", ":", "/", ".5", "e3"] {
                assert_eq!(plain(format!("{text}{behind}").as_bytes()), expected, "{text}{behind}");
            }
        }
        for text in ["", "x", "-1", "01", "00000000", "9223372036854775808", "12345678901234567890", ":1234567"] {
            assert_eq!(plain(text.as_bytes()), None, "{text}");
        }
        for byte in 0..=255 {
            for at in 0..8 {
                let mut eight = *b"12345678";
                eight[at] = byte;
                let expected = str::from_utf8(&eight).ok().and_then(|text| text.parse().ok());
                let expected = expected.filter(|_| byte.is_ascii_digit());
                assert_eq!(eight_digits(u64::from_le_bytes(eight)), expected, "{byte} at {at}");
            }
        }
    }

    #[test]
    fn explains_why_it_is_not_a_number() {
        for text in ["", "-", "01", "1.", ".5", "1e", "1e+", "+1", "-Inf", "NaN", "0x1", "1_0", "1e1.5"] {
            assert_eq!(integer(text.as_bytes()), Err(NotAnInteger::Syntax), "{text}");
        }
        for text in ["1.5", "15e-1", "1e-400"] {
            assert_eq!(integer(text.as_bytes()), Err(NotAnInteger::Fraction), "{text}");
        }
        for text in ["9223372036854775808", "1e19", "1e400", "123456789012345678901234567890"] {
            assert_eq!(integer(text.as_bytes()), Err(NotAnInteger::Range), "{text}");
        }
    }
}
