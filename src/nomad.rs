//! A thin client for Nomad's HTTP API: addresses, credentials, requests, and the bytes of the answers.
//!
//! The client is independent of the tables, and sends only GET requests. Its credentials (token, password) never appear
//! in its messages.

pub mod access;
pub mod address;
pub mod agent_logs;
pub mod cancel;
pub mod client;
pub mod fault;
pub mod listing;
pub mod namespaces;
pub mod pages;
pub mod secret;
pub mod secrets;
pub mod stream;
mod version;

use std::time::Duration;

pub use address::Address;
pub use cancel::CancelToken;
pub use client::{Answer, Client, Connection};
pub use fault::Fault;
pub use listing::{Ask, Listing, ListingTarget, Targets};
pub use namespaces::Namespaces;
pub use secret::Secret;

/// Timeout for opening a connection.
pub const CONNECT: Duration = Duration::from_secs(10);
/// Maximum size in bytes of answers that are always small: namespaces, information on a token.
const SMALL: u64 = 16 << 20;
