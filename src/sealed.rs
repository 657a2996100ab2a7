//! Data and bytes in one piece, for a place that others can write to: it says which version wrote it and what it is, and
//! a checksum says that it is whole and where it belongs. What does not is nothing, and never an error.
//!
//! ```text
//! "SDNG" version | length of the description | description (JSON) | body | checksum (BLAKE3 of all before, by the place)
//! ```

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What every piece begins with. Another layout has another number.
const MAGIC: &[u8; 5] = b"SDNG\x01";
/// Bytes of the length of the description.
const LENGTH: usize = 4;
/// Bytes of the checksum.
const CHECKSUM: usize = 32;

/// Seals a description and a body for one place.
pub fn seal(place: &[u8; 32], said: &impl Serialize, body: &[u8]) -> Bytes {
    let said = serde_json::to_vec(said).expect("strings and numbers always serialise");
    let mut bytes = BytesMut::with_capacity(MAGIC.len() + LENGTH + said.len() + body.len() + CHECKSUM);
    bytes.put_slice(MAGIC);
    bytes.put_u32(u32::try_from(said.len()).expect("headers are bounded"));
    bytes.put_slice(&said);
    bytes.put_slice(body);
    let checksum = checksum(place, &bytes);
    bytes.put_slice(checksum.as_bytes());
    bytes.freeze()
}

/// What was sealed for this place; `None` if these bytes are nothing of the kind.
pub fn open<T: DeserializeOwned>(place: &[u8; 32], bytes: &Bytes) -> Option<(T, Bytes)> {
    let end = bytes.len().checked_sub(CHECKSUM)?;
    let rest = bytes[..end].strip_prefix(MAGIC)?;
    if checksum(place, &bytes[..end]) != blake3::Hash::from_slice(&bytes[end..]).ok()? {
        return None;
    }
    let (length, rest) = rest.split_first_chunk::<LENGTH>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let said = serde_json::from_slice(rest.get(..length)?).ok()?;
    Some((said, bytes.slice(end - rest.len() + length..end)))
}

/// Something in another place is not what belongs there, whoever put it there.
fn checksum(place: &[u8; 32], bytes: &[u8]) -> blake3::Hash {
    blake3::Hasher::new_keyed(place).update(bytes).finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLACE: [u8; 32] = [7; 32];

    #[test]
    fn what_was_sealed_opens_in_its_place() {
        let bytes = seal(&PLACE, &("said", 3), b"body");
        assert_eq!(open(&PLACE, &bytes), Some((("said".to_owned(), 3), Bytes::from_static(b"body"))));
    }

    #[test]
    fn another_place_and_any_other_byte_are_nothing() {
        let bytes = seal(&PLACE, &"said", b"body");
        assert_eq!(open::<String>(&[8; 32], &bytes), None);
        for position in 0..bytes.len() {
            let mut changed = bytes.to_vec();
            changed[position] ^= 1;
            assert_eq!(open::<String>(&PLACE, &changed.into()), None, "{position}");
            assert_eq!(open::<String>(&PLACE, &bytes.slice(..position)), None, "{position}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100), is_signed in any::<bool>()) {
            let mut bytes = [MAGIC.as_slice(), &bytes].concat();
            if is_signed {
                let checksum = checksum(&PLACE, &bytes);
                bytes.extend_from_slice(checksum.as_bytes());
            }
            let _ = open::<String>(&PLACE, &bytes.into());
        }
    }
}
