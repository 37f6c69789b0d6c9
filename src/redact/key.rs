//! The file of a key.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;

use ring::rand::{SecureRandom, SystemRandom};

use super::{Redactor, hex};
use crate::error::{self, Context, Error, Kind};

/// Number of bytes of a new key, and minimum length of the text in a key file.
const LENGTH: usize = 32;

impl Redactor {
    /// A redactor with the key in a file. A missing file is created with a new key, and only its owner can read it.
    ///
    /// # Errors
    /// When the file cannot be read or created, or is too short to be a key.
    pub fn of_file(path: &Path) -> error::Result<Redactor> {
        let text = match fs::read(path) {
            Err(e) if e.kind() == ErrorKind::NotFound => create(path)?,
            read => read.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let key = text.trim_ascii();
        if key.len() < LENGTH {
            let name = path.display();
            let word =
                format!("{name} has fewer than {LENGTH} characters; name a file that does not exist to create a key");
            return Err(Error::of(Kind::Usage, word));
        }
        Ok(Redactor::new(key))
    }

    /// A redactor with a new key that is not kept: pseudonyms of different runs cannot be compared.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn of_this_run() -> error::Result<Redactor> {
        Ok(Redactor::new(random()?.as_bytes()))
    }
}

/// Creates a key file, or reads the one that another program created meanwhile.
fn create(path: &Path) -> error::Result<Vec<u8>> {
    let cannot = || format!("cannot create {}", path.display());
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Other users cannot read a temporary file.
    let mut file = tempfile::NamedTempFile::new_in(parent).with_context(cannot)?;
    let text = random()? + "\n";
    file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_all()).with_context(cannot)?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(text.into_bytes()),
        Err(e) if e.error.kind() == ErrorKind::AlreadyExists => fs::read(path).with_context(cannot),
        Err(e) => Err(e.error).with_context(cannot),
    }
}

fn random() -> error::Result<String> {
    let mut key = [0; LENGTH];
    SystemRandom::new().fill(&mut key).map_err(|_| Error::new("the system has no random numbers for a key"))?;
    Ok(hex(&key))
}
