//! The object stores of the three large vendors and of all who speak their protocols.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::azure::{AzureConfigKey, MicrosoftAzure, MicrosoftAzureBuilder};
use object_store::gcp::{GcpCredential, GoogleCloudStorage, GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{ClientConfigKey, ClientOptions, Result, RetryConfig, StaticCredentialProvider};

use super::connection_string;
use super::credentials::{NoCredentials, OfMachine, Vendor, briefly};
use super::options::BackendOptions;
use super::url::Place;

/// Of a region only the signature knows when there is an endpoint, and it must be some.
const REGION: &str = "us-east-1";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// One part of a pack over a slow line.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(5);
/// An endpoint that does not answer is told in seconds; what has been moved by then is not moved again.
const MAX_RETRIES: usize = 6;
const RETRY_TIMEOUT: Duration = Duration::from_mins(2);

/// With one of these set, credentials do not come from the role of the machine.
const AMAZON_KEYS: [&str; 5] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
];
const GOOGLE_KEYS: [&str; 4] = [
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_SERVICE_ACCOUNT",
    "GOOGLE_SERVICE_ACCOUNT_PATH",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
];
const AZURE_KEYS: [AzureConfigKey; 7] = [
    AzureConfigKey::AccessKey,
    AzureConfigKey::SasKey,
    AzureConfigKey::Token,
    AzureConfigKey::ClientSecret,
    AzureConfigKey::FederatedTokenFile,
    AzureConfigKey::UseAzureCli,
    AzureConfigKey::UseFabricEndpoint,
];

pub(super) fn s3(place: &Place, options: &BackendOptions) -> Result<AmazonS3> {
    let endpoint = options.get("AWS_ENDPOINT_URL_S3").or_else(|| options.get("AWS_ENDPOINT_URL"));
    let mut builder = AmazonS3Builder::new()
        .with_region(options.get("AWS_DEFAULT_REGION").unwrap_or(REGION))
        .with_retry(retry())
        .with_client_options(client(endpoint));
    for (key, value) in known::<AmazonS3ConfigKey>(options, "AWS_") {
        if key != AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp) {
            builder = builder.with_config(key, value);
        }
    }
    // Refs rest on it; said here, so that no setting can take it away.
    builder = builder.with_conditional_put(S3ConditionalPut::ETagMatch).with_bucket_name(&place.bucket);
    if AMAZON_KEYS.iter().all(|key| options.get(key).is_none()) {
        let asking = builder.clone().with_retry(briefly()).build()?;
        builder = builder.with_credentials(OfMachine::new(Vendor::Amazon, asking.credentials()));
    }
    builder.build()
}

pub(super) fn google_cloud(place: &Place, options: &BackendOptions) -> Result<GoogleCloudStorage> {
    let endpoint = options.get("GOOGLE_BASE_URL");
    let mut builder = GoogleCloudStorageBuilder::new().with_retry(retry()).with_client_options(client(endpoint));
    for (key, value) in known::<GoogleConfigKey>(options, "GOOGLE_") {
        if key != GoogleConfigKey::Client(ClientConfigKey::AllowHttp) {
            builder = builder.with_config(key, value);
        }
    }
    let unsigned = options.get("GOOGLE_SKIP_SIGNATURE").unwrap_or_default().to_ascii_lowercase();
    if matches!(unsigned.as_str(), "1" | "on" | "true" | "y" | "yes") {
        // `object_store` (0.13) asks the metadata server of Google's machines for a token to write with all the same.
        let nobody = GcpCredential { bearer: String::new() };
        builder = builder.with_credentials(Arc::new(StaticCredentialProvider::new(nobody)));
    } else if GOOGLE_KEYS.iter().all(|key| options.get(key).is_none()) {
        let asking = builder.clone().with_retry(briefly()).with_bucket_name(&place.bucket).build()?;
        builder = builder.with_credentials(OfMachine::new(Vendor::Google, asking.credentials()));
    }
    builder.with_bucket_name(&place.bucket).build()
}

pub(super) fn azure(place: &Place, options: &BackendOptions) -> Result<MicrosoftAzure> {
    let settings = azure_settings(options);
    let endpoint = settings.iter().rev().find(|(key, _)| *key == AzureConfigKey::Endpoint).map(|(_, value)| value);
    let has = |key: AzureConfigKey| settings.iter().any(|(found, _)| *found == key);
    if !has(AzureConfigKey::AccountName) && !has(AzureConfigKey::UseEmulator) {
        return Err(NoCredentials::of_no_account());
    }
    let mut builder =
        MicrosoftAzureBuilder::new().with_retry(retry()).with_client_options(client(endpoint.map(String::as_str)));
    for (key, value) in &settings {
        // An emulator is where the endpoint says; `object_store` would pass over that.
        if *key != AzureConfigKey::UseEmulator || endpoint.is_none() {
            builder = builder.with_config(*key, value);
        }
    }
    builder = builder.with_container_name(&place.bucket);
    if AZURE_KEYS.into_iter().chain([AzureConfigKey::UseEmulator]).all(|key| !has(key)) {
        let asking = builder.clone().with_retry(briefly()).build()?;
        builder = builder.with_credentials(OfMachine::new(Vendor::Azure, asking.credentials()));
    }
    builder.build()
}

