use tonic::service::Routes;
use tonic_reflection::server::Builder;

use crate::ProtocolError;

/// The descriptors of every service that is here.
const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// Adds `grpc.reflection.v1` and the older `v1alpha`, which some tools still speak.
pub(crate) fn add_reflection(routes: Routes) -> Result<Routes, ProtocolError> {
    let builder = || Builder::configure().register_encoded_file_descriptor_set(DESCRIPTORS);
    let one = builder().build_v1().map_err(|_| ProtocolError::Failed)?;
    let alpha = builder().build_v1alpha().map_err(|_| ProtocolError::Failed)?;
    Ok(routes.add_service(one).add_service(alpha))
}
