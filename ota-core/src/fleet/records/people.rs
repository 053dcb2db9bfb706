//! People and programs that may do something, and the groups of devices that they name.

use alloc::boxed::Box;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};

use crate::fleet::{Index, IndexEntry};
use crate::number::Sha256Digest;
use crate::text::ProductIdBuf;
use crate::time::Timestamp;

/// A saved group of devices.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Group {
    /// Who is in it.
    #[n(0)]
    pub expression: Box<str>,
}

/// A person or a program.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PrincipalRecord {
    /// What people call it.
    #[n(0)]
    pub title: Box<str>,
    /// What it may do, and where.
    #[n(1)]
    pub roles: Vec<RoleGrant>,
    /// Whether it may do nothing at all for the time being.
    #[n(2)]
    pub disabled: bool,
    /// The hash of its password in PHC format, if it has one.
    #[n(3)]
    pub password: Option<Box<str>>,
}

/// A role, and the products that it holds for.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RoleGrant {
    /// The role.
    #[n(0)]
    pub role: PersonRole,
    /// The products; `None` for all of them and the installation itself.
    #[n(1)]
    pub products: Option<Vec<ProductIdBuf>>,
}

/// What somebody is there to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum PersonRole {
    /// Looks.
    #[n(0)]
    Viewer,
    /// Uploads drafts.
    #[n(1)]
    Developer,
    /// Runs campaigns and devices.
    #[n(2)]
    Operator,
    /// Approves campaigns and promotes them to the fleet.
    #[n(3)]
    Approver,
    /// Brings signatures and roots.
    #[n(4)]
    KeyHolder,
    /// Looks after products, people and the installation.
    #[n(5)]
    Administrator,
}

/// What a token is good for. One kind never passes for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
#[cbor(index_only)]
pub enum TokenKind {
    /// Calls of a program.
    #[default]
    #[n(0)]
    Api,
    /// One browser's session.
    #[n(1)]
    Session,
    /// Setting a password once.
    #[n(2)]
    Invitation,
}

/// What somebody shows instead of a password. Its secret half is known to its holder only.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Token {
    /// Whose it is.
    #[n(0)]
    pub principal: Box<str>,
    /// The SHA-256 of its secret half, which is long and random.
    #[n(1)]
    pub secret: Sha256Digest,
    /// When it was made.
    #[n(2)]
    pub created: Timestamp,
    /// When it stops being good, if ever.
    #[n(3)]
    pub expires: Option<Timestamp>,
    /// What it is good for.
    #[cbor(n(4), default)]
    pub kind: TokenKind,
    /// What people call it: where it is used, or which browser has it.
    #[cbor(n(5), default)]
    pub title: Box<str>,
    /// What it is limited to, within what its principal may do; `None` for no further limit.
    #[n(6)]
    pub roles: Option<Vec<RoleGrant>>,
}

impl Token {
    /// Where a token wants to be found.
    pub(crate) fn places(&self, places: &mut Vec<IndexEntry>) {
        places.push(IndexEntry::new(Index::TokenPrincipal).text(&self.principal));
    }
}
