//! Recordings of real agents: the event stream is the truth about the list snapshots.
