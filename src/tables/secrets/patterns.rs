//! The regular expressions that find secrets, or the start of a secret. All of them match bytes, without Unicode classes, and take
//! time linear in the length of a text.

use std::sync::LazyLock;

use regex::bytes::Regex;

/// Names of secrets. Each may be the end of a longer name: `DB_PASSWORD`, `X-Vault-Token`, `clientSecret`.
const NAMES: &str = "passwords?|passwd|passphrase|pwd|secret|token|credentials?|secret[_.-]?id|sig|signature|\
    (?:api|access|secret|private|encryption|encrypt|account|shared|auth|signing|gossip|session|license|master|storage)\
    [_.-]?key";

/// A blank between a name and its value: a space, a tab, or the UTF-8 bytes of another Unicode space, such as the
/// no-break space of a copied text.
const BLANK: &str = r"(?:[ \t]|\xc2\xa0|\xe1\x9a\x80|\xe2\x80[\x80-\x8a\xaf]|\xe2\x81\x9f|\xe3\x80\x80)";

#[allow(clippy::expect_used)] // the patterns are constants, and a test compiles each of them
fn compiled(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a pattern of ours")
}

/// Matches every text that contains a secret. Nearly all texts do not match and need no further check.
pub static TRIGGER: LazyLock<Regex> = LazyLock::new(|| {
    compiled(
        r"(?i-u)passw|passphrase|pwd|secret|token|key|credential|\bsig|authorization|bearer|basic|curl\b|:\\+/|%(?:25)?3a|%(?:25)?40|u00(?:2f|26)|@(?:tcp|unix)\(|akia|asia|aroa|aida|agpa|anpa|anva|abia|acca|eyj|\bhv[a-z]\.|xox|xapp-|gh[pousr]_|github_pat|glpat|aiza|ya29|k_(?:live|test)_|npm_|dckr_|\bsg\.|hooks\.slack|webhook|bot[0-9]|://[^\s]*[;#]|[a-z0-9/+]{40}|\b[sbr]\.[a-z0-9]{24}",
    )
});

/// Secrets that have a recognisable form. If an expression has a group, group 1 is the secret; otherwise the whole
/// match is. Each expression is searched separately, because the search for one secret in a combined expression would
/// look ahead for the other secrets again and again.
pub static TOKENS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let patterns = [
        // AWS: IDs of keys, of temporary keys and of their owners.
        r"\b(?:AKIA|ASIA|AROA|AIDA|AGPA|ANPA|ANVA|ABIA|ACCA)[A-Z0-9]{16}\b",
        // JSON Web Tokens, signed or encrypted.
        r"\beyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*){1,4}",
        // Vault: tokens since version 1.10, and older ones.
        r"\bhv[a-z]\.[A-Za-z0-9_-]{10,}",
        r"\b[sbr]\.[A-Za-z0-9]{24}\b",
        // Slack, GitHub, GitLab, Google, Stripe, npm, Docker Hub, SendGrid.
        r"\bxox[a-z]-[A-Za-z0-9-]{8,}",
        r"\bxapp-[A-Za-z0-9-]{8,}",
        r"\bgh[pousr]_[A-Za-z0-9]{20,}",
        r"\bgithub_pat_[A-Za-z0-9_]{20,}",
        r"\bglpat-[A-Za-z0-9_.-]{16,}",
        r"\bAIza[A-Za-z0-9_-]{35}",
        r"\bya29\.[A-Za-z0-9_-]{20,}",
        r"\b[sr]k_(?:live|test)_[A-Za-z0-9]{10,}",
        r"\bnpm_[A-Za-z0-9]{30,}",
        r"\bdckr_[a-z]{3}_[A-Za-z0-9_-]{20,}",
        r"\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",
        // Webhook addresses, which are themselves secrets: Slack, Discord, Teams and Telegram.
        r"(?i:hooks\.slack\.com(?:\\*/|%2f)(?:services|workflows|triggers)(?:\\*/|%2f)((?:[A-Za-z0-9_-]|\\*/|%2f)+))",
        r"(?i:discord(?:app)?\.com\\*/api\\*/webhooks\\*/((?:[A-Za-z0-9_-]|\\*/)+))",
        r"(?i:webhook\.office\.com\\*/webhookb?2?\\*/((?:[A-Za-z0-9@_-]|\\*/)+))",
        r"\bbot[0-9]{6,}:[A-Za-z0-9_-]{30,}",
        // The user and password in the address of a Go database driver.
        r"(?i:[a-z0-9_.-]+:([^\s:@/]+)@(?:tcp|unix)\()",
    ];
    patterns.iter().map(|pattern| compiled(&format!("(?-u){pattern}"))).collect()
});

