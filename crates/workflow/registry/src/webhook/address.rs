//! Whom a webhook may call: others must not make this server speak to what only it can reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address is this machine's own.
pub fn is_loopback(address: IpAddr) -> bool {
    embedded(address).is_loopback()
}

/// Whether an address is one of the internet at large: not private, local, shared, documentary, multicast or reserved
/// (IANA's special-purpose registries), also when it is wrapped into IPv6 (mapped, 6to4, NAT64).
pub fn is_public(address: IpAddr) -> bool {
    match embedded(address) {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b));
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    // 2000::/3 is what was given out; of it 2001::/23 and 2001:db8::/32 are special.
    a & 0xe000 == 0x2000 && !(a == 0x2001 && (b < 0x200 || b == 0xdb8))
}

/// The IPv4 address that an IPv6 address stands for, or the address itself.
fn embedded(address: IpAddr) -> IpAddr {
    let IpAddr::V6(wrapped) = address else { return address };
    let part = wrapped.segments();
    let four = |high: u16, low: u16| {
        let ([first, second], [third, fourth]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::V4(Ipv4Addr::new(first, second, third, fourth))
    };
    match part {
        [0x2002, high, low, ..] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0, 0, 0, 0, 0, 0xffff, high, low] => {
            four(high, low)
        }
        _ => address,
    }
}

/// Refuses a URL that could only lead to what is not public; where a name leads is seen when it is called.
pub(super) fn url_check(url: &str) -> Result<(), &'static str> {
    if url.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("it has spaces or control characters");
    }
    let (scheme, rest) = url.split_once("://").ok_or("it is no URL")?;
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err("it carries credentials");
    }
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    if host.is_empty() {
        return Err("it names no host");
    }
    let address = host.parse::<IpAddr>().ok();
    let local = host.eq_ignore_ascii_case("localhost") || address.is_some_and(is_loopback);
    match scheme.to_ascii_lowercase().as_str() {
        "http" | "https" if local => Ok(()),
        "https" if address.is_none_or(is_public) => Ok(()),
        "https" => Err("its address is not a public one"),
        _ => Err("only https is called, or http on this machine"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_internet_is_public() {
        for public in ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"] {
            assert!(is_public(public.parse().expect(public)), "{public}");
        }
        for other in [
            "10.0.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "192.168.1.1",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "ff02::1",
            "::ffff:10.0.0.1",
            "2002:a00:1::",
            "64:ff9b::a9fe:a9fe",
            "2001:db8::1",
        ] {
            assert!(!is_public(other.parse().expect(other)), "{other}");
        }
        assert!(is_loopback("::ffff:127.0.0.1".parse().expect("mapped")));
    }

    #[test]
    fn urls_lead_to_public_hosts_or_here() {
        for good in [
            "https://example.com/x",
            "https://8.8.8.8:8443/",
            "http://127.0.0.1:9/x",
            "http://[::1]/",
            "http://localhost",
        ] {
            assert_eq!(url_check(good), Ok(()), "{good}");
        }
        for bad in [
            "http://example.com/",
            "ftp://example.com/",
            "https://10.0.0.1/",
            "https://[fe80::1]/",
            "https://a@b/",
            "https:///x",
            "example.com",
            "https://exa mple.com",
            "http://127.0.0.1@evil.example/",
            "http://localhost.evil.example/",
        ] {
            assert!(url_check(bad).is_err(), "{bad}");
        }
    }
}
