use std::fmt;

/// Which inner motifs fit each ground motif.
const FITS: [&[u8]; 8] = [b"0123", b"03512", b"0351", b"0352", b"0352", b"03512", b"04231", b"4031"];
/// Which line motifs fit it; 0 is no line.
const LINES: [&[u8]; 8] = [b"0213", b"021", b"02", b"023", b"023", b"023", b"013", b"023"];
/// The glazes, the common ones more often.
const GLAZES: &[u8; 16] = b"0000111122233445";

/// The tile of a product, which stands where a shop has a picture: ground, inner and line motif, and glaze. As text it is
/// four digits, from which the macro `tile` draws it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tile([u8; 4]);

impl Tile {
    /// Always the same for the same product.
    pub fn of(product_id: &str) -> Self {
        let hash = mixed(fnv1a(product_id.as_bytes()));
        let ground = (hash % 8) as usize;
        let pick = |motifs: &[u8], shift: u32| motifs[(hash >> shift) as usize % motifs.len()];
        Self([b'0' + ground as u8, pick(FITS[ground], 3), pick(LINES[ground], 9), pick(GLAZES, 14)])
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|digit| write!(f, "{}", char::from(*digit)))
    }
}

/// FNV-1a in 32 bits.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// The finalizer of MurmurHash3, so that numbers which follow each other look different.
fn mixed(mut hash: u32) -> u32 {
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tiles_are_those_of_the_design() {
        assert_eq!(Tile::of("620").to_string(), "6331");
        assert_eq!(Tile::of("400").to_string(), "5030");
    }

    #[test]
    fn any_text_has_a_tile() {
        for id in ["", "ñ", "a/b", "4294967296"] {
            let tile = Tile::of(id).to_string();
            assert!(tile.len() == 4 && tile.bytes().all(|digit| digit.is_ascii_digit()), "{id}: {tile}");
        }
    }
}
