//! `/v1/event/stream`: changes of allocations as a server learns of them.

use std::io::{BufRead, BufReader, Read};
use std::time::Duration;

use serde::Deserialize;

use super::{Client, Fault};

const EVENTS: &str = "/v1/event/stream";
/// Timeout of the first item of a permitted stream. Since Nomad 1.1.1, the server sends it at once.
const FIRST_SIGN: Duration = Duration::from_secs(10);

/// A permitted stream.
pub struct EventStream {
    body: BufReader<Box<dyn Read + Send>>,
    /// The first item, read to verify that the stream is permitted.
    first: Option<StreamItem>,
}

/// An item of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamItem {
    /// A heartbeat, sent every 30 s.
    Heartbeat,
    /// The events of one index.
    Frame {
        /// The index.
        index: i64,
        /// Its line as served.
        line: Vec<u8>,
    },
}

impl EventStream {
    /// Opens the stream of a namespace, `*` for all existing ones. The stream starts at the index `from`. If the server no
    /// longer has that index, or `from` is `None`, the stream starts at the oldest event that the server has.
    ///
    /// Since 1.11.2, Nomad answers with status 200 before it checks the token, and sends nothing if it denies the
    /// token.
    ///
    /// # Errors
    /// When it is not permitted, or the request fails.
    pub fn open(client: &Client, namespace: &str, from: Option<i64>) -> Result<EventStream, Fault> {
        let from = from.map(|index| index.to_string()).unwrap_or_default();
        let query = [("topic", "Allocation"), ("namespace", namespace), ("index", &from)];
        let mute = || Fault::NoHeartbeat(namespace.to_owned());
        let answer = client.ask_for_stream(EVENTS, &query, FIRST_SIGN.min(client.timeout()));
        let answer = answer.map_err(|fault| if fault.is_status(404) { Fault::NoStream } else { fault })?;
        let mut events = EventStream { body: BufReader::new(answer.body), first: None };
        events.first = match events.sign() {
            Ok(Some(sign)) => Some(sign),
            Ok(None) | Err(Fault::Timeout(_)) => return Err(mute()),
            Err(fault) => return Err(fault),
        };
        Ok(events)
    }

    /// Waits for the next item. A stream does not report missed events.
    ///
    /// # Errors
    /// When the stream ended, broke, or was silent for longer than a heartbeat interval.
    pub fn wait(&mut self) -> Result<StreamItem, Fault> {
        match self.first.take() {
            Some(sign) => Ok(sign),
            None => self.sign()?.ok_or_else(|| Fault::Ended(String::new())),
        }
    }

    /// The next item; `None` at the end.
    fn sign(&mut self) -> Result<Option<StreamItem>, Fault> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct FrameIndex {
            index: Option<i64>,
        }
        let mut line = Vec::new();
        loop {
            line.clear();
            if self.body.read_until(b'\n', &mut line).map_err(Fault::from_body_error)? == 0 {
                return Ok(None);
            }
            let text = line.trim_ascii();
            if text.is_empty() {
                continue;
            }
            return match serde_json::from_slice(text) {
                Ok(FrameIndex { index: None }) => Ok(Some(StreamItem::Heartbeat)),
                Ok(FrameIndex { index: Some(index) }) => Ok(Some(StreamItem::Frame { index, line })),
                // The last line of a broken stream.
                Err(_) if text.starts_with(b"{") => Err(Fault::Ended(" within a line".into())),
                Err(_) if text.starts_with(b"<") => Err(Fault::NotNomad("it is a page, not an event stream".into())),
                // Before Nomad 1.11.2, the last line says why the stream ended.
                Err(_) => Err(Fault::Ended(format!(": {}", reason(text)))),
            };
        }
    }
}

fn reason(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().take(300).collect()
}
