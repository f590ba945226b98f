//! Which addresses are the world's, and which are somebody's own network: those of IANA's registries of special-purpose addresses are not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IPv4 blocks that are not global unicast: the address, and how many bits of it count.
const SPECIAL_V4: &[([u8; 4], u32)] = &[
    // This network
    ([0, 0, 0, 0], 8),
    // Private
    ([10, 0, 0, 0], 8),
    ([172, 16, 0, 0], 12),
    ([192, 168, 0, 0], 16),
    // Carriers' NAT
    ([100, 64, 0, 0], 10),
    // Loopback
    ([127, 0, 0, 0], 8),
    // Link-local, and what clouds tell their machines
    ([169, 254, 0, 0], 16),
    // Protocol assignments
    ([192, 0, 0, 0], 24),
    // Documentation
    ([192, 0, 2, 0], 24),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    // AMT, 6to4 relays, AS112
    ([192, 31, 196, 0], 24),
    ([192, 52, 193, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 175, 48, 0], 24),
    // Benchmarks
    ([198, 18, 0, 0], 15),
    // Multicast, reserved, broadcast
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
];

/// IPv6 blocks inside 2000::/3 that are not global unicast, or hold an IPv4 address.
const SPECIAL_V6: &[(Ipv6Addr, u32)] = &[
    // Protocol assignments, Teredo among them
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    // Documentation
    (Ipv6Addr::new(0x2001, 0x0db8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
    // 6to4
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    // AS112
    (Ipv6Addr::new(0x2620, 0x004f, 0x8000, 0, 0, 0, 0, 0), 48),
];

/// What IANA has given out as global unicast so far. Mapped and translated IPv4 addresses, loopback, link-local, unique-local and multicast
/// lie outside.
const GLOBAL_V6: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// Whether an address is a single machine's in the world.
#[must_use]
pub fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let within = |(block, bits): &([u8; 4], u32)| {
                let differ = address.to_bits() ^ Ipv4Addr::from(*block).to_bits();
                differ.leading_zeros() >= *bits
            };
            !SPECIAL_V4.iter().any(within)
        }
        IpAddr::V6(address) => {
            let within = |(block, bits): &(Ipv6Addr, u32)| {
                (address.to_bits() ^ block.to_bits()).leading_zeros() >= *bits
            };
            within(&GLOBAL_V6) && !SPECIAL_V6.iter().any(within)
        }
    }
}