/// What is set for Azure; of two values for one key the last counts.
fn azure_settings(options: &BackendOptions) -> Vec<(AzureConfigKey, String)> {
    let mut settings = Vec::new();
    // As the vendor's own command line calls them.
    for (name, key) in [
        ("AZURE_STORAGE_ACCOUNT", AzureConfigKey::AccountName),
        ("AZURE_STORAGE_KEY", AzureConfigKey::AccessKey),
        ("AZURE_STORAGE_SERVICE_ENDPOINT", AzureConfigKey::Endpoint),
    ] {
        settings.extend(options.get(name).map(|value| (key, value.to_owned())));
    }
    let known = known::<AzureConfigKey>(options, "AZURE_");
    let known = known.filter(|(key, _)| *key != AzureConfigKey::Client(ClientConfigKey::AllowHttp));
    settings.extend(known.map(|(key, value)| (key, value.to_owned())));
    match options.get("AZURE_STORAGE_CONNECTION_STRING") {
        // The parts of a credential belong together and must not be mixed from two places.
        Some(text) if !settings.iter().any(|(key, _)| *key == AzureConfigKey::AccountName) => {
            settings.extend(connection_string::settings(text));
        }
        _ => {}
    }
    settings
}

/// The settings that the back-end whose names begin with `prefix` knows.
fn known<'a, K: std::str::FromStr>(
    options: &'a BackendOptions,
    prefix: &'static str,
) -> impl Iterator<Item = (K, &'a str)> {
    options.beginning_with(prefix).filter_map(|(name, value)| Some((name.to_ascii_lowercase().parse().ok()?, value)))
}

