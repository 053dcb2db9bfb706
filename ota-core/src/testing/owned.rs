//! Owned twins of types that borrow: the encoded bytes, and the view decoded from them whenever it is asked for.

use core::fmt;
use core::marker::PhantomData;

use super::{Choices, Generate};

/// A type that borrows from the bytes it was decoded from, for every lifetime of them.
pub trait View {
    /// The type with the lifetime of the bytes.
    type Of<'a>: Copy + fmt::Debug + PartialEq;

    /// Decodes the bytes, if they are valid.
    fn decode(bytes: &[u8]) -> Option<Self::Of<'_>>;

    /// Encodes a value, if it obeys its own rules.
    fn encode(view: &Self::Of<'_>) -> Option<Vec<u8>>;

    /// Makes a value and encodes it.
    fn generate(choices: &mut Choices<'_>) -> Owned<Self>;
}

/// The owned twin of a view.
pub struct Owned<V: ?Sized> {
    bytes: Vec<u8>,
    view: PhantomData<fn() -> V>,
}

impl<V: View + ?Sized> Owned<V> {
    /// Keeps a value.
    ///
    /// # Panics
    /// If the value breaks a rule of its own type and cannot be encoded.
    #[must_use]
    pub fn of(view: &V::Of<'_>) -> Self {
        let bytes = V::encode(view).expect("the value obeys the rules of its type");
        Self::from_bytes(bytes).expect("what is written can be read")
    }

    /// Keeps encoded bytes, if they are valid.
    #[must_use]
    pub fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        let is_valid = V::decode(&bytes).is_some();
        is_valid.then_some(Self { bytes, view: PhantomData })
    }

    /// The value, decoded anew.
    #[must_use]
    pub fn lend(&self) -> V::Of<'_> {
        V::decode(&self.bytes).expect("the bytes were checked when they were kept")
    }

    /// The encoded bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl<V: View> Generate for Owned<V> {
    fn generate(choices: &mut Choices<'_>) -> Self {
        V::generate(choices)
    }
}

impl<V: ?Sized> Clone for Owned<V> {
    fn clone(&self) -> Self {
        Self { bytes: self.bytes.clone(), view: PhantomData }
    }
}

impl<V: ?Sized> PartialEq for Owned<V> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl<V: ?Sized> Eq for Owned<V> {}

impl<V: View + ?Sized> fmt::Debug for Owned<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.lend(), f)
    }
}
