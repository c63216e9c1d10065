use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use ropewalk_config::{ModelControl, ModelPlace, Serve, ServeKey, ServeTls};

/// The flags of serving, alike in `ropewalk serve` and `ropewalk-serve`. What is not given is as the configuration says.
#[derive(Clone, Debug, Args)]
pub struct ServeArguments {
    /// What to serve: FILE.onnx, NAME=FILE.onnx, a folder (a Triton model repository, folders with model.onnx, an MLflow
    /// model), models:/NAME/VERSION, models:/NAME@ALIAS, runs:/RUN_ID/PATH; by default those of [serve]
    #[arg(value_name = "MODEL")]
    pub models: Vec<ModelPlace>,
    /// Address to listen on; others than this machine's own need credentials
    #[arg(long, value_parser = address)]
    pub host: Option<IpAddr>,
    /// Port of REST; 0 takes a free one
    #[arg(long, alias = "rest-port")]
    pub port: Option<u16>,
    /// Port of gRPC; 0 takes a free one
    #[arg(long)]
    pub grpc_port: Option<u16>,
    /// A file with [serve] tables, instead of a project's
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Who loads and unloads the models of folders
    #[arg(long, value_enum, value_name = "WHO")]
    pub model_control: Option<Control>,
    /// A key of clients, in a variable of the environment or a file: NAME=env:VARIABLE or NAME=file:PATH
    #[arg(long = "key", value_name = "NAME=WHERE")]
    pub keys: Vec<KeyArgument>,
    /// A chain of certificates in PEM, to serve TLS on both ports
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The private key of the certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Write a line for each request to this file; `stderr` is standard error
    #[arg(long, value_name = "FILE")]
    pub access_log: Option<String>,
}

/// Who loads and unloads the models of folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Control {
    /// All are loaded at the start, and stay
    None,
    /// Clients load and unload them
    Explicit,
    /// The folders are looked at again and again
    Poll,
}

/// Where a key is: `NAME=env:VARIABLE` or `NAME=file:PATH`. Never the key itself, which others on the machine could see.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyArgument {
    name: String,
    key: ServeKey,
}

impl FromStr for KeyArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, place) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(hint)?;
        let (kind, value) = place.split_once(':').filter(|(_, value)| !value.is_empty()).ok_or_else(hint)?;
        let key = match kind {
            "env" => ServeKey { env: Some(value.to_owned()), ..ServeKey::default() },
            "file" => ServeKey { file: Some(PathBuf::from(value)), ..ServeKey::default() },
            _ => return Err(hint()),
        };
        Ok(Self { name: name.to_owned(), key })
    }
}

/// Without what was written: it may be a key.
fn hint() -> String {
    "write NAME=env:VARIABLE or NAME=file:PATH".to_owned()
}

/// An address; `localhost` is that of this machine.
fn address(text: &str) -> Result<IpAddr, String> {
    if text == "localhost" {
        return Ok(Ipv4Addr::LOCALHOST.into());
    }
    text.parse().map_err(|_| format!("`{text}` is no address: use 127.0.0.1 or 0.0.0.0, for example"))
}

impl ServeArguments {
    /// The configuration as these flags change it.
    pub fn over(&self, mut serve: Serve) -> Serve {
        if !self.models.is_empty() {
            serve.models.clone_from(&self.models);
        }
        serve.host = self.host.unwrap_or(serve.host);
        serve.port = self.port.unwrap_or(serve.port);
        serve.grpc_port = self.grpc_port.unwrap_or(serve.grpc_port);
        match self.model_control {
            Some(Control::None) => serve.model_control = ModelControl::None,
            Some(Control::Explicit) => serve.model_control = ModelControl::Explicit,
            Some(Control::Poll) => serve.model_control = ModelControl::Poll,
            None => {}
        }
        for key in &self.keys {
            // Only where it is: what the configuration lets it ask, and how often, holds on.
            let configured = serve.keys.entry(key.name.clone()).or_default();
            (configured.env, configured.file) = (key.key.env.clone(), key.key.file.clone());
        }
        if let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) {
            serve.tls = Some(ServeTls { certificate: certificate.clone(), key: key.clone() });
        }
        if self.access_log.is_some() {
            serve.log.access.clone_from(&self.access_log);
        }
        serve
    }

    /// Whether everything to serve is named and lies in files and folders, so that no project is needed.
    pub fn needs_no_project(&self) -> bool {
        let files = self.models.iter().all(|model| matches!(model, ModelPlace::Path { .. }));
        files && (!self.models.is_empty() || self.config.is_some())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        serve: ServeArguments,
    }

    fn read(flags: &[&str]) -> ServeArguments {
        Program::try_parse_from([&["program"], flags].concat()).expect("flags").serve
    }

    #[test]
    fn flags_count_more_than_the_configuration() {
        let flags = [
            "late=m.onnx",
            "--port",
            "0",
            "--host",
            "localhost",
            "--model-control",
            "poll",
            "--key",
            "shop=env:SHOP_KEY",
        ];
        let serve = read(&flags).over(Serve { grpc_port: 7, ..Serve::default() });
        assert_eq!((serve.port, serve.grpc_port, serve.models.len()), (0, 7, 1));
        assert_eq!(serve.model_control, ModelControl::Poll);
        assert_eq!(serve.keys["shop"].env.as_deref(), Some("SHOP_KEY"));
        assert!(read(&["--rest-port", "9"]).port == Some(9), "the old name");
    }

    #[test]
    fn a_flag_says_where_a_key_is_and_not_what_it_may_ask() {
        let configured = ServeKey {
            file: Some(PathBuf::from("shop.key")),
            models: vec!["flights".to_owned()],
            rate: Some(5.0),
            burst: Some(9),
            ..ServeKey::default()
        };
        let serve = Serve { keys: [("shop".to_owned(), configured.clone())].into(), ..Serve::default() };
        let serve = read(&["m.onnx", "--key", "shop=env:NEW"]).over(serve);
        assert_eq!(serve.keys["shop"], ServeKey { env: Some("NEW".to_owned()), file: None, ..configured });
    }

    #[test]
    fn a_key_itself_is_no_flag() {
        for wrong in ["secret-of-hemp", "a=secret", "a=key:secret", "=env:A", "a=env:"] {
            let error = wrong.parse::<KeyArgument>().expect_err(wrong);
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn files_need_no_project() {
        assert!(read(&["m.onnx", "models"]).needs_no_project());
        assert!(!read(&["models:/m/1"]).needs_no_project());
        assert!(!read(&[]).needs_no_project());
    }
}
