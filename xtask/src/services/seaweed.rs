//! SeaweedFS: an S3 server that checks signatures and honours conditional writes.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::{Server, Services, free_ports};

const KEY: &str = "ropewalk";
const SECRET: &str = "a-secret-of-the-tests";
const BUCKET: &str = "ropewalk-tests";
const MASTER: &str = "ROPEWALK_TEST_SEAWEED_MASTER";
const FILER: &str = "ROPEWALK_TEST_SEAWEED_FILER";

pub(super) fn start(services: &mut Services, weed: &Path) -> Result<()> {
    let folder = services.folder("seaweed")?;
    let ports: [u16; 8] = free_ports()?;
    let [master, master_grpc, volume, volume_grpc, filer, filer_grpc, s3, s3_grpc] = ports;
    let identities = serde_json::json!({ "identities": [{
        "name": "tests",
        "credentials": [{ "accessKey": KEY, "secretKey": SECRET }],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }]});
    let config = folder.join("s3.json");
    std::fs::write(&config, identities.to_string()).with_context(|| format!("cannot write {}", config.display()))?;
    let data = folder.join("data");
    std::fs::create_dir_all(&data)?;
    let mut command = Command::new(weed);
    command.args(["server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false"]);
    command.args([
        "-filer",
        "-s3",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-master.volumeSizeLimitMB=256",
        "-volume.max=40",
    ]);
    command.arg(format!("-dir={}", data.display())).arg(format!("-s3.config={}", config.display()));
    for (name, port) in [
        ("master.port", master),
        ("master.port.grpc", master_grpc),
        ("volume.port", volume),
        ("volume.port.grpc", volume_grpc),
        ("filer.port", filer),
        ("filer.port.grpc", filer_grpc),
        ("s3.port", s3),
        ("s3.port.grpc", s3_grpc),
    ] {
        command.arg(format!("-{name}={port}"));
    }
    let server = Server::start("SeaweedFS", &mut command, s3, "Start Seaweed S3 API Server", folder.join("log"))?;
    services.add(
        server,
        [
            ("ROPEWALK_TEST_S3", format!("http://127.0.0.1:{s3}")),
            ("ROPEWALK_TEST_S3_KEY", KEY.to_owned()),
            ("ROPEWALK_TEST_S3_SECRET", SECRET.to_owned()),
            ("ROPEWALK_TEST_S3_BUCKET", BUCKET.to_owned()),
            (MASTER, format!("127.0.0.1:{master}.{master_grpc}")),
            (FILER, format!("127.0.0.1:{filer}.{filer_grpc}")),
        ],
    );
    Ok(())
}

/// Creates the bucket of the tests, which no client of ours can do; that it works says that the server is whole.
pub(super) fn bucket_create(services: &Services, weed: &Path) -> Result<()> {
    let address = |name| services.variable(name).context("SeaweedFS was not started");
    let mut shell = Command::new(weed);
    shell.arg("shell").arg(format!("-master={}", address(MASTER)?)).arg(format!("-filer={}", address(FILER)?));
    let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut input = shell.stdin.take().context("the shell takes no input")?;
    writeln!(input, "s3.bucket.create -name {BUCKET}")?;
    drop(input);
    let said = shell.wait_with_output()?;
    let text = String::from_utf8_lossy(&said.stdout);
    ensure!(
        text.contains("created bucket"),
        "SeaweedFS made no bucket: {text}{}",
        String::from_utf8_lossy(&said.stderr)
    );
    Ok(())
}
