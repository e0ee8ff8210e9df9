//! Whose bounds a peer counts for.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Bits of an IPv6 address by which networks are given out: the rest is its holder's to choose.
const NETWORK: u32 = 64;

/// The address of a peer as it is counted: one of IPv4, or the /64 of one of IPv6, as who
/// has one of its addresses has all.
pub(crate) fn source(remote: SocketAddr) -> IpAddr {
    match remote.ip().to_canonical() {
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << (128 - NETWORK))))
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_a_network_has_one_source() {
        let of = |text: &str| source(SocketAddr::new(text.parse().unwrap(), 1)).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(of("2001:db8:1:2::1"), "2001:db8:1:2::");
        assert_ne!(of("2001:db8:1:3::1"), of("2001:db8:1:2::1"));
        assert_eq!(of("10.0.0.7"), "10.0.0.7");
        assert_eq!(of("::ffff:10.0.0.7"), "10.0.0.7", "IPv4 on a socket of both");
        assert_eq!(of("::1"), "::");
    }
}
