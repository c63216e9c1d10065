use std::time::{SystemTime, UNIX_EPOCH};

use ropewalk_types::Digest;

use crate::{CatalogError, Connection, Dialect, execute_script, postgres, query};

/// One step of a crate's tables from one form to the next; it is applied once and never edited after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migration {
    /// Its place: 1, 2, 3 … without a gap.
    pub number: u32,
    /// What it does, in a few words.
    pub name: &'static str,
    /// Its statements, parted by semicolons.
    pub sql: &'static str,
}

/// All the steps of the tables that one crate owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MigrationSet {
    /// The owner's name, such as `registry`.
    pub owner: &'static str,
    /// The steps, in order.
    pub steps: &'static [Migration],
}

const TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_migration (
    owner TEXT NOT NULL,
    number BIGINT NOT NULL,
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    applied_at BIGINT NOT NULL,
    PRIMARY KEY (owner, number)
)";

/// Brings the tables of every set to the program's last step, in the order of the sets.
///
/// Each step is a transaction that looks again at what is applied after it has the write lock, so two processes
/// that open a new database at once do not meet. A step may make a table anew under its old name: SQLite checks the
/// references when the step is done, not in its course (<https://www.sqlite.org/lang_altertable.html#otheralter>).
pub(crate) async fn migrate(connection: &mut Connection, sets: &[MigrationSet]) -> Result<(), CatalogError> {
    for set in sets {
        check_program(set)?;
    }
    if all_applied(connection, sets).await {
        return Ok(());
    }
    connection.begin_migration().await?;
    let table = match connection.dialect() {
        Dialect::Sqlite => TABLE.to_owned(),
        Dialect::Postgres => postgres::migration(TABLE),
    };
    execute_script(connection, &table).await?;
    execute_script(connection, "COMMIT").await?;
    let sqlite = connection.dialect() == Dialect::Sqlite;
    if sqlite {
        execute_script(connection, "PRAGMA foreign_keys = OFF").await?;
    }
    for set in sets {
        while step_next(connection, set).await? {}
    }
    if sqlite {
        execute_script(connection, "PRAGMA foreign_keys = ON").await?;
    }
    Ok(())
}

/// Whether there is nothing to do: then no lock is taken, and a start does not wait for a writer.
async fn all_applied(connection: &mut Connection, sets: &[MigrationSet]) -> bool {
    for set in sets {
        // The table may not be there yet; what is odd is found, and said, with the lock.
        if !matches!(check_database(connection, set).await, Ok(applied) if applied == set.steps.len()) {
            return false;
        }
    }
    true
}

fn check_program(set: &MigrationSet) -> Result<(), CatalogError> {
    for (expected, step) in (1_u32..).zip(set.steps) {
        if step.number != expected {
            return Err(CatalogError::MigrationGap { owner: set.owner.to_owned(), place: "the program", expected });
        }
    }
    Ok(())
}

/// Applies the first step that is missing; false when none is.
async fn step_next(connection: &mut Connection, set: &MigrationSet) -> Result<bool, CatalogError> {
    connection.begin_migration().await?;
    let stepped = step_first(connection, set).await;
    let end = if matches!(stepped, Ok(true)) { "COMMIT" } else { "ROLLBACK" };
    let ended = execute_script(connection, end).await;
    let stepped = stepped?;
    ended?;
    Ok(stepped)
}

async fn step_first(connection: &mut Connection, set: &MigrationSet) -> Result<bool, CatalogError> {
    let applied = check_database(connection, set).await?;
    let Some(step) = set.steps.get(applied) else {
        return Ok(false);
    };
    step_apply(connection, set.owner, step).await.map_err(|problem| CatalogError::MigrationFailed {
        owner: set.owner.to_owned(),
        number: step.number,
        name: step.name.to_owned(),
        problem: Box::new(problem),
    })?;
    Ok(true)
}

/// How many of the set's steps are applied, all of them with the text that the program has.
async fn check_database(connection: &mut Connection, set: &MigrationSet) -> Result<usize, CatalogError> {
    let rows: Vec<(i64, String)> =
        query("SELECT number, digest FROM schema_migration WHERE owner = $1 ORDER BY number")
            .bind(set.owner)
            .fetch_all(connection)
            .await?;
    let owner = || set.owner.to_owned();
    for (expected, (number, applied)) in (1_u32..).zip(&rows) {
        let Some(step) = set.steps.get(expected as usize - 1) else {
            let database = rows.last().map_or(*number, |(last, _)| *last);
            return Err(CatalogError::Newer { owner: owner(), database, program: set.steps.len() as u32 });
        };
        if *number != i64::from(expected) {
            return Err(CatalogError::MigrationGap { owner: owner(), place: "the database", expected });
        }
        if *applied != digest(step) {
            let (number, name) = (step.number, step.name.to_owned());
            return Err(CatalogError::MigrationChanged { owner: owner(), number, name });
        }
    }
    Ok(rows.len())
}

async fn step_apply(connection: &mut Connection, owner: &str, step: &Migration) -> Result<(), CatalogError> {
    match connection.dialect() {
        Dialect::Sqlite => {
            execute_script(connection, step.sql).await?;
            let orphan: Option<(String, Option<i64>, String)> =
                query("PRAGMA foreign_key_check").fetch_optional(connection).await?;
            if let Some((table, _, parent)) = orphan {
                return Err(CatalogError::decode(format!(
                    "a row of `{table}` names a row of `{parent}` that is not there"
                )));
            }
        }
        Dialect::Postgres => execute_script(connection, &postgres::migration(step.sql)).await?,
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
    query("INSERT INTO schema_migration (owner, number, name, digest, applied_at) VALUES ($1, $2, $3, $4, $5)")
        .bind(owner)
        .bind(i64::from(step.number))
        .bind(step.name)
        .bind(digest(step))
        .bind(now)
        .execute(connection)
        .await?;
    Ok(())
}

/// Over `\n` line ends, so that a checkout which writes `\r\n` builds the same program.
fn digest(step: &Migration) -> String {
    Digest::of(step.sql.replace("\r\n", "\n").as_bytes()).to_string()
}