/// The start of a private key. Its end is searched separately.
pub static PRIVATE_KEY: LazyLock<Regex> = LazyLock::new(|| compiled(r"(?-u)-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----"));

/// A name of a secret, up to its value.
pub static NAMED: LazyLock<Regex> = LazyLock::new(|| {
    compiled(&format!(
        r#"(?i-u)({NAMES})[0-9]{{0,3}}(\\*["'`]\]?)?{BLANK}{{0,4}}(=>|=|:=|:|%3d|%3a){BLANK}{{0,4}}(\[?)"#
    ))
});

/// A flag whose value is a secret. The value is the next word, or the next element of a list.
pub static FLAG: LazyLock<Regex> = LazyLock::new(|| {
    compiled(&format!(
        r#"(?i-u)(?:^|[\s"'`\[,(=]|{BLANK})--?[a-z0-9_.-]{{0,64}}?(?:{NAMES})[0-9]{{0,3}}(?:{BLANK}+|\\*["'`]{BLANK}{{0,4}},?{BLANK}{{1,4}}|\\*["'`],)"#
    ))
});

/// The Authorization header with its scheme.
pub static AUTHORIZATION: LazyLock<Regex> = LazyLock::new(|| {
    compiled(&format!(
        r#"(?i-u)authorization\\*["'`]?{BLANK}{{0,4}}[:=]{BLANK}{{0,4}}\[?\\*(["'`])?(?:(basic|bearer|token|apikey|digest|negotiate|ntlm|aws4-hmac-sha256){BLANK}+)?"#,
    ))
});

/// Credentials after an authentication scheme, outside of a header.
pub static SCHEME: LazyLock<Regex> =
    LazyLock::new(|| compiled(&format!(r"(?i-u)\b(?:bearer|basic){BLANK}+([A-Za-z0-9._~+/=-]{{8,}})")));

/// `curl -u user:`.
pub static CURL_USER: LazyLock<Regex> = LazyLock::new(|| {
    compiled(&format!(
        r#"(?i-u)\bcurl\b[^\n]{{0,100}}?(?:[\s"']|{BLANK})(?:-u|--user|--proxy-user)(?:{BLANK}+|=|["'],{BLANK}{{0,4}})["']?[^\s:"']{{1,64}}:"#,
    ))
});

/// The separator between scheme and host of a URL, plain or as escaped in JSON or in a query.
pub static SLASHES: LazyLock<Regex> =
    LazyLock::new(|| compiled(r"(?i-u)(?::|%3a|%253a)(?:\\{0,8}/|\\{1,8}u002f|%2f|%252f){2}"));

/// A URL parameter whose value is a secret, with the names that the first stage uses.
pub static PARAMETER: LazyLock<Regex> = LazyLock::new(|| {
    compiled(
        r"(?i-u)(?:[?&;#]|u0026|%3f|%26|%3b|%23)[a-z0-9_.~+-]*?(?:key|token|secret|password|signature|sig|credential)[a-z0-9_.~+-]*(?:=|%3d)",
    )
});

/// Words of 40 characters or more that may be base64.
pub static WORD: LazyLock<Regex> = LazyLock::new(|| compiled(r"(?-u)[A-Za-z0-9/+]{40,}"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_compiles() {
        assert!(TOKENS.len() > 10);
        for pattern in
            [&TRIGGER, &PRIVATE_KEY, &NAMED, &FLAG, &AUTHORIZATION, &SCHEME, &CURL_USER, &SLASHES, &PARAMETER, &WORD]
        {
            assert!(!pattern.as_str().is_empty());
        }
    }
}
