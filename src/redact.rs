//! Pseudonyms for names, so that a result can be given to others.
//!
//! A pseudonym is the beginning of an HMAC-SHA-256 of the name, with a key that only the user has. Without the key, a
//! guessed name cannot be compared with a pseudonym. Equal names have equal pseudonyms, so every count and every join
//! stays the same. Values that are not a name, an ID or a free text (times, numbers, states, types) stay unchanged.

mod document;
mod key;
mod rows;
mod texts;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, OnceLock, PoisonError};

use ring::hmac;
use uuid::Uuid;

use crate::tables::beginning_of_id;

/// The kind of object that has a name. Equal texts of two kinds have different pseudonyms. So a pseudonym does not
/// show, for example, that a job has the same name as its namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum NameKind {
    Region,
    Namespace,
    Job,
    TaskGroup,
    Task,
    Allocation,
    Node,
    NodeClass,
    NodePool,
    Datacenter,
    /// Where a document came from: a path, or an address.
    Source,
}

impl NameKind {
    /// The prefix of the pseudonyms of this kind.
    fn prefix(self) -> &'static str {
        match self {
            NameKind::Region => "region",
            NameKind::Namespace => "ns",
            NameKind::Job => "job",
            NameKind::TaskGroup => "group",
            NameKind::Task => "task",
            NameKind::Allocation => "allocation",
            NameKind::Node => "node",
            NameKind::NodeClass => "class",
            NameKind::NodePool => "pool",
            NameKind::Datacenter => "dc",
            NameKind::Source => "source",
        }
    }
}

/// Names that reveal nothing and stay unchanged: the empty name, the name of Nomad's first namespace and node pool, and
/// `*` for all namespaces.
const KEPT: [&str; 3] = ["", "default", "*"];

/// The texts that follow the parent's ID in the ID of a job's child, in the order in which `job_runs` searches for
/// them.
const CHILDREN: [&str; 2] = ["/dispatch-", "/periodic-"];

/// Letters and digits of pseudonyms (RFC 4648, in lower case).
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Characters after the prefix of a pseudonym: 60 bits. So the probability that any two of a million names have the
/// same pseudonym is below 10^-6.
const NAME: usize = 12;

/// Characters of a tag: 40 bits. A tag distinguishes texts that were dropped.
const TAG: usize = 8;

/// Maximum number of names that a search remembers.
const MOST_FOUND: usize = 1_000;

/// Replaces names by pseudonyms.
pub struct Redactor {
    key: hmac::Key,
    /// A permutation of all values of `text_hash`.
    hashes: OnceLock<Vec<u16>>,
    search: Option<Search>,
}

/// A search for the allocations and jobs whose names begin with a text, before the names are replaced.
struct Search {
    text: String,
    /// The text as the beginning of an ID without hyphens; `None` if it cannot be the beginning of an ID.
    digits: Option<String>,
    /// Names with their pseudonyms.
    found: Mutex<BTreeMap<String, String>>,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redactor")
    }
}

impl Redactor {
    /// A redactor with this key. The key may have any length.
    pub fn new(key: &[u8]) -> Redactor {
        Redactor { key: hmac::Key::new(hmac::HMAC_SHA256, key), hashes: OnceLock::new(), search: None }
    }

    /// The same redactor, which also remembers the allocations and jobs whose names begin with `text`; see
    /// [`Redactor::found`].
    pub fn searching(self, text: &str) -> Redactor {
        let search =
            Search { text: text.to_owned(), digits: beginning_of_id(text), found: Mutex::new(BTreeMap::new()) };
        Redactor { search: Some(search), ..self }
    }

    /// The names of allocations and jobs that begin with the searched text, with their pseudonyms. Only rows that were
    /// already redacted are searched.
    pub fn found(&self) -> BTreeMap<String, String> {
        let found =
            self.search.as_ref().map(|search| search.found.lock().unwrap_or_else(PoisonError::into_inner).clone());
        found.unwrap_or_default()
    }

    /// A name of the key that does not reveal the key: 16 hex digits. Pseudonyms can be compared if their keys have
    /// equal names.
    pub fn key_name(&self) -> String {
        hex(&self.mac("key", "")[..8])
    }

