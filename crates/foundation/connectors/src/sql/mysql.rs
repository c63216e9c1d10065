mod decode;
mod describe;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlRow, MySqlSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions as _};

use crate::cell::Cell;
use crate::{ConnectionOptions, ConnectorError};

use super::SqlRequest;
use super::dialect::Dialect;
use super::server::Server;
use super::source::{Described, Source, within};

use decode::Kind;

/// sqlx has set the session's time zone to UTC, so that timestamps come in it.
const BEGIN: [&str; 2] =
    ["SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"];

const DEFAULT_PORT: u16 = 3306;

#[derive(Clone)]
pub(super) struct Mysql {
    options: Arc<MySqlConnectOptions>,
    location: Arc<str>,
    timeout: Duration,
    decimals: Arc<BTreeMap<String, (u8, i8)>>,
}

impl Mysql {
    pub(super) fn new(request: &SqlRequest, options: &ConnectionOptions) -> Result<Self, ConnectorError> {
        let server = Server::of(request, options, &["charset", "collation"])?;
        let location = server.location.as_str().into();
        let decimals = Arc::new(request.decimals.clone());
        Ok(Self { options: Arc::new(connect_options(&server)?), location, timeout: request.connect_timeout, decimals })
    }
}

fn connect_options(server: &Server) -> Result<MySqlConnectOptions, ConnectorError> {
    let mode = match server.tls.mode.as_deref() {
        None => MySqlSslMode::Preferred,
        Some(mode) => ssl_mode(mode)
            .ok_or_else(|| ConnectorError::url(&server.location, format!("`{mode}` is not an sslmode")))?,
    };
    // As with PostgreSQL: an authority that is given is asked, and never passed over in silence.
    let mode = match mode {
        MySqlSslMode::Preferred | MySqlSslMode::Required if server.tls.root.is_some() => MySqlSslMode::VerifyCa,
        mode => mode,
    };
    let mut options = MySqlConnectOptions::new()
        .host(&server.host)
        .port(server.port.unwrap_or(DEFAULT_PORT))
        .username(&server.user)
        .ssl_mode(mode)
        // The query means what it means to every other client.
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .disable_statement_logging();
    if let Some(password) = &server.password {
        options = options.password(password);
    }
    if let Some(database) = &server.database {
        options = options.database(database);
    }
    if let Some(path) = &server.socket {
        options = options.socket(path);
    }
    if let Some(path) = &server.tls.root {
        options = options.ssl_ca(path);
    }
    if let Some(path) = &server.tls.certificate {
        options = options.ssl_client_cert(path);
    }
    if let Some(path) = &server.tls.key {
        options = options.ssl_client_key(path);
    }
    for (name, value) in &server.others {
        options = if name == "charset" { options.charset(value) } else { options.collation(value) };
    }
    Ok(options)
}

/// MySQL's names of the modes, and those of PostgreSQL for the same.
fn ssl_mode(name: &str) -> Option<MySqlSslMode> {
    Some(match name.to_ascii_lowercase().replace('_', "-").as_str() {
        "disabled" | "disable" => MySqlSslMode::Disabled,
        "preferred" | "prefer" => MySqlSslMode::Preferred,
        "required" | "require" => MySqlSslMode::Required,
        "verify-ca" => MySqlSslMode::VerifyCa,
        "verify-identity" | "verify-full" => MySqlSslMode::VerifyIdentity,
        _ => return None,
    })
}

impl Source for Mysql {
    const DIALECT: Dialect = Dialect::Mysql;
    type Kind = Kind;
    type Connection = MySqlConnection;
    type Row = MySqlRow;

    fn location(&self) -> &str {
        &self.location
    }

    fn connect(&self) -> BoxFuture<'_, Result<MySqlConnection, ConnectorError>> {
        Box::pin(async move {
            let mut connection = within(self.timeout, &self.location, self.options.connect()).await?;
            for statement in BEGIN {
                let started = sqlx::raw_sql(statement).execute(&mut connection).await;
                started.map_err(self.failed("starting to read"))?;
            }
            Ok(connection)
        })
    }

    fn share<'a>(
        &'a self,
        _: &'a mut MySqlConnection,
    ) -> BoxFuture<'a, Result<(Self, Option<String>), ConnectorError>> {
        // There is no snapshot that two connections can share.
        Box::pin(async move { Ok((self.clone(), None)) })
    }

    fn version<'a>(&'a self, connection: &'a mut MySqlConnection) -> BoxFuture<'a, Result<String, ConnectorError>> {
        Box::pin(async move {
            let version: String = sqlx::query_scalar("SELECT VERSION()")
                .fetch_one(connection)
                .await
                .map_err(self.failed("asking for its version"))?;
            Ok(if version.contains("MariaDB") { version } else { format!("MySQL {version}") })
        })
    }

    fn describe<'a>(
        &'a self,
        connection: &'a mut MySqlConnection,
        sql: &'a str,
    ) -> BoxFuture<'a, Result<Vec<Described<Kind>>, ConnectorError>> {
        Box::pin(async move {
            let described = describe::describe(connection, sql, &self.decimals).await;
            described.map_err(self.failed("preparing the query"))
        })
    }

    fn rows(
        connection: &mut MySqlConnection,
        sql: String,
        parameters: Vec<String>,
    ) -> BoxStream<'_, Result<MySqlRow, sqlx::Error>> {
        let query = sqlx::query(AssertSqlSafe(sql));
        parameters.into_iter().fold(query, sqlx::query::Query::bind).fetch(connection)
    }

    fn cell<'r>(row: &'r MySqlRow, index: usize, kind: &Kind) -> Cell<'r> {
        decode::cell(row, index, *kind)
    }

    fn count_kind() -> Kind {
        Kind::Signed
    }

    /// The least and the greatest of bits come as another type in MySQL than in MariaDB; MySQL sorts JSON by its types.
    fn has_order(kind: &Kind) -> bool {
        !matches!(kind, Kind::Bits | Kind::Json)
    }

    /// Every digit counts for what comes after a row.
    fn bound_kind(kind: &Kind) -> Kind {
        if *kind == Kind::RoundedDecimal { Kind::Decimal } else { *kind }
    }

    fn is_decimal(kind: &Kind) -> bool {
        matches!(kind, Kind::Decimal | Kind::RoundedDecimal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_mysql_and_mariadb_order_differently_has_no_order() {
        for (kind, ordered) in [(Kind::Bits, false), (Kind::Json, false), (Kind::Text, true), (Kind::Unsigned, true)] {
            assert_eq!(Mysql::has_order(&kind), ordered, "{kind:?}");
        }
    }

    #[test]
    fn modes_of_tls_have_two_spellings() {
        for name in ["verify-full", "VERIFY_IDENTITY"] {
            assert!(matches!(ssl_mode(name), Some(MySqlSslMode::VerifyIdentity)), "{name}");
        }
        assert!(ssl_mode("yes").is_none());
    }
}
