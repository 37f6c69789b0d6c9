//! Versions of Nomad.

/// The numbers of a version such as `0.11.3`, `v1.10.2+ent` or `1.11.0-beta.1`, to be compared; a missing third number
/// is 0. `None` if the text is not a version.
pub(super) fn numbers(text: &str) -> Option<[u64; 3]> {
    let digits = |part: &str| part.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok());
    let mut parts = text.trim_start_matches('v').splitn(3, '.').map(digits);
    Some([parts.next()??, parts.next()??, parts.next().unwrap_or(Some(0))?])
}
