use prost::Message as _;
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

/// The services that reflection itself adds, which are in no descriptor of ours.
const REFLECTION: [&str; 2] = [
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// What is read of a `google.protobuf.FileDescriptorSet`; the decoder passes over all other fields.
#[derive(Clone, PartialEq, prost::Message)]
struct FileSet {
    #[prost(message, repeated, tag = "1")]
    files: Vec<File>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct File {
    #[prost(string, tag = "2")]
    package: String,
    #[prost(message, repeated, tag = "6")]
    services: Vec<Service>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Service {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    methods: Vec<Method>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Method {
    #[prost(string, tag = "1")]
    name: String,
}

/// The paths of all methods.
pub(crate) fn paths() -> Result<Vec<String>, ProtocolError> {
    let set = FileSet::decode(DESCRIPTORS).map_err(|_| ProtocolError::Failed)?;
    let mut paths = REFLECTION.map(str::to_owned).to_vec();
    for File { package, services } in &set.files {
        for Service { name: service, methods } in services {
            paths.extend(methods.iter().map(|method| format!("/{package}.{service}/{}", method.name)));
        }
    }
    Ok(paths)
}
