//! What values are made of whose type has no rules: numbers, flags, texts, lists, and records of them.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Choices, Generate};

/// Longest generated list and text without a rule of its own.
const LENGTH_MAX: usize = 8;

impl Generate for bool {
    fn generate(choices: &mut Choices<'_>) -> Self {
        choices.flip()
    }
}

impl Generate for u8 {
    fn generate(choices: &mut Choices<'_>) -> Self {
        choices.byte()
    }
}

impl Generate for u16 {
    fn generate(choices: &mut Choices<'_>) -> Self {
        choices.u16()
    }
}

impl Generate for u32 {
    fn generate(choices: &mut Choices<'_>) -> Self {
        choices.u32()
    }
}

impl Generate for u64 {
    fn generate(choices: &mut Choices<'_>) -> Self {
        choices.u64()
    }
}

impl Generate for i64 {
    fn generate(choices: &mut Choices<'_>) -> Self {
        choices.u64() as Self
    }
}

impl Generate for String {
    /// Any text but without a zero character, which ends texts in sort keys.
    fn generate(choices: &mut Choices<'_>) -> Self {
        choices.text("a1 .-'\"\\%{}<>=\u{e4}\u{4e2d}\u{1f680}", 0, LENGTH_MAX)
    }
}

impl Generate for Box<str> {
    fn generate(choices: &mut Choices<'_>) -> Self {
        String::generate(choices).into()
    }
}

impl<T: Generate> Generate for Box<T> {
    fn generate(choices: &mut Choices<'_>) -> Self {
        Self::new(T::generate(choices))
    }
}

impl<T: Generate> Generate for Option<T> {
    fn generate(choices: &mut Choices<'_>) -> Self {
        choices.maybe(T::generate)
    }
}

impl<T: Generate> Generate for Vec<T> {
    fn generate(choices: &mut Choices<'_>) -> Self {
        choices.list(0, LENGTH_MAX, T::generate)
    }
}

impl<A: Generate, B: Generate> Generate for (A, B) {
    fn generate(choices: &mut Choices<'_>) -> Self {
        (A::generate(choices), B::generate(choices))
    }
}

/// Records field by field: each as its type has it, or by the function behind the colon.
#[cfg(feature = "fleet")]
macro_rules! fields {
    ($($type:ident { $($field:ident $(: $make:expr)?),+ $(,)? })+) => {
        $(impl Generate for $type {
            fn generate(choices: &mut Choices<'_>) -> Self {
                Self { $($field: fields!(@make choices $($make)?)),+ }
            }
        })+
    };
    (@make $choices:ident) => { Generate::generate($choices) };
    (@make $choices:ident $make:expr) => {{
        let make: fn(&mut Choices<'_>) -> _ = $make;
        make($choices)
    }};
}

/// Enums without content: one of the values.
macro_rules! choice {
    ($($type:ident = $values:expr;)+) => {
        $(impl Generate for $type {
            fn generate(choices: &mut Choices<'_>) -> Self {
                choices.one_of(&$values)
            }
        })+
    };
}

pub(super) use choice;
#[cfg(feature = "fleet")]
pub(super) use fields;