    /// The pseudonym of a name. An empty name, `default` and `*` stay unchanged. The ID of a job's child keeps its
    /// form.
    pub fn name(&self, kind: NameKind, text: &str) -> String {
        if KEPT.contains(&text) {
            return text.to_owned();
        }
        if kind == NameKind::Job {
            for child in CHILDREN {
                if let Some((parent, rest)) = text.split_once(child).filter(|(parent, _)| !parent.is_empty()) {
                    return format!("{}{child}{}", self.name(kind, parent), self.child(rest));
                }
            }
        }
        let prefix = kind.prefix();
        format!("{prefix}-{}", base32(&self.mac(prefix, text), NAME))
    }

    /// The pseudonym of the last part of a child job's ID. That part is `<time>` in the ID of a periodic child, and
    /// `<time>-<digits>` in the ID of a dispatched child. The time stays, the digits are mapped, and a text of another
    /// form is replaced.
    fn child(&self, rest: &str) -> String {
        let (time, digits) = rest.split_once('-').unwrap_or((rest, ""));
        let is_time = !time.is_empty() && time.bytes().all(|b| b.is_ascii_digit());
        let is_id = digits.bytes().all(|b| b.is_ascii_hexdigit());
        match (is_time && is_id, digits.is_empty()) {
            (true, true) if !rest.contains('-') => rest.to_owned(),
            (true, false) => format!("{time}-{}", hex(&self.mac("dispatch", digits)[..4])),
            _ => base32(&self.mac("child", rest), NAME),
        }
    }

    /// The pseudonym of an ID, in the form of a UUID. An empty ID stays empty.
    pub fn id(&self, text: &str) -> String {
        if text.is_empty() {
            return String::new();
        }
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&self.mac("id", text)[..16]);
        Uuid::from_bytes(bytes).hyphenated().to_string()
    }

    /// The name of an allocation, `<job>.<group>[<index>]`, made of the pseudonyms of its job and group.
    pub fn allocation_name(&self, name: &str, job: Option<&str>, group: Option<&str>) -> String {
        let is_index = |rest: &str| {
            rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).is_some_and(|n| n.parse::<u64>().is_ok())
        };
        let parts = job.zip(group).and_then(|(job, group)| {
            let rest = name.strip_prefix(job)?.strip_prefix('.')?.strip_prefix(group)?;
            is_index(rest)
                .then(|| format!("{}.{}{rest}", self.name(NameKind::Job, job), self.name(NameKind::TaskGroup, group)))
        });
        parts.unwrap_or_else(|| {
            let at = name.rfind('[').filter(|at| is_index(&name[*at..])).unwrap_or(name.len());
            format!("{}{}", self.name(NameKind::Allocation, &name[..at]), &name[at..])
        })
    }

    /// The pseudonym of a hash of a document: 32 hex digits.
    pub fn content_hash(&self, hash: &str) -> String {
        hex(&self.mac("content", hash)[..16])
    }

    /// The pseudonym of a `text_hash`: two hashes are equal if and only if their pseudonyms are equal.
    pub fn text_hash(&self, hash: i32) -> i32 {
        let hashes = self.hashes.get_or_init(|| self.permutation());
        u16::try_from(hash).map_or(hash, |hash| hashes[usize::from(hash)].into())
    }

    /// A permutation of all 16-bit numbers (Fisher and Yates).
    fn permutation(&self) -> Vec<u16> {
        let mut numbers: Vec<u16> = (0..=u16::MAX).collect();
        let mut random = (0u32..).flat_map(|block| {
            let mac = hmac::sign(&self.key, &[b"text hash\0".as_slice(), &block.to_le_bytes()].concat());
            let words: Vec<u64> = mac.as_ref().as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
            words
        });
        for last in (1..numbers.len()).rev() {
            let other = random.next().unwrap_or_default() % (last as u64 + 1);
            numbers.swap(last, other as usize);
        }
        numbers
    }

    /// The tag of a dropped text. Equal texts have equal tags.
    fn tag(&self, text: &str) -> String {
        base32(&self.mac("text", text), TAG)
    }

    fn mac(&self, domain: &str, text: &str) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(domain.as_bytes());
        context.update(b"\0");
        context.update(text.as_bytes());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(context.sign().as_ref());
        bytes
    }
}

