mod decode;
mod describe;

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions as _};

use crate::cell::Cell;
use crate::{ConnectionOptions, ConnectorError};

use super::SqlRequest;
use super::dialect::Dialect;
use super::server::Server;
use super::source::{Described, Source, within};

use decode::Kind;

/// The forms in which the server writes what it casts to text must not depend on its configuration.
const SESSION: &str = "SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO, YMD'; \
                       SET LOCAL IntervalStyle = 'iso_8601'; SET LOCAL idle_in_transaction_session_timeout = 0";

const DEFAULT_PORT: u16 = 5432;

#[derive(Clone)]
pub(super) struct Postgres {
    options: Arc<PgConnectOptions>,
    location: Arc<str>,
    timeout: Duration,
    decimals: Arc<std::collections::BTreeMap<String, (u8, i8)>>,
    snapshot: Option<String>,
}

impl Postgres {
    pub(super) fn new(request: &SqlRequest, options: &ConnectionOptions) -> Result<Self, ConnectorError> {
        let server = Server::of(request, options, &["application_name"])?;
        let location = server.location.as_str().into();
        let decimals = Arc::new(request.decimals.clone());
        let options = Arc::new(connect_options(&server)?);
        Ok(Self { options, location, timeout: request.connect_timeout, decimals, snapshot: None })
    }

    async fn begin(&self) -> Result<PgConnection, ConnectorError> {
        let mut connection = within(self.timeout, &self.location, self.options.connect()).await?;
        let snapshot = match &self.snapshot {
            Some(name) => format!("SET TRANSACTION SNAPSHOT '{name}'; "),
            None => String::new(),
        };
        let begin = format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {snapshot}{SESSION}");
        sqlx::raw_sql(AssertSqlSafe(begin)).execute(&mut connection).await.map_err(self.failed("starting to read"))?;
        Ok(connection)
    }

    async fn export(&self, connection: &mut PgConnection) -> Result<String, ConnectorError> {
        let name: String = sqlx::query_scalar("SELECT pg_export_snapshot()")
            .fetch_one(connection)
            .await
            .map_err(self.failed("exporting the snapshot"))?;
        // It goes into a statement that takes no parameters.
        if name.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-') {
            return Ok(name);
        }
        Err(self.failed("exporting the snapshot")(sqlx::Error::Protocol(format!("`{name}` is no snapshot's name"))))
    }
}

/// Every setting that sqlx would take from the environment is set here.
fn connect_options(server: &Server) -> Result<PgConnectOptions, ConnectorError> {
    let wrong = |reason: String| ConnectorError::url(&server.location, reason);
    let mode = match server.tls.mode.as_deref() {
        None => PgSslMode::Prefer,
        Some(mode) => mode.parse().map_err(|_| wrong(format!("`{mode}` is not an sslmode")))?,
    };
    // As `libpq` has it for `require`: an authority that is given is asked, and never passed over in silence.
    let mode = match mode {
        PgSslMode::Prefer | PgSslMode::Require if server.tls.root.is_some() => PgSslMode::VerifyCa,
        mode => mode,
    };
    let name = server.others.iter().map(|(_, value)| value.as_str()).next_back().unwrap_or("ropewalk");
    let mut options = PgConnectOptions::new_without_pgpass()
        .host(&server.host)
        .port(server.port.unwrap_or(DEFAULT_PORT))
        .username(&server.user)
        .password(server.password.as_deref().unwrap_or_default())
        .database(server.database.as_deref().unwrap_or(&server.user))
        .application_name(name)
        .ssl_mode(mode)
        .disable_statement_logging();
    if let Some(path) = &server.socket {
        options = options.socket(path);
    }
    if let Some(path) = &server.tls.root {
        options = options.ssl_root_cert(path);
    }
    if let Some(path) = &server.tls.certificate {
        options = options.ssl_client_cert(path);
    }
    if let Some(path) = &server.tls.key {
        options = options.ssl_client_key(path);
    }
    Ok(options)
}

impl Source for Postgres {
    const DIALECT: Dialect = Dialect::Postgres;
    type Kind = Kind;
    type Connection = PgConnection;
    type Row = PgRow;

    fn location(&self) -> &str {
        &self.location
    }

    fn connect(&self) -> BoxFuture<'_, Result<PgConnection, ConnectorError>> {
        Box::pin(self.begin())
    }

    fn share<'a>(
        &'a self,
        connection: &'a mut PgConnection,
    ) -> BoxFuture<'a, Result<(Self, Option<String>), ConnectorError>> {
        Box::pin(async move {
            let name = self.export(connection).await?;
            Ok((Self { snapshot: Some(name.clone()), ..self.clone() }, Some(name)))
        })
    }

    fn version<'a>(&'a self, connection: &'a mut PgConnection) -> BoxFuture<'a, Result<String, ConnectorError>> {
        Box::pin(async move {
            let version: String = sqlx::query_scalar("SELECT current_setting('server_version')")
                .fetch_one(connection)
                .await
                .map_err(self.failed("asking for its version"))?;
            Ok(format!("PostgreSQL {version}"))
        })
    }

    fn describe<'a>(
        &'a self,
        connection: &'a mut PgConnection,
        sql: &'a str,
    ) -> BoxFuture<'a, Result<Vec<Described<Kind>>, ConnectorError>> {
        Box::pin(async move {
            let described = describe::describe(connection, sql, &self.decimals).await;
            described.map_err(self.failed("preparing the query"))
        })
    }

    fn rows(
        connection: &mut PgConnection,
        sql: String,
        parameters: Vec<String>,
    ) -> BoxStream<'_, Result<PgRow, sqlx::Error>> {
        let query = sqlx::query(AssertSqlSafe(sql));
        parameters.into_iter().fold(query, sqlx::query::Query::bind).fetch(connection)
    }

    fn cell<'r>(row: &'r PgRow, index: usize, kind: &Kind) -> Cell<'r> {
        decode::cell(row, index, kind)
    }

    fn count_kind() -> Kind {
        Kind::Int8
    }

    /// Every digit counts for what comes after a row.
    fn bound_kind(kind: &Kind) -> Kind {
        if *kind == Kind::RoundedNumeric { Kind::Numeric } else { kind.clone() }
    }

    fn is_decimal(kind: &Kind) -> bool {
        matches!(kind, Kind::Numeric | Kind::RoundedNumeric)
    }
}
