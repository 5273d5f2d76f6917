//! Reading a shard.

use std::io::Cursor;

use bytes::Bytes;
use tar::{Archive, Entry, EntryType};

use super::{Sample, ShardError, split_name};

/// The samples in the tar `shard`, which must be `wanted`. Their fields share its memory. Files
/// without an extension, hidden ones, folders and links are passed over.
///
/// # Errors
/// If the tar is damaged, holds a field twice, or the number differs.
pub fn samples(shard: &Bytes, wanted: usize) -> Result<Vec<Sample>, ShardError> {
    // The number is of the index's making: memory is taken as samples are found.
    let mut out: Vec<Sample> = Vec::with_capacity(wanted.min(shard.len() / 512));
    let mut archive = Archive::new(Cursor::new(shard));
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous => {}
            EntryType::GNUSparse => return Err(ShardError::Sparse(name)),
            _ => continue,
        }
        let content = content(shard, &entry, &name)?;
        let Some((key, field)) = split_name(&name) else { continue };
        let open = match out.last_mut() {
            Some(sample) if sample.key == key => sample,
            _ => {
                out.push(Sample { key: key.to_owned(), ..Sample::default() });
                let Some(sample) = out.last_mut() else { continue };
                sample
            }
        };
        if open.fields.insert(field.clone(), content).is_some() {
            return Err(ShardError::Field { key: key.to_owned(), field });
        }
    }
    match out.len() {
        found if found == wanted => Ok(out),
        found => Err(ShardError::Count { found, wanted }),
    }
}

/// The part of the shard that is an entry's content.
fn content<R: std::io::Read>(
    shard: &Bytes,
    entry: &Entry<'_, R>,
    name: &str,
) -> Result<Bytes, ShardError> {
    let range = || {
        let start = usize::try_from(entry.raw_file_position()).ok()?;
        let end = start.checked_add(usize::try_from(entry.size()).ok()?)?;
        (end <= shard.len()).then_some(start..end)
    };
    let torn = || std::io::Error::other(format!("it ends within {name}"));
    Ok(shard.slice(range().ok_or_else(torn)?))
}
