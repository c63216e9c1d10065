use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::{hmac, signature};
use ropewalk_listening::private_text;
use ropewalk_store::files;
use serde::Deserialize;
use tokio_rustls::rustls::pki_types::SubjectPublicKeyInfoDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

use super::unusable;
use crate::InferenceServerError;

/// Longest file of keys that is read, in bytes.
const LONGEST_FILE: u64 = 1 << 20;
/// RFC 7518, section 3.2: a secret for HS256 has at least as many bytes as its hash.
const SHORTEST_SECRET: usize = 32;
/// RFC 7518, section 3.3: 2048 bits at least.
const SHORTEST_MODULUS: usize = 256;
/// Bytes of a coordinate of P-256.
const COORDINATE: usize = 32;

/// `AlgorithmIdentifier` of rsaEncryption (RFC 3279, section 2.3.1).
const RSA: &[u8] = &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
/// `AlgorithmIdentifier` of id-ecPublicKey on prime256v1 (RFC 5480, section 2.1.1).
const P256: &[u8] = &[
    0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03,
    0x01, 0x07,
];

/// A key with the one algorithm for which it is.
#[derive(Debug)]
pub(super) struct VerifyingKey {
    name: Option<String>,
    material: Material,
}

enum Material {
    Hs256(hmac::Key),
    /// `RSAPublicKey` in DER (RFC 8017, appendix A.1.1).
    Rs256(Vec<u8>),
    /// Modulus and exponent, big-endian.
    Rs256Parts(Vec<u8>, Vec<u8>),
    /// The point, uncompressed.
    Es256(Vec<u8>),
}

impl std::fmt::Debug for Material {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.algorithm())
    }
}

impl Material {
    fn algorithm(&self) -> &'static str {
        match self {
            Self::Hs256(_) => "HS256",
            Self::Rs256(_) | Self::Rs256Parts(..) => "RS256",
            Self::Es256(_) => "ES256",
        }
    }
}

impl VerifyingKey {
    pub(super) fn algorithm(&self) -> &'static str {
        self.material.algorithm()
    }

    /// Whether a token that names this key, or none, may be signed with it.
    pub(super) fn is_named(&self, name: Option<&str>) -> bool {
        name.is_none() || self.name.is_none() || self.name.as_deref() == name
    }

    pub(super) fn verifies(&self, message: &[u8], signed: &[u8]) -> bool {
        let rsa = &signature::RSA_PKCS1_2048_8192_SHA256;
        match &self.material {
            Material::Hs256(key) => hmac::verify(key, message, signed).is_ok(),
            Material::Rs256(key) => signature::UnparsedPublicKey::new(rsa, key).verify(message, signed).is_ok(),
            Material::Rs256Parts(n, e) => {
                signature::RsaPublicKeyComponents { n, e }.verify(rsa, message, signed).is_ok()
            }
            Material::Es256(point) => {
                let algorithm = &signature::ECDSA_P256_SHA256_FIXED;
                signature::UnparsedPublicKey::new(algorithm, point).verify(message, signed).is_ok()
            }
        }
    }
}

/// A shared secret.
pub(super) fn of_secret(path: &Path) -> Result<Vec<VerifyingKey>, InferenceServerError> {
    let text = private_text(path)?;
    let secret = text.trim().as_bytes();
    if secret.len() < SHORTEST_SECRET {
        return Err(unusable(path.to_owned(), "the secret has fewer than 32 bytes"));
    }
    let material = Material::Hs256(hmac::Key::new(hmac::HMAC_SHA256, secret));
    Ok(vec![VerifyingKey { name: None, material }])
}

/// Public keys in PEM (`BEGIN PUBLIC KEY`).
pub(super) fn of_pem(path: &Path) -> Result<Vec<VerifyingKey>, InferenceServerError> {
    let bytes = files::read_bounded(path, LONGEST_FILE)?;
    let mut keys = Vec::new();
    for info in SubjectPublicKeyInfoDer::pem_slice_iter(&bytes) {
        let info = info.map_err(|error| unusable(path.to_owned(), &error.to_string()))?;
        let material = of_info(&info).ok_or_else(|| unusable(path.to_owned(), "a key is neither RSA nor P-256"))?;
        keys.push(VerifyingKey { name: None, material });
    }
    if keys.is_empty() {
        return Err(unusable(path.to_owned(), "it holds no public key in PEM"));
    }
    Ok(keys)
}

/// `SubjectPublicKeyInfo` (RFC 5280, section 4.1): a sequence of the algorithm and the key as a string of bits.
fn of_info(info: &[u8]) -> Option<Material> {
    let (content, rest) = element(info, 0x30)?;
    if !rest.is_empty() {
        return None;
    }
    let rsa = content.strip_prefix(RSA);
    let (bits, rest) = element(rsa.or_else(|| content.strip_prefix(P256))?, 0x03)?;
    // No unused bits at the end.
    let key = bits.strip_prefix(&[0])?.to_vec();
    rest.is_empty().then(|| if rsa.is_some() { Material::Rs256(key) } else { Material::Es256(key) })
}

/// The content of a DER element with this tag, and what follows it (X.690, section 8.1).
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = bytes.strip_prefix(&[tag])?.split_first()?;
    if first < 0x80 {
        return rest.split_at_checked(usize::from(first));
    }
    let count = usize::from(first & 0x7f);
    if !(1..=4).contains(&count) {
        return None;
    }
    let (length, rest) = rest.split_at_checked(count)?;
    let length = length.iter().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
    rest.split_at_checked(length)
}

/// RFC 7517, section 5.
#[derive(Deserialize)]
struct KeySet {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct WebKey {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// A JSON Web Key Set; keys of other kinds are passed over, as RFC 7517 asks.
pub(super) fn of_set(path: &Path) -> Result<Vec<VerifyingKey>, InferenceServerError> {
    let text = files::read_text(path, LONGEST_FILE)?;
    let set: KeySet = serde_json::from_str(&text).map_err(|error| unusable(path.to_owned(), &error.to_string()))?;
    let keys: Vec<VerifyingKey> = set
        .keys
        .into_iter()
        .filter_map(|key| serde_json::from_value::<WebKey>(key).ok())
        .filter(|key| key.purpose.as_deref().is_none_or(|purpose| purpose == "sig"))
        .filter_map(of_web_key)
        .collect();
    if keys.is_empty() {
        return Err(unusable(path.to_owned(), "it holds no key for RS256 or ES256"));
    }
    Ok(keys)
}

fn of_web_key(key: WebKey) -> Option<VerifyingKey> {
    let bytes = |text: Option<String>| URL_SAFE_NO_PAD.decode(text?).ok();
    let material = match (key.kty.as_str(), key.crv.as_deref()) {
        ("RSA", _) => {
            // ring takes numbers without leading zeros only.
            let number =
                |text| bytes(text).map(|bytes| bytes.into_iter().skip_while(|byte| *byte == 0).collect::<Vec<u8>>());
            Material::Rs256Parts(number(key.n).filter(|n| n.len() >= SHORTEST_MODULUS)?, number(key.e)?)
        }
        ("EC", Some("P-256")) => {
            let coordinate = |text| bytes(text).filter(|bytes| bytes.len() == COORDINATE);
            let mut point = vec![4];
            point.extend(coordinate(key.x)?);
            point.extend(coordinate(key.y)?);
            Material::Es256(point)
        }
        _ => return None,
    };
    key.alg.is_none_or(|alg| alg == material.algorithm()).then_some(VerifyingKey { name: key.kid, material })
}
