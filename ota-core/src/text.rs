//! Names and revisions: text that was checked once and is trusted to be well-formed ever after.
//!
//! Each kind has a borrowed form (`FileName<'a>`, `Copy`, no allocation) and, with the `alloc` feature, an owned
//! one (`FileNameBuf`). Neither can be made from text that breaks its rules, so no later code checks again.

use crate::limits::{
    DETAIL_BYTES_MAX, DEVICE_ID_BYTES_MAX, FILE_NAME_BYTES_MAX, FILE_NAME_COMPONENTS_MAX, NAME_BYTES_MAX,
    REVISION_BYTES_MAX, URL_BYTES_MAX,
};

/// Why a text was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// The text is empty.
    #[error("it is empty")]
    Empty,
    /// The text is longer than its kind may be.
    #[error("it is {found} bytes long, the limit is {limit}")]
    TooLong {
        /// Its length in bytes.
        found: usize,
        /// The longest allowed, in bytes.
        limit: usize,
    },
    /// The byte at `offset` is part of a character that this kind does not allow.
    #[error("the character at byte {offset} is not allowed")]
    Forbidden {
        /// Where the character begins, in bytes.
        offset: usize,
    },
    /// A component is empty, begins with a dot, or there are too many of them.
    #[error("the path component at byte {offset} is empty, begins with a dot, or is one too many")]
    Component {
        /// Where the component begins, in bytes.
        offset: usize,
    },
}

fn bounded(text: &str, limit: usize) -> Result<(), TextError> {
    match text.len() {
        0 => Err(TextError::Empty),
        found if found > limit => Err(TextError::TooLong { found, limit }),
        _ => Ok(()),
    }
}

fn first_forbidden(text: &str, allowed: impl Fn(char) -> bool) -> Result<(), TextError> {
    match text.char_indices().find(|(_, character)| !allowed(*character)) {
        Some((offset, _)) => Err(TextError::Forbidden { offset }),
        None => Ok(()),
    }
}

fn is_name_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-')
}

fn check_device_id(text: &str) -> Result<(), TextError> {
    bounded(text, DEVICE_ID_BYTES_MAX)?;
    // A device id is one level of an MQTT topic: a wildcard or a separator in it would reach another device's.
    first_forbidden(text, |c| !matches!(c, '+' | '#' | '/') && !c.is_control())
}

fn check_name(text: &str) -> Result<(), TextError> {
    bounded(text, NAME_BYTES_MAX)?;
    if text.starts_with('.') {
        return Err(TextError::Component { offset: 0 });
    }
    first_forbidden(text, is_name_character)
}

fn check_file_name(text: &str) -> Result<(), TextError> {
    bounded(text, FILE_NAME_BYTES_MAX)?;
    first_forbidden(text, |c| c == '/' || is_name_character(c))?;
    let mut offset = 0_usize;
    for (index, component) in text.split('/').enumerate() {
        if component.is_empty() || component.starts_with('.') || index >= FILE_NAME_COMPONENTS_MAX {
            return Err(TextError::Component { offset });
        }
        offset = offset.saturating_add(component.len()).saturating_add(1);
    }
    Ok(())
}

fn check_revision(text: &str) -> Result<(), TextError> {
    bounded(text, REVISION_BYTES_MAX)?;
    first_forbidden(text, |c| !c.is_control())
}

fn check_url(text: &str) -> Result<(), TextError> {
    bounded(text, URL_BYTES_MAX)?;
    first_forbidden(text, |c| c.is_ascii_graphic())
}

fn check_detail(text: &str) -> Result<(), TextError> {
    if text.is_empty() {
        return Ok(());
    }
    bounded(text, DETAIL_BYTES_MAX)?;
    first_forbidden(text, |c| !c.is_control())
}

