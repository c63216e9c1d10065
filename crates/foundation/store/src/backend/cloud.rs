//! The object stores of the three large vendors and of all who speak their protocols.

use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::azure::{AzureConfigKey, MicrosoftAzure, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorage, GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{ClientConfigKey, ClientOptions, Result, RetryConfig};

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
    builder.with_conditional_put(S3ConditionalPut::ETagMatch).with_bucket_name(&place.bucket).build()
}

pub(super) fn google_cloud(place: &Place, options: &BackendOptions) -> Result<GoogleCloudStorage> {
    let endpoint = options.get("GOOGLE_BASE_URL");
    let mut builder = GoogleCloudStorageBuilder::new().with_retry(retry()).with_client_options(client(endpoint));
    for (key, value) in known::<GoogleConfigKey>(options, "GOOGLE_") {
        if key != GoogleConfigKey::Client(ClientConfigKey::AllowHttp) {
            builder = builder.with_config(key, value);
        }
    }
    builder.with_bucket_name(&place.bucket).build()
}

pub(super) fn azure(place: &Place, options: &BackendOptions) -> Result<MicrosoftAzure> {
    let endpoint = options.get("AZURE_STORAGE_ENDPOINT").or_else(|| options.get("AZURE_ENDPOINT"));
    let mut builder = MicrosoftAzureBuilder::new().with_retry(retry()).with_client_options(client(endpoint));
    // As the vendor's own command line calls them.
    for (name, key) in
        [("AZURE_STORAGE_ACCOUNT", AzureConfigKey::AccountName), ("AZURE_STORAGE_KEY", AzureConfigKey::AccessKey)]
    {
        if let Some(value) = options.get(name) {
            builder = builder.with_config(key, value);
        }
    }
    for (key, value) in known::<AzureConfigKey>(options, "AZURE_") {
        if key != AzureConfigKey::Client(ClientConfigKey::AllowHttp) {
            builder = builder.with_config(key, value);
        }
    }
    builder.with_container_name(&place.bucket).build()
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

    #[test]
    fn what_is_missing_or_wrong_is_said() {
        assert!(azure(&place(), &BackendOptions::default()).is_err());
        let options = BackendOptions::new([("AWS_SKIP_SIGNATURE", "perhaps")]);
        assert!(s3(&place(), &options).is_err());
    }
}
