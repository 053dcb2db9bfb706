//! `any::<T>()` for every type: rows of bytes that shrink, turned into values.

use proptest::arbitrary::Arbitrary;
use proptest::collection::vec;
use proptest::strategy::{BoxedStrategy, Strategy};

#[cfg(feature = "fleet")]
use super::for_every_fleet_type;
use super::{Choices, Generate, for_every_type};

/// Longest row of choices. Values that need more end in their smallest form.
const CHOICES_MAX: usize = 2048;

/// A strategy for a type that can be made from choices.
fn strategy<T: Generate + core::fmt::Debug + 'static>() -> BoxedStrategy<T> {
    vec(proptest::num::u8::ANY, 0..CHOICES_MAX).prop_map(|bytes| Choices::make(&bytes)).boxed()
}

macro_rules! any {
    ($($type:ty),+ $(,)?) => {
        $(impl Arbitrary for $type {
            type Parameters = ();
            type Strategy = BoxedStrategy<Self>;

            fn arbitrary_with((): ()) -> BoxedStrategy<Self> {
                strategy()
            }
        })+
    };
}

for_every_type!(any);
#[cfg(feature = "fleet")]
for_every_fleet_type!(any);
