//! `/v1/event/stream`: what happens to allocations, as a server comes to know of it.

use std::io::{BufRead, BufReader, Read};
use std::time::Duration;

use serde::Deserialize;

use super::{Client, Fault};

const EVENTS: &str = "/v1/event/stream";
/// How soon a stream that is permitted shows a sign of life. It does so at once since Nomad 1.1.1.
const FIRST_SIGN: Duration = Duration::from_secs(10);

/// A stream that was permitted.
pub struct Events {
    body: BufReader<Box<dyn Read + Send>>,
    /// What was read to know that it is permitted.
    first: Option<Sign>,
}

/// What a stream shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sign {
    /// A heartbeat: every 30 s, whatever else there is.
    Heartbeat,
    /// What happened at one index.
    Frame {
        /// The index.
        index: i64,
        /// Its line as served.
        line: Vec<u8>,
    },
}

impl Events {
    /// Opens the stream of a namespace, `*` for all that there are now. It begins with an index, if it is still there,
    /// else with what the server remembers from later on; without one, with all that it remembers.
    ///
    /// Nomad since 1.11.2 answers with status 200 before it looks at the token, and then says nothing.
    ///
    /// # Errors
    /// When it is not permitted, or Nomad cannot be asked.
    pub fn open(client: &Client, namespace: &str, from: Option<i64>) -> Result<Events, Fault> {
        let from = from.map(|index| index.to_string()).unwrap_or_default();
        let query = [("topic", "Allocation"), ("namespace", namespace), ("index", &from)];
        let mute = || Fault::Mute(namespace.to_owned());
        let answer = client.ask_for_stream(EVENTS, &query, FIRST_SIGN.min(client.patience()));
        let answer = answer.map_err(|fault| if fault.is_status(404) { Fault::NoStream } else { fault })?;
        let mut events = Events { body: BufReader::new(answer.body), first: None };
        events.first = match events.sign() {
            Ok(Some(sign)) => Some(sign),
            Ok(None) | Err(Fault::Silent(_)) => return Err(mute()),
            Err(fault) => return Err(fault),
        };
        Ok(events)
    }

    /// The next sign. What the stream has missed it does not tell.
    ///
    /// # Errors
    /// When there is none: the stream ended, broke, or was silent for longer than a heartbeat takes.
    pub fn wait(&mut self) -> Result<Sign, Fault> {
        match self.first.take() {
            Some(sign) => Ok(sign),
            None => self.sign()?.ok_or_else(|| Fault::Ended(String::new())),
        }
    }

    /// The next sign, nothing at the end.
    fn sign(&mut self) -> Result<Option<Sign>, Fault> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Frame {
            index: Option<i64>,
        }
        let mut line = Vec::new();
        loop {
            line.clear();
            if self.body.read_until(b'\n', &mut line).map_err(Fault::of_body)? == 0 {
                return Ok(None);
            }
            let text = line.trim_ascii();
            if text.is_empty() {
                continue;
            }
            return match serde_json::from_slice(text) {
                Ok(Frame { index: None }) => Ok(Some(Sign::Heartbeat)),
                Ok(Frame { index: Some(index) }) => Ok(Some(Sign::Frame { index, line })),
                // The last line of a stream that broke off.
                Err(_) if text.starts_with(b"{") => Err(Fault::Ended(" within a line".into())),
                Err(_) if text.starts_with(b"<") => Err(Fault::NotNomad("it is a page, not an event stream".into())),
                // Before 1.11.2 the reason is the last line.
                Err(_) => Err(Fault::Ended(format!(": {}", reason(text)))),
            };
        }
    }
}

fn reason(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().take(300).collect()
}
