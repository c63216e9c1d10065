use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

/// Bytes of a block of SHA-256.
const BLOCK: usize = 64;

/// `v1,BASE64` of the HMAC-SHA256 (RFC 2104) of `ID.TIMESTAMP.BODY`, as `mlflow/webhooks/delivery.py` signs.
pub(super) fn sign(secret: &str, id: &str, timestamp: i64, body: &str) -> String {
    let mac = hmac(secret.as_bytes(), format!("{id}.{timestamp}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(mac))
}

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0_u8; BLOCK];
    if key.len() > BLOCK {
        block[..32].copy_from_slice(&hash(&[key]));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner = block.map(|byte| byte ^ 0x36);
    let outer = block.map(|byte| byte ^ 0x5c);
    hash(&[&outer, &hash(&[&inner, message])])
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mac_is_that_of_rfc_4231() {
        let hex = |mac: [u8; 32]| mac.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        let jefe = hmac(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(hex(jefe), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        let long = hmac(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First");
        assert_eq!(hex(long), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
        assert!(sign("s", "id", 5, "{}").starts_with("v1,"));
    }
}
