//! The values that conditions compare: addresses, dates, numbers.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use time::format_description::well_known::Iso8601;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

/// A range of addresses, in CIDR notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Reads `10.0.0.0/8`, `2001:db8::/32`, or a lone address.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().ok()?)),
            None => (text, None),
        };
        let written: IpAddr = address.parse().ok()?;
        let address = written.to_canonical();
        let most = if written.is_ipv4() { 32 } else { 128 };
        // IPv4 that is written mapped into IPv6 has a prefix of 96 bits that do not count.
        let mapped = if written == address { 0 } else { 96 };
        let bits = bits.unwrap_or(most);
        (mapped..=most).contains(&bits).then(|| Self { address, bits: bits - mapped })
    }

    /// Whether the address is in the range. IPv4 addresses that come mapped into IPv6 count as what
    /// they are.
    pub fn contains(&self, address: IpAddr) -> bool {
        let same = |ours: u128, theirs: u128, length: u8| {
            let mask = u128::MAX.checked_shl(u32::from(length - self.bits)).unwrap_or(0);
            ours & mask == theirs & mask
        };
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                same(ours.to_bits().into(), theirs.to_bits().into(), 32)
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => same(ours.to_bits(), theirs.to_bits(), 128),
            _ => false,
        }
    }

    /// Whether it is so wide that S3 counts it as the whole Internet: wider than /8 in IPv4 or /32
    /// in IPv6.
    pub fn is_nearly_everything(&self) -> bool {
        self.bits < if self.address.is_ipv4() { 8 } else { 32 }
    }
}

/// Reads an address as a request has it.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

/// Reads a date as policies write it, to ms since the Unix epoch: ISO 8601 with or without a time
/// of day, or seconds since the Unix epoch.
pub(super) fn date(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse::<i64>() {
        return seconds.checked_mul(1000);
    }
    let moment = match OffsetDateTime::parse(text, &Iso8601::DEFAULT) {
        Ok(moment) => moment,
        Err(_) => Date::parse(text, format_description!("[year]-[month]-[day]"))
            .ok()?
            .midnight()
            .assume_utc(),
    };
    i64::try_from(moment.unix_timestamp_nanos().div_euclid(1_000_000)).ok()
}

/// Reads a boolean.
pub(super) fn boolean(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_are_what_cidr_says() {
        let table = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3/32", "10.1.2.4", false),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "10.0.0.1", false),
            ("2001:db8::/33", "2001:db8:7fff::1", true),
            ("2001:db8::/33", "2001:db8:8000::1", false),
            ("::ffff:10.0.0.0/104", "10.9.9.9", true),
            ("::ffff:10.0.0.0/104", "11.9.9.9", false),
        ];
        for (network, ip, inside) in table {
            let range = Network::parse(network).unwrap();
            assert_eq!(range.contains(address(ip).unwrap()), inside, "{ip} in {network}");
        }
        for bad in [
            "",
            "10.0.0.0/33",
            "10.0.0/8",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "::ffff:0:0/95",
            "a",
        ] {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
        let wide = |n| Network::parse(n).unwrap().is_nearly_everything();
        assert!(wide("0.0.0.0/1") && wide("::/0") && wide("::ffff:0:0/96"));
        assert!(!wide("10.0.0.0/8") && !wide("fd00::/32"));
    }

    #[test]
    fn dates_come_in_three_forms() {
        let day = Some(1_372_550_400_000);
        for text in
            ["2013-06-30T00:00:00Z", "2013-06-30", "1372550400", "2013-06-30T02:00:00+02:00"]
        {
            assert_eq!(date(text), day, "{text}");
        }
        for bad in ["", "tomorrow", "2013-13-30", "9223372036854775807"] {
            assert_eq!(date(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text: String) {
            let _ = (Network::parse(&text), date(&text), boolean(&text), address(&text));
        }

        #[test]
        fn a_network_contains_its_own_address(ip: IpAddr, bits in 0u8..=128) {
            if let Some(network) = Network::parse(&format!("{ip}/{bits}")) {
                prop_assert!(network.contains(ip));
            }
        }
    }
}
