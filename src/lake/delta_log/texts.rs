//! Texts by name: the partition values or the tags of a file. A file has only two or three of these texts, so a slice
//! takes 500 bytes less per file than a map.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Texts by name, sorted by name; a text may be null.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Texts(Box<[(String, Option<String>)]>);

impl Texts {
    /// The text of a name; `None` if no text has the name, or the text is null.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name)?.1.as_deref()
    }

    /// The first text; `None` if the collection is empty or its first text is null.
    pub fn first(&self) -> Option<&str> {
        self.0.first()?.1.as_deref()
    }
}

impl FromIterator<(String, Option<String>)> for Texts {
    fn from_iter<I: IntoIterator<Item = (String, Option<String>)>>(texts: I) -> Texts {
        Texts(texts.into_iter().collect::<BTreeMap<_, _>>().into_iter().collect())
    }
}

impl Serialize for Texts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, text)| (name, text)))
    }
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Texts, D::Error> {
        Ok(BTreeMap::<String, Option<String>>::deserialize(deserializer)?.into_iter().collect())
    }
}
