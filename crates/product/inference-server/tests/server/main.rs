//! The inference server on real sockets of loopback: who is let in, what is refused, how it ends.

mod credentials;
mod drain;
mod limits;
mod models;
mod observed;
mod tls;
mod world;
