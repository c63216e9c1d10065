//! TLS with PostgreSQL and MariaDB, whose certificate the authority of the tests signed for `localhost`.

use ropewalk_connectors::{ConnectorError, SqlRequest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::support::{column, read, server};

/// A server, and a query whose column `tls` says whether its connection is encrypted.
const SERVERS: [(&str, &str); 2] = [
    ("ROPEWALK_TEST_POSTGRES", "SELECT ssl::text AS tls FROM pg_stat_ssl WHERE pid = pg_backend_pid()"),
    (
        "ROPEWALK_TEST_MARIADB",
        "SELECT CASE variable_value WHEN '' THEN 'false' ELSE 'true' END AS tls \
         FROM information_schema.session_status WHERE variable_name = 'Ssl_cipher'",
    ),
];

/// Reads from both servers; `options` follow the `?` of the URL.
async fn each(host: &str, options: &str) -> Vec<Result<String, ConnectorError>> {
    let mut found = Vec::new();
    for (variable, query) in SERVERS {
        let url = server(variable).replace("127.0.0.1", host);
        let read = read(&SqlRequest::new(format!("{url}?{options}"), query)).await;
        found.push(read.map(|(batch, _)| column(&batch, "tls").concat()));
    }
    found
}

async fn assert_reads(host: &str, options: &str, tls: &str) {
    for read in each(host, options).await {
        assert_eq!(read.unwrap(), tls, "{host} {options}");
    }
}

async fn assert_refused(host: &str, options: &str, reason: &str) {
    for read in each(host, options).await {
        let error = read.unwrap_err();
        assert!(matches!(error, ConnectorError::Connect { .. }), "{host} {options}: {error}");
        assert!(error.to_string().contains(reason), "{host} {options}: {error}");
    }
}

fn authority() -> String {
    format!("sslrootcert={}", server("ROPEWALK_TEST_AUTHORITY"))
}

fn stranger() -> String {
    format!("sslrootcert={}", server("ROPEWALK_TEST_STRANGER"))
}

#[tokio::test]
async fn connections_are_encrypted_where_the_server_can() {
    assert_reads("127.0.0.1", "", "true").await;
    assert_reads("127.0.0.1", "sslmode=require", "true").await;
    assert_reads("127.0.0.1", "sslmode=disable", "false").await;
}

#[tokio::test]
async fn a_certificate_is_verified_to_its_host() {
    for mode in ["verify-full", "VERIFY_IDENTITY"] {
        if mode == "verify-full" {
            assert_reads("localhost", &format!("sslmode={mode}&{}", authority()), "true").await;
        }
        let url = server("ROPEWALK_TEST_MARIADB").replace("127.0.0.1", "localhost");
        let url = format!("{url}?ssl-mode={mode}&ssl-ca={}", server("ROPEWALK_TEST_AUTHORITY"));
        let (batch, _) = read(&SqlRequest::new(url, SERVERS[1].1)).await.unwrap();
        assert_eq!(column(&batch, "tls"), ["true"]);
    }
    // The same server by a name that its certificate does not have.
    assert_refused("127.0.0.1", &format!("sslmode=verify-full&{}", authority()), "certificate").await;
    assert_reads("127.0.0.1", &format!("sslmode=verify-ca&{}", authority()), "true").await;
}

#[tokio::test]
async fn a_certificate_of_a_stranger_is_refused() {
    for mode in ["verify-full", "verify-ca"] {
        assert_refused("localhost", &format!("sslmode={mode}&{}", stranger()), "certificate").await;
        // No authority of this machine signed it.
        assert_refused("localhost", &format!("sslmode={mode}"), "certificate").await;
    }
}

/// As `libpq` has it: who gives an authority wants to be sure of the server.
#[tokio::test]
async fn an_authority_that_is_given_is_used_in_every_mode() {
    for mode in ["", "sslmode=prefer&", "sslmode=require&"] {
        assert_reads("127.0.0.1", &format!("{mode}{}", authority()), "true").await;
        assert_refused("127.0.0.1", &format!("{mode}{}", stranger()), "certificate").await;
    }
    assert_refused("localhost", "sslmode=require&sslrootcert=/nowhere/authority.pem", "/nowhere/authority.pem").await;
}

/// It says that it has no TLS: nothing more may be said to it.
#[tokio::test]
async fn no_password_goes_to_a_server_without_tls_that_was_to_have_it() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    for mode in ["require", "verify-ca", "verify-full"] {
        let refusing = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 8];
            stream.read_exact(&mut request).await.unwrap();
            stream.write_all(b"N").await.unwrap();
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.unwrap();
            rest
        };
        let request = SqlRequest::new(format!("postgres://u:hush@{address}/x?sslmode={mode}"), "SELECT 1 AS a");
        let (rest, read) = tokio::join!(refusing, read(&request));
        assert_eq!(rest, b"", "{mode}");
        assert!(read.unwrap_err().to_string().contains("does not support TLS"), "{mode}");
    }
}
