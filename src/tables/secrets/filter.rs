//! Prefilter: one pass over the bytes of a text decides whether it may hold a secret. Most of the millions of event
//! texts hold none, and the regular expressions would take twenty times as long.
//!
//! Every secret contains a sign: one of certain trigrams, or a long word. Each trigram is one bit of a map. The index
//! of the bit consists of the classes of the trigram's three characters.

use std::sync::LazyLock;

/// Trigrams in lower case. Every text that a rule matches contains one of them or a long word. They were chosen because
/// they are rare in other texts.
const SIGNS: [&[&str]; 6] = [
    // Names: password and passwd, passphrase, pwd, secret, token, key, credential.
    &["ssw", "ssp", "pwd", "ecr", "oke", "key", "tia"],
    // sig and signature: their last two letters with the next character, because the letters alone are in common words.
    &["ig=", "ig:", "ig\"", "ig'", "ig%", "ig ", "re=", "re:", "re\"", "re'", "re%"],
    // HTTP and commands: authorization, bearer, basic, curl.
    &["hor", "rer", "asi", "url"],
    // URLs: their slashes, percent-encoding, and addresses of databases.
    &["://", ":\\/", ":\\\\", "%3a", "%25", "%40", "u00", "@tc", "@un"],
    // AWS keys, JSON Web Tokens, Vault tokens.
    &["kia", "aro", "aid", "agp", "anp", "anv", "abi", "acc", "eyj", "hvs", "hvb", "hvr", "hvp"],
    // Tokens and webhooks of other services.
    &[
        "xox", "xap", "hp_", "ho_", "hu_", "hs_", "hr_", "b_p", "lpa", "aiz", "a29", "k_l", "k_t", "npm", "ckr", "sg.",
        "ebh", "oks", "bot",
    ],
];
/// A base64 word of this length may be a secret even if it contains none of the trigrams.
const LONG: usize = 24;

/// The class of a byte: 6 bits, the same for upper and lower case.
const fn class(byte: u8) -> u32 {
    match byte {
        b'a'..=b'z' => (byte - b'a') as u32,
        b'A'..=b'Z' => (byte - b'A') as u32,
        b'0'..=b'9' => 26 + (byte - b'0') as u32,
        b'=' => 36,
        b':' => 37,
        b'"' => 38,
        b'\'' => 39,
        b'%' => 40,
        b' ' => 41,
        b'\\' => 42,
        b'/' => 43,
        b'@' => 44,
        b'_' => 45,
        b'.' => 46,
        b'-' => 47,
        b'+' => 48,
        _ => 63,
    }
}

const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = class(byte as u8) as u8;
        byte += 1;
    }
    classes
};

/// One bit per trigram. The index of a bit consists of the classes of the three characters.
static MAP: LazyLock<Vec<u64>> = LazyLock::new(|| {
    let mut map = vec![0; 1 << 12];
    for sign in SIGNS.into_iter().flatten() {
        let three = sign.bytes().fold(0, |three, byte| three << 6 | class(byte));
        map[(three >> 6) as usize] |= 1u64 << (three & 63);
    }
    map
});

/// Returns false if a text certainly contains no secret.
pub fn may_hold_secret(text: &str) -> bool {
    let map = MAP.as_slice();
    let mut three = 0;
    let has_sign = text.bytes().any(|byte| {
        three = (three << 6 | u32::from(CLASSES[usize::from(byte)])) & 0x3_FFFF;
        map[(three >> 6) as usize] >> (three & 63) & 1 == 1
    });
    has_sign || has_long_word(text.as_bytes())
}

/// Returns true if a text contains a base64 word of at least [`LONG`] characters. Only every [`LONG`]-th position is
/// checked, because such a word covers at least one of them.
fn has_long_word(bytes: &[u8]) -> bool {
    let is_word = |byte: &&u8| CLASSES[usize::from(**byte)] < 36 || matches!(byte, b'/' | b'+');
    let covered = |at: usize| {
        let (before, after) = bytes.split_at(at);
        before.iter().rev().take_while(is_word).count() + after.iter().take_while(is_word).count() >= LONG
    };
    (LONG - 1..bytes.len()).step_by(LONG).any(|at| is_word(&&bytes[at]) && covered(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_messages_pass_the_filter() {
        for text in [
            "Task started by client",
            "Task received by client",
            "Building Task Directory",
            "Exit Code: 1, Signal: 9, Exit Message: \"OOM Killed\"",
            "Task restarting in 15.734591239s",
            "Restart within policy",
            "Client is downloading artifacts",
            r#"{"exit_code":"137","oom_killed":"true","signal":"9"}"#,
            r#"{"restart_reason":"Restart within policy","start_delay":"15734591239"}"#,
            "Exceeded allowed attempts 2 in interval 30m0s and mode is \"fail\"",
            "Tasks are running",
        ] {
            assert!(!may_hold_secret(text), "{text}");
        }
    }

    #[test]
    fn words_are_long_wherever_they_are() {
        for start in 0..60 {
            for len in [LONG - 1, LONG, 2 * LONG + 1] {
                let text =
                    format!("{}{}{}", " ".repeat(start), "z/+1".repeat(20).split_at(len).0, " ".repeat(60 - start));
                assert_eq!(may_hold_secret(&text), len >= LONG, "{text:?}");
            }
        }
    }
}
