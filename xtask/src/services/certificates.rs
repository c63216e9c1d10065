//! Certificates for servers that offer TLS: made anew for each run of the tests, valid for two days.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::Services;
use crate::process::output;

/// The one host that the certificate names; the servers answer on 127.0.0.1 too, which is therefore the wrong name.
const HOST: &str = "localhost";
const KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

/// What servers prove themselves by.
pub(super) struct Certificates {
    certificate: PathBuf,
    key: PathBuf,
}

impl Certificates {
    /// An authority, a certificate that it signed, and another authority that signed nothing.
    pub(super) fn make(services: &mut Services) -> Result<Self> {
        let folder = services.folder("certificates")?;
        let (authority, stranger) = (folder.join("authority.pem"), folder.join("stranger.pem"));
        let authority_key = folder.join("authority.key");
        let (certificate, key) = (folder.join("server.pem"), folder.join("server.key"));
        authority_create("Authority of the tests", &authority, &authority_key)?;
        authority_create("Stranger", &stranger, &folder.join("stranger.key"))?;
        let request = folder.join("server.request");
        let mut ask = openssl("req");
        ask.args(KEY).arg("-keyout").arg(&key).arg("-out").arg(&request);
        ask.args(["-subj".to_owned(), format!("/CN={HOST}"), "-addext".to_owned()]);
        output(ask.arg(format!("subjectAltName=DNS:{HOST}")))?;
        let mut sign = openssl("x509");
        sign.args(["-req", "-days", "2", "-copy_extensions", "copy", "-in"]).arg(&request);
        sign.arg("-CA").arg(&authority).arg("-CAkey").arg(&authority_key).arg("-out").arg(&certificate);
        output(&mut sign)?;
        services.variables.extend([
            ("ROPEWALK_TEST_AUTHORITY", authority.display().to_string()),
            ("ROPEWALK_TEST_STRANGER", stranger.display().to_string()),
        ]);
        Ok(Self { certificate, key })
    }

    /// Copies certificate and key to where a server that runs as another user may read them.
    pub(super) fn copy(&self, folder: &Path) -> Result<(PathBuf, PathBuf)> {
        let (certificate, key) = (folder.join("server.pem"), folder.join("server.key"));
        for (from, to) in [(&self.certificate, &certificate), (&self.key, &key)] {
            std::fs::copy(from, to).with_context(|| format!("cannot write {}", to.display()))?;
        }
        Ok((certificate, key))
    }
}

fn authority_create(name: &str, certificate: &Path, key: &Path) -> Result<()> {
    let mut command = openssl("req");
    command.args(["-x509", "-days", "2"]).args(KEY).arg("-subj").arg(format!("/CN={name}"));
    output(command.arg("-keyout").arg(key).arg("-out").arg(certificate)).map(drop)
}

fn openssl(chore: &str) -> Command {
    let mut command = Command::new("openssl");
    command.arg(chore);
    command
}
