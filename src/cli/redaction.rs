//! The flags that replace names by pseudonyms.

use std::path::PathBuf;
use std::sync::Arc;

use crate::error;
use crate::redact::Redactor;

/// Redaction of the output.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Replace names by pseudonyms and drop texts, to share the result
    ///
    /// Names of jobs, groups, tasks, nodes, namespaces and sources are replaced, and so are IDs. Messages keep only the
    /// words that statistics look for. Times and numbers stay. Filters apply to the real names.
    #[arg(long)]
    pub redact: bool,
    /// With --redact, the file with the key of the pseudonyms
    ///
    /// Created if missing; keep it secret. The same key gives the same pseudonyms. By default a new key is used and not
    /// kept.
    #[arg(long, value_name = "FILE", requires = "redact")]
    redact_key: Option<PathBuf>,
}

impl Args {
    /// The redactor; `None` without `--redact`.
    ///
    /// # Errors
    /// When the key file cannot be read or created.
    pub fn redactor(&self) -> error::Result<Option<Redactor>> {
        let made = || self.redact_key.as_deref().map_or_else(Redactor::of_this_run, Redactor::of_file);
        self.redact.then(made).transpose()
    }

    /// The redactor for a pipeline.
    ///
    /// # Errors
    /// As [`Args::redactor`].
    pub fn shared(&self) -> error::Result<Option<Arc<Redactor>>> {
        Ok(self.redactor()?.map(Arc::new))
    }
}
