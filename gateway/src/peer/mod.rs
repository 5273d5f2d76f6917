//! How gateways reach each other: the transport below the catalog's raft.
//!
//! Mutual TLS over TCP ([`coffer_node::rpc`]), ALPN [`ALPN`]. A request's header is a [`PeerRequest`],
//! an answer's a [`PeerResponse`]; neither has a payload.
//!
//! A gateway's certificate names it by its id ([`name`]), and whoever connects insists on the name
//! of the gateway that is meant. Storage nodes' certificates are not good for clients, so that only
//! gateways can connect.
//!
//! * [`link`]: sending requests
//! * [`service`]: answering them

pub mod link;
pub mod service;

pub use link::PeerClient;
pub use service::serve;

use crate::catalog::raft::network::MAX_MESSAGE;
#[cfg(doc)]
use crate::catalog::raft::network::{PeerRequest, PeerResponse};
use crate::catalog::raft::types::GatewayId;

/// The protocol's name and version in the TLS handshake.
pub const ALPN: &[u8] = b"coffer-gateway/2";

/// The longest message, as its length is written.
#[allow(clippy::cast_possible_truncation)]
const LIMIT: u32 = MAX_MESSAGE as u32;
const _: () = assert!(LIMIT as usize == MAX_MESSAGE);

/// The name of a gateway in its certificate, for other gateways.
pub fn name(gateway: GatewayId) -> String {
    format!("gateway-{gateway}")
}

#[cfg(test)]
mod tests {
    use crate::catalog::raft::network::{PeerRequest, PeerResponse};
    use coffer_core::wire;
    use proptest::prelude::*;
    use serde::Serialize;
    use serde::de::DeserializeOwned;

    /// What is understood must be read back from what it is written as.
    fn read_back<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<bool, TestCaseError> {
        let Ok(message) = wire::decode::<T>(bytes) else { return Ok(false) };
        let written = wire::encode_within(&message, super::LIMIT).unwrap();
        let again = wire::decode::<T>(&written[4..]).unwrap();
        prop_assert_eq!(&written, &wire::encode_within(&again, super::LIMIT).unwrap());
        // Numbers may come longer than they need to be written, nothing may come shorter.
        prop_assert!(written.len() <= 4 + bytes.len());
        Ok(true)
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic_and_what_is_understood_reads_back(
            kind in 0..9u8,
            small in prop::collection::vec(0..3u8, 0..40),
            rest: Vec<u8>,
        ) {
            // Most arbitrary bytes are no message at all: some of these begin as one.
            for bytes in [rest.clone(), [&[kind], small.as_slice()].concat(), [&[kind], rest.as_slice()].concat()] {
                read_back::<PeerRequest>(&bytes)?;
                read_back::<PeerResponse>(&bytes)?;
            }
        }

        #[test]
        fn a_message_that_is_cut_is_none(text: String, cut: prop::sample::Index) {
            let bytes = wire::encode_within(&PeerResponse::Refused(text), super::LIMIT).unwrap();
            let cut = 4 + cut.index(bytes.len() - 4);
            prop_assert!(wire::decode::<PeerResponse>(&bytes[4..cut]).is_err());
        }
    }
}
