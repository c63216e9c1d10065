use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use ropewalk_store::files;
use serde_json::{Value, json};

use super::*;

const NOW: i64 = 1_800_000_000;
const SECRET: &str = "manila hemp, three strands, right-laid";

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn signed(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", part(header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

fn hs256(claims: &Value) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    signed(&json!({"alg": "HS256", "typ": "JWT"}), claims, |message| hmac::sign(&key, message).as_ref().to_vec())
}

fn private(folder: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let path = folder.path().join(name);
    files::write_atomic(&path, text.as_bytes()).expect("write");
    let file = files::open(&path).expect("open");
    file.set_permissions(std::fs::Permissions::from_mode(0o600)).expect("mode");
    path
}

fn with_secret() -> JwtVerifier {
    let folder = tempfile::tempdir().expect("folder");
    let table = ServeJwt {
        secret_file: Some(private(&folder, "secret", SECRET)),
        audience: Some("ropewalk".to_owned()),
        issuer: Some("https://id.example.com".to_owned()),
        ..ServeJwt::default()
    };
    JwtVerifier::read(&table).expect("keys")
}

fn good() -> Value {
    json!({"sub": "ada", "iss": "https://id.example.com", "aud": ["x", "ropewalk"], "exp": NOW + 60, "models": ["m"]})
}

#[test]
fn a_good_token_says_who_asks() {
    let caller = with_secret().verify(&hs256(&good()), NOW).expect("good");
    assert_eq!(&*caller.name, "ada");
    assert!(caller.may_ask("m") && !caller.may_ask("other"));
}

#[test]
fn each_claim_is_looked_at() {
    let verifier = with_secret();
    for (claim, value, says) in [
        ("exp", json!(NOW - 31), "expired"),
        ("exp", Value::Null, "no expiry"),
        ("nbf", json!(NOW + 31), "not valid yet"),
        ("iss", json!("https://else.example.com"), "issuer"),
        ("iss", Value::Null, "issuer"),
        ("aud", json!("else"), "audience"),
        ("aud", Value::Null, "audience"),
    ] {
        let mut claims = good();
        claims[claim] = value;
        let error = verifier.verify(&hs256(&claims), NOW).expect_err(claim);
        assert!(error.contains(says), "{claim}: {error}");
    }
    let mut claims = good();
    (claims["exp"], claims["nbf"]) = (json!(NOW - 29), json!(NOW + 29));
    assert!(verifier.verify(&hs256(&claims), NOW).is_ok(), "clocks may differ a little");
}

#[test]
fn forged_tokens_are_refused() {
    let verifier = with_secret();
    let token = hs256(&good());
    let none = format!("{}.{}.", part(&json!({"alg": "none"})), part(&good()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let sign = |message: &[u8]| hmac::sign(&key, message).as_ref().to_vec();
    let critical = signed(&json!({"alg": "HS256", "crit": ["b64"]}), &good(), sign);
    let other = signed(&json!({"alg": "RS256"}), &good(), sign);
    let mut changed = token.clone();
    let middle = changed.find('.').expect("dot") + 5;
    changed.replace_range(middle..=middle, if &changed[middle..=middle] == "A" { "B" } else { "A" });
    for forged in [none.as_str(), &critical, &other, &changed, "", ".", "..", "a.b.c", &token[..token.len() - 2]] {
        assert!(verifier.verify(forged, NOW).is_err(), "{forged}");
    }
    assert!(verifier.verify(&"a".repeat(LONGEST + 1), NOW).is_err());
}

#[test]
fn keys_of_a_set_are_chosen_by_name() {
    let random = SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("pair");
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).expect("pair");
    let point = pair.public_key().as_ref();
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let set = json!({"keys": [
        {"kty": "OKP", "crv": "Ed25519", "x": "AA"},
        {"kty": "EC", "crv": "P-256", "kid": "one", "x": text(&point[1..33]), "y": text(&point[33..])},
    ]});
    let folder = tempfile::tempdir().expect("folder");
    let table = ServeJwt { jwks_file: Some(private(&folder, "set", &set.to_string())), ..ServeJwt::default() };
    let verifier = JwtVerifier::read(&table).expect("keys");
    let sign = |message: &[u8]| pair.sign(&random, message).expect("signature").as_ref().to_vec();
    let token = |header: Value| signed(&header, &good(), sign);
    assert!(verifier.verify(&token(json!({"alg": "ES256", "kid": "one"})), NOW).is_ok());
    assert!(verifier.verify(&token(json!({"alg": "ES256"})), NOW).is_ok());
    assert!(verifier.verify(&token(json!({"alg": "ES256", "kid": "two"})), NOW).is_err());
    // The public key must not serve as a shared secret.
    let key = hmac::Key::new(hmac::HMAC_SHA256, point);
    let confused = signed(&json!({"alg": "HS256"}), &good(), |message| hmac::sign(&key, message).as_ref().to_vec());
    assert!(verifier.verify(&confused, NOW).is_err());
}

/// The same key, in PEM.
#[test]
fn a_public_key_in_pem_is_read() {
    let random = SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("pair");
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).expect("pair");
    let mut info = vec![
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
        0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
    ];
    info.extend(pair.public_key().as_ref());
    let encoded = base64::engine::general_purpose::STANDARD.encode(&info);
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{encoded}\n-----END PUBLIC KEY-----\n");
    let folder = tempfile::tempdir().expect("folder");
    let read = |text: &str| {
        let path = private(&folder, "key", text);
        JwtVerifier::read(&ServeJwt { key_file: Some(path), ..ServeJwt::default() })
    };
    let verifier = read(&pem).expect("key");
    let sign = |message: &[u8]| pair.sign(&random, message).expect("signature").as_ref().to_vec();
    assert!(verifier.verify(&signed(&json!({"alg": "ES256"}), &good(), sign), NOW).is_ok());
    assert!(read("").is_err() && read(&pem.replace("MFkw", "MFkx")).is_err());
}
