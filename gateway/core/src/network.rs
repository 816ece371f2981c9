//! Which addresses are not the internet's: what the gateway must not be talked into reaching.

use sallyport_config::ir::IpBlock;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address belongs to this host, a private network, or no host at all (the registries of
/// RFC 6890): loopback, private, shared, link-local (where clouds keep their metadata), multicast,
/// documentation, reserved. An IPv4 address inside an IPv6 one counts as itself.
#[must_use]
pub fn is_internal(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(ip) => is_internal_v4(ip),
        IpAddr::V6(ip) => is_internal_v6(ip),
    }
}

fn is_internal_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    matches!(a, 0 | 10 | 127 | 224..=255)
        || matches!(
            (a, b),
            (100, 64..=127) | (169, 254) | (172, 16..=31) | (192, 168)
        )
        || matches!((a, b), (198, 18..=19))
        || matches!((a, b, c), (192, 0, 0 | 2) | (198, 51, 100) | (203, 0, 113))
}

fn is_internal_v6(ip: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = ip.segments();
    let inner = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_internal_v4(Ipv4Addr::new(a, b, c, d))
    };
    match (a, b) {
        // unspecified, loopback, and the old form of IPv4 inside
        (0, 0) => true,
        // NAT64 (RFC 6052) and 6to4 (RFC 3056) lead to the IPv4 address inside
        (0x64, 0xff9b) if (c, d, e, f) == (0, 0, 0, 0) => inner(g, h),
        (0x64, 0xff9b) => true,
        (0x2002, _) => inner(b, c),
        // Teredo and its neighbours, documentation, discard-only
        (0x2001, 0..=0x1ff | 0xdb8) | (0x100, 0) | (0x3fff, 0..=0xfff) => true,
        _ => !(0x2000..=0x3fff).contains(&a),
    }
}

/// Whether an address may be reached: it is the internet's, or in a block that was allowed.
#[must_use]
pub fn may_reach(address: IpAddr, allowed: &[IpBlock]) -> bool {
    !is_internal(address) || allowed.iter().any(|block| block.contains(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internal_addresses_are_known_in_every_spelling() {
        for ip in [
            "127.0.0.1",
            "127.255.0.1",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "192.0.0.8",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "fe80::1",
            "fc00::1",
            "fd12:3456::1",
            "ff02::1",
            "fec0::1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "100::1",
        ] {
            assert!(is_internal(ip.parse().unwrap()), "{ip}");
        }
        for ip in [
            "1.1.1.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.167.0.1",
            "100.63.0.1",
            "100.128.0.1",
            "169.253.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
            "2002:101:101::",
        ] {
            assert!(!is_internal(ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn a_block_that_was_allowed_may_be_reached() {
        let allowed = [IpBlock::parse("10.0.0.0/8").unwrap()];
        assert!(may_reach("10.1.1.1".parse().unwrap(), &allowed));
        assert!(may_reach("::ffff:10.1.1.1".parse().unwrap(), &allowed));
        assert!(may_reach("1.1.1.1".parse().unwrap(), &allowed));
        assert!(!may_reach("127.0.0.1".parse().unwrap(), &allowed));
    }
}
