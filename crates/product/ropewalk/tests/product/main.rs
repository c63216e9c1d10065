//! The binary as a person or a script meets it: real processes, real data, real foreign clients.
//!
//! Rules are tested beside the code; what is here needs the whole house. Python with the clients comes from
//! `cargo xtask test`, which says where in `ROPEWALK_TEST_PYTHON`.
#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on must say so")]

mod batch;
mod commands;
mod commands_page;
mod crash;
mod curl_page;
mod data_files;
mod data_governance;
mod data_import;
mod data_page;
mod data_removal;
mod data_repair;
mod data_sources;
mod data_tables;
mod data_travel;
mod data_versions;
mod demo;
mod harness;
mod page;
mod reproduce;
mod server;
mod serving;
#[cfg(target_os = "linux")]
mod shared_blocks;
mod tracking;