/// Without TLS only where the endpoint says so itself.
fn client(endpoint: Option<&str>) -> ClientOptions {
    ClientOptions::new()
        .with_allow_http(endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")))
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_timeout(REQUEST_TIMEOUT)
}

fn retry() -> RetryConfig {
    RetryConfig { max_retries: MAX_RETRIES, retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() }
}

#[cfg(test)]
mod tests {
    use object_store::path::Path;

    use super::*;

    fn place() -> Place {
        Place { bucket: "rope".to_owned(), path: Path::default() }
    }

    #[test]
    fn settings_reach_their_back_end() {
        let options = BackendOptions::new([
            ("AWS_ACCESS_KEY_ID", "AK"),
            ("AWS_SECRET_ACCESS_KEY", "hush"),
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
            ("AWS_CONDITIONAL_PUT", "disabled"),
            ("AWS_PROFILE", "of no use here"),
            ("AZURE_STORAGE_ACCOUNT", "walk"),
            ("AZURE_STORAGE_KEY", "aHVzaA=="),
            ("GOOGLE_SKIP_SIGNATURE", "true"),
            ("HOME", "/root"),
        ]);
        assert_eq!(s3(&place(), &options).unwrap().to_string(), "AmazonS3(rope)");
        assert!(azure(&place(), &options).unwrap().to_string().contains("rope"));
        assert!(google_cloud(&place(), &options).unwrap().to_string().contains("rope"));
    }

    /// Where an object is, as the back-end would have it.
    async fn address(values: &[(&str, &str)]) -> String {
        use object_store::signer::Signer as _;
        let store = azure(&place(), &BackendOptions::new(values.iter().copied())).unwrap();
        let url = store.signed_url("GET".parse().unwrap(), &Path::from("a"), CONNECT_TIMEOUT).await.unwrap();
        url.as_str().split('?').next().unwrap().to_owned()
    }

    #[tokio::test]
    async fn an_endpoint_of_azure_goes_before_its_emulator_and_an_account_before_a_connection_string() {
        let text = "AccountName=other;AccountKey=aHVzaA==;BlobEndpoint=http://127.0.0.1:1/other";
        let mut values = vec![("AZURE_STORAGE_CONNECTION_STRING", text)];
        assert_eq!(address(&values).await, "http://127.0.0.1:1/other/rope/a");
        values.extend([("AZURE_STORAGE_ACCOUNT_NAME", "walk"), ("AZURE_STORAGE_ACCOUNT_KEY", "aHVzaA==")]);
        assert_eq!(address(&values).await, "https://walk.blob.core.windows.net/rope/a");
        values.extend([
            ("AZURE_STORAGE_SERVICE_ENDPOINT", "http://127.0.0.1:2/walk"),
            ("AZURE_STORAGE_USE_EMULATOR", "true"),
        ]);
        assert_eq!(address(&values).await, "http://127.0.0.1:2/walk/rope/a");
    }

    /// Answers one request with `head`, and gives what it was.
    async fn answer(listener: &tokio::net::TcpListener, head: &str) -> String {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"hemp") {
            let byte = stream.read_u8().await.unwrap();
            request.push(byte);
        }
        let answer = format!("HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(request).unwrap().to_ascii_lowercase()
    }

    /// No fake of Google's service that can be had has its XML API, so that its protocol is held to here.
    #[tokio::test]
    async fn google_is_asked_to_create_only_what_is_absent() {
        use object_store::{Error, ObjectStore as _, PutMode, PutOptions};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let options = BackendOptions::new([("GOOGLE_BASE_URL", endpoint.as_str()), ("GOOGLE_SKIP_SIGNATURE", "true")]);
        let store = google_cloud(&place(), &options).unwrap();
        let path = Path::from("refs/main");
        let create = || store.put_opts(&path, "hemp".into(), PutOptions::from(PutMode::Create));
        let created = "200 OK\r\netag: \"1\"\r\nx-goog-generation: 7";
        let (request, put) = tokio::join!(answer(&listener, created), create());
        assert!(request.starts_with("put /rope/refs%2fmain http/1.1"), "{request}");
        assert!(request.contains("x-goog-if-generation-match: 0\r\n"), "{request}");
        assert_eq!(put.unwrap().version.as_deref(), Some("7"));
        let (_, put) = tokio::join!(answer(&listener, "412 Precondition Failed"), create());
        assert!(matches!(put, Err(Error::AlreadyExists { .. })));
    }

    /// Nothing listens there.
    async fn nobody() -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    }

    #[tokio::test]
    async fn without_credentials_it_is_said_within_seconds_what_was_looked_at() {
        use object_store::ObjectStoreExt as _;
        use ropewalk_types::Diagnose as _;
        let metadata = nobody().await;
        let amazon = BackendOptions::new([("AWS_METADATA_ENDPOINT", metadata.as_str()), ("AWS_REGION", "eu-north-1")]);
        let values = [("AZURE_STORAGE_ACCOUNT", "walk"), ("AZURE_MSI_ENDPOINT", metadata.as_str())];
        let azure_options = BackendOptions::new(values);
        let begun = std::time::Instant::now();
        let path = Path::from("format");
        let of_amazon = s3(&place(), &amazon).unwrap().get(&path).await.unwrap_err();
        let of_azure = azure(&place(), &azure_options).unwrap().get(&path).await.unwrap_err();
        let no_account = azure(&place(), &BackendOptions::default()).unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
        for (error, words) in [
            (of_amazon, ["AWS_ACCESS_KEY_ID", "AWS_SKIP_SIGNATURE=true"]),
            (of_azure, ["AZURE_STORAGE_CONNECTION_STRING", "AZURE_SKIP_SIGNATURE=true"]),
            (no_account, ["AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_ACCOUNT_NAME"]),
        ] {
            let error = crate::store::failed("read", &path)(error);
            assert_eq!(error.code(), "store.no_credentials", "{error}");
            assert!(error.to_string().contains(words[0]) && !error.to_string().contains("http"), "{error}");
            assert!(error.hint().unwrap().contains(words[1]), "{error}");
        }
    }

    #[tokio::test]
    async fn unsigned_requests_ask_no_machine() {
        use object_store::ObjectStoreExt as _;
        let (metadata, listener) = (nobody().await, tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap());
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let options = BackendOptions::new([
            ("AWS_METADATA_ENDPOINT", metadata.as_str()),
            ("AWS_ENDPOINT_URL", endpoint.as_str()),
            ("AWS_SKIP_SIGNATURE", "true"),
        ]);
        let (store, path) = (s3(&place(), &options).unwrap(), Path::from("a"));
        let (request, put) = tokio::join!(answer(&listener, "200 OK\r\netag: \"1\""), store.put(&path, "hemp".into()));
        put.unwrap();
        assert!(request.starts_with("put /rope/a") && !request.contains("authorization"), "{request}");
    }

    #[test]
    fn what_is_missing_or_wrong_is_said() {
        assert!(azure(&place(), &BackendOptions::default()).is_err());
        let options = BackendOptions::new([("AWS_SKIP_SIGNATURE", "perhaps")]);
        assert!(s3(&place(), &options).is_err());
    }
}
