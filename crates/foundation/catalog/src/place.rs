use std::sync::Arc;

use crate::postgres::{Pools, Server};
use crate::sqlite::Database;
use crate::{CatalogError, Connection, Dialect};

/// Where a catalogue lies, as its URL says.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    File(Database),
    Server(Box<Server>),
}

/// A place whose connections can be made.
#[derive(Clone, Debug)]
pub(crate) enum Opened {
    File(Arc<Database>),
    Server(Pools),
}

impl Place {
    pub(crate) fn from_url(url: &str) -> Result<Self, CatalogError> {
        let refuse = |reason: &str| CatalogError::Url { url: url.to_owned(), reason: reason.to_owned() };
        let Some((scheme, path)) = url.split_once(':') else {
            return Err(refuse("it has no scheme"));
        };
        match scheme {
            "sqlite" => Database::at(path).map(Self::File).ok_or_else(|| refuse("`sqlite:` needs the path of a file")),
            "postgres" | "postgresql" => Ok(Self::Server(Box::new(Server::from_url(url)?))),
            _ => Err(refuse(&format!("`{scheme}` is not a kind of catalogue that is built in"))),
        }
    }

    /// What errors call it: a path, or a server without its password.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::File(database) => database.path.clone(),
            Self::Server(server) => server.place(),
        }
    }

    pub(crate) async fn open(self) -> Result<Opened, CatalogError> {
        Ok(match self {
            Self::File(database) => Opened::File(Arc::new(database)),
            Self::Server(server) => Opened::Server(server.open().await?),
        })
    }
}

impl Opened {
    pub(crate) fn dialect(&self) -> Dialect {
        match self {
            Self::File(_) => Dialect::Sqlite,
            Self::Server(_) => Dialect::Postgres,
        }
    }

    /// A connection that may write. For a file it waits on this thread.
    pub(crate) async fn connect(&self) -> Result<Connection, CatalogError> {
        match self {
            Self::File(database) => database.connect(),
            Self::Server(pools) => pools.connect().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use ropewalk_types::Diagnose;

    use super::Place;

    #[test]
    fn urls_of_other_kinds_are_refused_with_a_reason() {
        for (url, says) in [
            ("catalog.db", "no scheme"),
            ("mysql://localhost/x", "`mysql` is not a kind"),
            ("postgresql://localhost:none/x", "port"),
            ("sqlite:", "path of a file"),
            ("sqlite::memory:", "path of a file"),
            ("sqlite:a\0b", "path of a file"),
        ] {
            let error = Place::from_url(url).expect_err(url);
            assert_eq!(error.code(), "catalog.url");
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    #[test]
    fn a_servers_name_holds_no_password() {
        let place = Place::from_url("postgresql://ada:secret@db.example:6543/models").expect("url");
        assert_eq!(place.name(), "postgresql://db.example:6543/models");
    }
}
