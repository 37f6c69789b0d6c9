//! A thin client for Nomad's HTTP API: where the agent is, who asks, and the bytes that it answers with.
//!
//! It knows nothing of tables. What it sends is a GET and nothing else; what it is trusted with (the token, a password)
//! is in no text that it makes.

pub mod access;
pub mod address;
pub mod client;
pub mod fault;
pub mod listing;
pub mod namespaces;
pub mod pages;
pub mod secret;
pub mod secrets;
pub mod stop;
pub mod stream;

pub use address::Address;
pub use client::{Answer, Client, Connection};
pub use fault::Fault;
pub use listing::{Ask, Listing, Target, Targets};
pub use namespaces::Namespaces;
pub use secret::Secret;
pub use stop::Stop;
