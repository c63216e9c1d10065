//! Azure's connection strings, which its portal gives and its tools take (Microsoft Learn, "Configure Azure Storage
//! connection strings").

use object_store::azure::AzureConfigKey;

const SUFFIX: &str = "core.windows.net";

/// What `text` says of blobs, by the setting of the same meaning; parts of other services are passed over.
pub(super) fn settings(text: &str) -> Vec<(AzureConfigKey, String)> {
    let pairs = || text.split(';').filter_map(|pair| pair.split_once('='));
    let part =
        |wanted: &str| pairs().find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted)).map(|(_, value)| value);
    let account = part("AccountName");
    let endpoint = part("BlobEndpoint").map(str::to_owned).or_else(|| {
        let (protocol, suffix) = (part("DefaultEndpointsProtocol")?, part("EndpointSuffix").unwrap_or(SUFFIX));
        Some(format!("{protocol}://{}.blob.{suffix}", account?))
    });
    // An endpoint that belongs to one account names it by its host or, on an emulator, by its path.
    let of_endpoint = endpoint.as_deref().and_then(|endpoint| endpoint.split("://").nth(1)).map(|rest| {
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let path = path.trim_end_matches('/');
        if path.is_empty() { host.split('.').next().unwrap_or_default() } else { path }
    });
    let known = [
        (AzureConfigKey::AccountName, account.or(of_endpoint)),
        (AzureConfigKey::AccessKey, part("AccountKey")),
        (AzureConfigKey::SasKey, part("SharedAccessSignature")),
        (AzureConfigKey::Endpoint, endpoint.as_deref()),
        (AzureConfigKey::UseEmulator, part("UseDevelopmentStorage")),
    ];
    known.into_iter().filter_map(|(key, value)| Some((key, value?.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(String, String)> {
        settings(text).into_iter().map(|(key, value)| (key.as_ref().to_owned(), value)).collect()
    }

    fn expected(values: &[(&str, &str)]) -> Vec<(String, String)> {
        values.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn keys_and_endpoints() {
        let text =
            "DefaultEndpointsProtocol=https;AccountName=walk;AccountKey=aHVzaA==;EndpointSuffix=core.windows.net";
        let with_key = [("azure_storage_account_name", "walk"), ("azure_storage_account_key", "aHVzaA==")];
        let endpoint = ("azure_storage_endpoint", "https://walk.blob.core.windows.net");
        assert_eq!(found(text), expected(&[with_key[0], with_key[1], endpoint]));
        let text = "AccountName=walk;AccountKey=aHVzaA==;BlobEndpoint=http://127.0.0.1:10000/walk;QueueEndpoint=x;";
        let endpoint = ("azure_storage_endpoint", "http://127.0.0.1:10000/walk");
        assert_eq!(found(text), expected(&[with_key[0], with_key[1], endpoint]));
    }

    #[test]
    fn signatures_and_the_emulator() {
        let text = "BlobEndpoint=https://walk.blob.core.windows.net/;SharedAccessSignature=sv=2021&sig=a%3D";
        let values = [
            ("azure_storage_account_name", "walk"),
            ("azure_storage_sas_key", "sv=2021&sig=a%3D"),
            ("azure_storage_endpoint", "https://walk.blob.core.windows.net/"),
        ];
        assert_eq!(found(text), expected(&values));
        assert_eq!(found("UseDevelopmentStorage=true"), expected(&[("azure_storage_use_emulator", "true")]));
        assert_eq!(found("no pair; at all"), []);
    }
}