macro_rules! text_kind {
    ($(#[$doc:meta])* $borrowed:ident, $owned:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $borrowed<'a>(&'a str);

        impl<'a> $borrowed<'a> {
            /// Checks the text and wraps it.
            ///
            /// # Errors
            /// [`TextError`] says which rule the text breaks, and where.
            pub fn new(text: &'a str) -> Result<Self, TextError> {
                $check(text)?;
                Ok(Self(text))
            }

            /// The text itself.
            #[must_use]
            pub const fn as_str(self) -> &'a str {
                self.0
            }
        }

        impl core::fmt::Display for $borrowed<'_> {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(self.0)
            }
        }

        impl AsRef<str> for $borrowed<'_> {
            fn as_ref(&self) -> &str {
                self.0
            }
        }

        impl<'a> TryFrom<&'a str> for $borrowed<'a> {
            type Error = TextError;
            fn try_from(text: &'a str) -> Result<Self, TextError> {
                Self::new(text)
            }
        }

        #[doc = concat!("The owned form of [`", stringify!($borrowed), "`].")]
        #[cfg(feature = "alloc")]
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $owned(alloc::boxed::Box<str>);

        #[cfg(feature = "alloc")]
        impl $owned {
            /// Checks the text and takes it.
            ///
            /// # Errors
            /// [`TextError`] says which rule the text breaks, and where.
            pub fn new(text: impl Into<alloc::boxed::Box<str>>) -> Result<Self, TextError> {
                let text = text.into();
                $check(&text)?;
                Ok(Self(text))
            }

            /// The borrowed form.
            #[must_use]
            pub fn borrow(&self) -> $borrowed<'_> {
                $borrowed(&self.0)
            }

            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        #[cfg(feature = "alloc")]
        impl From<$borrowed<'_>> for $owned {
            fn from(text: $borrowed<'_>) -> Self {
                Self(text.0.into())
            }
        }

        #[cfg(feature = "alloc")]
        impl core::str::FromStr for $owned {
            type Err = TextError;
            fn from_str(text: &str) -> Result<Self, TextError> {
                Self::new(text)
            }
        }

        #[cfg(feature = "alloc")]
        impl TryFrom<alloc::string::String> for $owned {
            type Error = TextError;
            fn try_from(text: alloc::string::String) -> Result<Self, TextError> {
                Self::new(text)
            }
        }

        #[cfg(feature = "alloc")]
        impl From<$owned> for alloc::string::String {
            fn from(text: $owned) -> Self {
                text.0.into()
            }
        }

        #[cfg(feature = "alloc")]
        impl AsRef<str> for $owned {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        #[cfg(feature = "alloc")]
        impl core::fmt::Display for $owned {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_kind! {
    /// Who a device is: the identity that TLS or the broker authenticated.
    ///
    /// 1 to 64 bytes of UTF-8 without control characters, `+`, `#` and `/`, because it is one level of a topic.
    DeviceId, DeviceIdBuf, check_device_id
}
text_kind! {
    /// The kind of device (device template) that a release is made for.
    ///
    /// 1 to 64 characters of `[A-Za-z0-9._-]`, not beginning with a dot.
    ProductId, ProductIdBuf, check_name
}
text_kind! {
    /// The name of a package; its releases are its signed versions. Same alphabet as [`ProductId`].
    PackageName, PackageNameBuf, check_name
}
text_kind! {
    /// A hardware revision of a product. Same alphabet as [`ProductId`].
    HardwareRevision, HardwareRevisionBuf, check_name
}
text_kind! {
    /// Where on the device a file goes (`firmware`, `app`, `certificates`). Same alphabet as [`ProductId`].
    InstallTarget, InstallTargetBuf, check_name
}
text_kind! {
    /// The name of a file inside a package.
    ///
    /// At most 64 bytes: up to 8 components of `[A-Za-z0-9._-]` joined by `/`, none empty or beginning with a
    /// dot. So a name can never leave the folder that it is resolved in.
    FileName, FileNameBuf, check_file_name
}
text_kind! {
    /// The revision string of one file: opaque, compared only for equality.
    ///
    /// 1 to 255 bytes of UTF-8 without control characters.
    Revision, RevisionBuf, check_revision
}
text_kind! {
    /// Where a file that is hosted elsewhere, or the release notes, can be fetched: 1 to 512 visible ASCII characters.
    Url, UrlBuf, check_url
}
text_kind! {
    /// Free text of a report or a hint, for people: 0 to 128 bytes of UTF-8 without control characters.
    Detail, DetailBuf, check_detail
}

impl Detail<'static> {
    /// Nothing to say.
    pub const NONE: Self = Self("");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_id_cannot_reach_another_topic() {
        for bad in ["", "+", "#", "a/b", "a\0b", "a\nb", "dev+", &"x".repeat(65)] {
            assert!(DeviceId::new(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "00:11:22:33:44:55", "gerät-7", &"x".repeat(64)] {
            assert!(DeviceId::new(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn a_file_name_cannot_leave_its_folder() {
        for bad in
            ["..", "a/..", "../a", "/a", "a/", "a//b", ".a", "a/.b", "a\\b", "a b", "1/2/3/4/5/6/7/8/9"]
        {
            assert!(FileName::new(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "firmware.bin", "certs/ca.pem", "1/2/3/4/5/6/7/8", "x.tar.gz"] {
            assert!(FileName::new(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn an_error_names_the_place() {
        assert_eq!(FileName::new("ab/.c"), Err(TextError::Component { offset: 3 }));
        assert_eq!(ProductId::new("ab c"), Err(TextError::Forbidden { offset: 2 }));
        assert_eq!(Revision::new("1\n2"), Err(TextError::Forbidden { offset: 1 }));
    }

    #[test]
    fn the_first_revision_of_an_original_client_is_accepted() {
        assert!(
            Revision::new("revision is not available on the device, this is a generated revision 0").is_ok()
        );
    }
}
