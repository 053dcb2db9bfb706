//! `Arbitrary` for every type: a fuzzer's bytes, turned into values.

use arbitrary::{Arbitrary, Result, Unstructured};

#[cfg(feature = "fleet")]
use super::for_every_fleet_type;
use super::{Choices, Generate, for_every_type};

/// Makes a value from as many bytes as it needs; when they are used up, the rest of it is in its smallest form.
fn made<T: Generate>(unstructured: &mut Unstructured<'_>) -> Result<T> {
    let mut draw = || unstructured.arbitrary().unwrap_or_default();
    Ok(T::generate(&mut Choices::new(&mut draw)))
}

macro_rules! arbitrary {
    ($($type:ty),+ $(,)?) => {
        $(impl<'a> Arbitrary<'a> for $type {
            fn arbitrary(unstructured: &mut Unstructured<'a>) -> Result<Self> {
                made(unstructured)
            }
        })+
    };
}

for_every_type!(arbitrary);
#[cfg(feature = "fleet")]
for_every_fleet_type!(arbitrary);
