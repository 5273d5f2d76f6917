//! The header of a volume file; its bytes are laid out in the module's documentation.

use super::VolumeNo;
use crate::disk::DiskFile;
use coffer_core::ids::NodeId;
use std::io;

/// Bytes of the header; the first record follows it.
pub const HEADER_LEN: u64 = 64;

const LEN: usize = 64;
const MAGIC: &[u8; 8] = b"CofferVo";
const VERSION: u32 = 3;

/// A volume that this node must not touch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Written by another node.
    #[error(
        "volume {volume} belongs to node {owner}, not to {node}; put it back where it came from, or correct node_id"
    )]
    Foreign {
        /// Which volume.
        volume: VolumeNo,
        /// Who wrote it.
        owner: NodeId,
        /// Who is opening it.
        node: NodeId,
    },
    /// Written by another release.
    #[error(
        "volume {volume} has format version {version}, this program reads {VERSION}; use the release that wrote it"
    )]
    Version {
        /// Which volume.
        volume: VolumeNo,
        /// Its version.
        version: u32,
    },
}

/// What the first bytes of a volume are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Valid,
    /// Unreadable: damaged, or never finished.
    Damaged,
}

pub(crate) fn encode(node: NodeId, volume: VolumeNo) -> [u8; LEN] {
    let mut out = [0; LEN];
    out[..8].copy_from_slice(MAGIC);
    out[8..12].copy_from_slice(&VERSION.to_le_bytes());
    out[12..16].copy_from_slice(&volume.0.to_le_bytes());
    out[16..32].copy_from_slice(node.as_bytes());
    let hash = blake3::hash(&out[..32]);
    out[32..].copy_from_slice(hash.as_bytes());
    out
}

/// Checks the bytes of a header.
fn decode(bytes: &[u8; LEN], node: NodeId, volume: VolumeNo) -> Result<State, HeaderError> {
    if bytes[..8] != MAGIC[..] || blake3::hash(&bytes[..32]).as_bytes()[..] != bytes[32..] {
        return Ok(State::Damaged);
    }
    let version = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
    if version != VERSION {
        return Err(HeaderError::Version { volume, version });
    }
    let mut owner = [0; 16];
    owner.copy_from_slice(&bytes[16..32]);
    let owner = NodeId::from_bytes(owner);
    if owner != node {
        return Err(HeaderError::Foreign { volume, owner, node });
    }
    // A file renamed to another number is of no use: its records are bound to the old one.
    if bytes[12..16] == volume.0.to_le_bytes() { Ok(State::Valid) } else { Ok(State::Damaged) }
}

pub(crate) fn read(
    file: &dyn DiskFile,
    node: NodeId,
    volume: VolumeNo,
) -> io::Result<Result<State, HeaderError>> {
    let mut bytes = [0; LEN];
    let n = file.read_at(&mut bytes, 0)?;
    Ok(if n < LEN { Ok(State::Damaged) } else { decode(&bytes, node, volume) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId::from_bytes([3; 16]);

    #[test]
    fn any_flipped_bit_is_found_and_other_owners_are_named() {
        let good = encode(NODE, VolumeNo(7));
        assert_eq!(decode(&good, NODE, VolumeNo(7)), Ok(State::Valid));
        for bit in 0..LEN * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&bad, NODE, VolumeNo(7)), Ok(State::Damaged));
        }
        let other = NodeId::from_bytes([4; 16]);
        assert!(matches!(decode(&good, other, VolumeNo(7)), Err(HeaderError::Foreign { .. })));
        assert_eq!(decode(&good, NODE, VolumeNo(8)), Ok(State::Damaged));
    }
}
