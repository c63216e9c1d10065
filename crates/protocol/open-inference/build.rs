//! Compiles the protocol buffers in Rust: no `protoc` is needed.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = protox::compile(["open_inference.proto", "health.proto"], ["proto"])?;
    // Tensors arrive as slices of the message, not as copies.
    tonic_prost_build::configure().bytes(".inference").compile_fds(files)?;
    Ok(())
}
