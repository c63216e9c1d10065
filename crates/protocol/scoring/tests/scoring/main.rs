//! The routes on a host with models whose answers can be told in advance.

mod described;
mod invocations;
mod predict;
mod world;
