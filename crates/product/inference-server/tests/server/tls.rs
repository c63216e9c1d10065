use ropewalk_config::{Serve, ServeTls};
use ropewalk_open_inference::proto::ServerReadyRequest;
use ropewalk_open_inference::proto::grpc_inference_service_client::GrpcInferenceServiceClient;
use ropewalk_store::files;
use tonic::transport::{Certificate, Channel, ClientTlsConfig};

use crate::world::{World, row};

/// A certificate of this machine, signed by itself, and its key.
fn certificate(folder: &tempfile::TempDir) -> (ServeTls, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]);
    let made = made.expect("certificate");
    let tls = ServeTls { certificate: folder.path().join("certificate.pem"), key: folder.path().join("key.pem") };
    files::write_atomic(&tls.certificate, made.cert.pem().as_bytes()).expect("certificate");
    files::write_atomic(&tls.key, made.signing_key.serialize_pem().as_bytes()).expect("key");
    (tls, made.cert.pem())
}

#[tokio::test]
async fn both_listeners_speak_tls() {
    let folder = tempfile::tempdir().expect("folder");
    let (tls, pem) = certificate(&folder);
    let world = World::start(|serve: &mut Serve| serve.tls = Some(tls)).await;
    assert!(world.server.rest_url().starts_with("https://"));
    let root = reqwest::Certificate::from_pem(pem.as_bytes()).expect("certificate");
    let client = reqwest::Client::builder().no_proxy().add_root_certificate(root).build().expect("client");
    assert_eq!(client.post(world.infer_url()).json(&row()).send().await.expect("answer").status(), 200);
    let plain = world.infer_url().replace("https", "http");
    let plain = reqwest::Client::builder().no_proxy().build().expect("client").post(plain).json(&row()).send().await;
    assert!(plain.is_err(), "without TLS nobody is answered");
    let config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&pem)).domain_name("localhost");
    let channel = Channel::from_shared(format!("https://{}", world.server.grpc_url())).expect("URL");
    let channel = channel.tls_config(config).expect("TLS").connect().await.expect("connected");
    let ready = GrpcInferenceServiceClient::new(channel).server_ready(ServerReadyRequest::default()).await;
    assert!(ready.expect("answer").into_inner().ready);
    world.server.stop().await.expect("stopped");
}

#[tokio::test]
async fn files_that_are_no_certificate_are_refused_before_anything_listens() {
    let folder = tempfile::tempdir().expect("folder");
    let (mut tls, _) = certificate(&folder);
    tls.key = folder.path().join("none.pem");
    assert!(World::started(|serve| serve.tls = Some(tls)).await.is_err());
}
