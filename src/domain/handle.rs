use std::{fmt, str::FromStr};

use aes::{
    Aes128,
    cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit},
};

use super::{Invalid, OrderId, hex};

/// The unguessable 128-bit name under which a customer follows an order; 32 hexadecimal digits as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Handle(pub(super) [u8; 16]);

/// The secret that turns order ids into handles and back.
///
/// A handle is the id, padded with zeroes, under AES-128: a keyed permutation. Nothing has to be stored or indexed
/// to find an order by its handle, and a guessed handle opens with probability 2^-75 (the padding must be zero).
#[derive(Clone)]
pub struct HandleKey(Aes128);

impl HandleKey {
    /// From 16 secret random bytes.
    pub fn new(key: [u8; 16]) -> Self {
        Self(Aes128::new(&key.into()))
    }

    /// The handle of an order.
    pub fn seal(&self, id: OrderId) -> Handle {
        let mut block = u128::from(id.get()).to_be_bytes().into();
        self.0.encrypt_block(&mut block);
        Handle(block.into())
    }

    /// The order behind a handle, if it was made with this key.
    pub fn open(&self, handle: Handle) -> Option<OrderId> {
        let mut block = handle.0.into();
        self.0.decrypt_block(&mut block);
        let id = u128::from_be_bytes(block.into());
        u64::try_from(id).ok().and_then(|id| OrderId::new(id).ok())
    }
}

impl fmt::Debug for HandleKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HandleKey(…)")
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(hex::encode(&self.0, &mut [0; 32]))
    }
}

impl FromStr for Handle {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        hex::decode(text).map(Self).ok_or(Invalid::of("handle", "must be 32 hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_only_under_its_own_key() {
        let (ours, theirs) = (HandleKey::new([7; 16]), HandleKey::new([8; 16]));
        for id in [1, 2, 1 << 40, OrderId::MAX] {
            let id = OrderId::new(id).unwrap();
            let handle = ours.seal(id);
            assert_eq!(handle.to_string().parse(), Ok(handle));
            assert_eq!(ours.open(handle), Some(id));
            assert_eq!(theirs.open(handle), None);
        }
    }

    #[test]
    fn refuses_other_texts() {
        for text in ["", "1", "0000000000000000000000000000000G", "+0000000000000000000000000000000"] {
            assert!(text.parse::<Handle>().is_err(), "{text:?}");
        }
    }
}
