//! Against real servers: PostgreSQL and MariaDB, whose URLs the test set-up exports, with rights to create tables.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod mariadb;
mod mongo;
mod postgres;
mod support;
mod tls;
