//! What every listener of the product does alike: connections that are bounded in number and time, TLS, secrets, and what it tells
//! its operator.
//!
//! It knows no path and no protocol above HTTP, and asks for no credentials: who is let in is said by the router that it is
//! given. What is beyond the bound of connections is answered by a router of its own, and never queued.

mod connection;
mod error;
mod secret;
mod stalling;
mod telling;
mod tls;
mod unread;

pub use connection::{Acceptor, ConnectionCounts, ConnectionTimes, Peer, Present, Speaks, descriptors, stop_signal};
pub use error::ListeningError;
pub use secret::{Secret, private_text};
pub use stalling::{Incoming, Rest};
pub use telling::{RUST_LOG, tell};
pub use tls::{TlsFiles, acceptor};
