//! Compiles the protocol buffers in Rust: no `protoc` is needed.

use std::error::Error;
use std::path::Path;

/// Messages that REST writes as they are.
const STATISTICS: [&str; 6] = [
    "StatisticDuration",
    "InferStatistics",
    "InferResponseStatistics",
    "InferBatchStatistics",
    "MemoryUsage",
    "ModelStatistics",
];

/// Reads no message that would take much more memory than it has bytes.
const CODEC: &str = "crate::grpc::bounded::BoundedCodec";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).open_files(["open_inference.proto", "health.proto"])?;
    compiler.include_source_info(false);
    // What reflection tells.
    let out = std::env::var("OUT_DIR")?;
    std::fs::write(Path::new(&out).join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    // Tensors arrive as slices of the message, not as copies.
    let mut build = tonic_prost_build::configure().bytes(".inference").codec_path(CODEC);
    for message in STATISTICS {
        build = build.message_attribute(format!(".inference.{message}"), "#[derive(serde::Serialize)]");
    }
    // With its comments, which become the documentation.
    compiler.include_source_info(true);
    build.compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