impl Search {
    /// Remembers a name if it begins with the searched text.
    fn look_at(&self, name: &str, is_id: bool, pseudonym: impl Fn(&str) -> String) {
        let is_found = match &self.digits {
            Some(digits) if is_id => name.replace('-', "").starts_with(digits),
            _ => !is_id && !self.text.is_empty() && name.starts_with(&self.text),
        };
        if !is_found {
            return;
        }
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if !found.contains_key(name) && found.len() < MOST_FOUND {
            found.insert(name.to_owned(), pseudonym(name));
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The first characters, at most 12, of bytes in base 32.
fn base32(bytes: &[u8; 32], characters: usize) -> String {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[..8]);
    let word = u64::from_be_bytes(word);
    (0..characters).map(|n| char::from(BASE32[(word >> (59 - 5 * n)) as usize & 31])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pseudonyms_are_stable_keyed_and_keep_the_form_of_children() {
        let redactor = Redactor::new(b"a key");
        let job = redactor.name(NameKind::Job, "api");
        assert_eq!(job, Redactor::new(b"a key").name(NameKind::Job, "api"));
        assert_ne!(job, Redactor::new(b"another key").name(NameKind::Job, "api"));
        assert_eq!(job.len(), "job-".len() + NAME);
        assert_ne!(job["job-".len()..], redactor.name(NameKind::Task, "api")["task-".len()..]);
        for kept in KEPT {
            assert_eq!(redactor.name(NameKind::Namespace, kept), kept);
        }
        assert_eq!(redactor.name(NameKind::Job, "api/periodic-1795458600"), format!("{job}/periodic-1795458600"));
        let child = redactor.name(NameKind::Job, "api/dispatch-1795458600-8a3f11c2");
        let digits = child.strip_prefix(&format!("{job}/dispatch-1795458600-")).map(str::len);
        assert_eq!(digits, Some(8));
        assert!(!child.contains("8a3f11c2"));
        for secret in ["api/dispatch-customer-1795458600-8a3f11c2", "api/periodic-customer", "api/dispatch-1-"] {
            let child = redactor.name(NameKind::Job, secret);
            assert!(child.starts_with(&job) && !child.contains("customer"), "{child}");
        }
        assert!(!redactor.name(NameKind::Job, "/dispatch-customer").contains("customer"));
        assert_eq!(
            redactor
                .allocation_name("api.web[3]", Some("api"), Some("web"))
                .split_once('.')
                .map(|(job, _)| job.to_owned()),
            Some(job)
        );
        assert!(redactor.allocation_name("other[3]", Some("api"), Some("web")).ends_with("[3]"));
        assert_eq!(redactor.id("4f3c7a52-0000-0000-0000-000000000001").len(), 36);
        assert_eq!(redactor.id(""), "");
    }

    #[test]
    fn text_hashes_stay_distinct() {
        let redactor = Redactor::new(b"a key");
        let mapped: std::collections::BTreeSet<i32> = (0..65_536).map(|hash| redactor.text_hash(hash)).collect();
        assert_eq!(mapped, (0..65_536).collect());
        assert!((0..100).any(|hash| redactor.text_hash(hash) != hash));
    }

    #[test]
    fn a_search_finds_names_before_they_are_replaced() {
        let redactor = Redactor::new(b"k").searching("4F3c-7");
        let look = |name: &str, is_id| {
            redactor.search.iter().for_each(|search| search.look_at(name, is_id, |n| redactor.id(n)))
        };
        look("4f3c7a52-0000-0000-0000-000000000001", true);
        look("5f3c7a52-0000-0000-0000-000000000001", true);
        look("4F3c-7-job", false);
        look("4f3c-job", false);
        assert_eq!(
            redactor.found().into_keys().collect::<Vec<_>>(),
            ["4F3c-7-job", "4f3c7a52-0000-0000-0000-000000000001"]
        );
    }
}
