//! People, roles, tokens, sessions and passwords.

use ota_core::fleet::records::{PersonRole, PrincipalRecord, RoleGrant, Token};
use ota_core::text::{ProductIdBuf, TextError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Span, Time};
use crate::rules::permission::Principal;
use crate::server::IssuedToken;

/// A role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RoleBody {
    /// Looks.
    Viewer,
    /// Uploads drafts.
    Developer,
    /// Runs campaigns and devices.
    Operator,
    /// Approves campaigns and promotes them.
    Approver,
    /// Brings signatures and roots.
    KeyHolder,
    /// Looks after products, people and the installation.
    Administrator,
}

impl RoleBody {
    /// All roles.
    pub const ALL: [Self; 6] =
        [Self::Viewer, Self::Developer, Self::Operator, Self::Approver, Self::KeyHolder, Self::Administrator];

    /// The role as the rules know it.
    #[must_use]
    pub const fn role(self) -> PersonRole {
        match self {
            Self::Viewer => PersonRole::Viewer,
            Self::Developer => PersonRole::Developer,
            Self::Operator => PersonRole::Operator,
            Self::Approver => PersonRole::Approver,
            Self::KeyHolder => PersonRole::KeyHolder,
            Self::Administrator => PersonRole::Administrator,
        }
    }
}

/// A person or program to make or change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PersonInput {
    /// What people call it; its name if left away.
    #[serde(default)]
    pub title: Option<String>,
    /// What it may do.
    pub roles: Vec<RoleBody>,
    /// The products that all of these roles hold for; none given for the whole installation.
    #[serde(default)]
    pub products: Option<Vec<String>>,
    /// Whether it may do nothing at all for the time being.
    #[serde(default)]
    pub disabled: bool,
}

impl PersonInput {
    /// The record, without a password.
    ///
    /// # Errors
    /// [`TextError`] if a product's id is not one.
    pub fn record(self, name: &str) -> Result<PrincipalRecord, TextError> {
        Ok(PrincipalRecord {
            title: self.title.unwrap_or_else(|| name.to_owned()).into(),
            roles: grants(self.roles, self.products)?,
            disabled: self.disabled,
            password: None,
        })
    }
}

/// Roles that all hold for these products; none given for the whole installation.
pub(crate) fn grants(
    roles: Vec<RoleBody>,
    products: Option<Vec<String>>,
) -> Result<Vec<RoleGrant>, TextError> {
    let products = match products {
        Some(ids) => Some(ids.into_iter().map(ProductIdBuf::new).collect::<Result<Vec<_>, _>>()?),
        None => None,
    };
    let grant = |role: RoleBody| RoleGrant { role: role.role(), products: products.clone() };
    Ok(roles.into_iter().map(grant).collect())
}

/// A role as people write it: its name, and behind an `@` the products if it is limited to some.
fn role_text(grant: &RoleGrant) -> String {
    match &grant.products {
        None => super::word(&grant.role),
        Some(products) => {
            let products: Vec<&str> = products.iter().map(ProductIdBuf::as_str).collect();
            format!("{}@{}", super::word(&grant.role), products.join(","))
        }
    }
}

/// A person or program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PersonView {
    /// Its name, as the audit log has it.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// What it may do: a role, and behind an `@` the products if it is limited to some.
    pub roles: Vec<String>,
    /// Whether it can sign in with a password.
    pub has_password: bool,
    /// Whether it may do nothing at all for the time being.
    pub disabled: bool,
}

impl From<(Box<str>, PrincipalRecord)> for PersonView {
    fn from((name, record): (Box<str>, PrincipalRecord)) -> Self {
        Self {
            name: name.into(),
            title: record.title.into(),
            roles: record.roles.iter().map(role_text).collect(),
            has_password: record.password.is_some(),
            disabled: record.disabled,
        }
    }
}

/// A token to make.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenInput {
    /// How long it is good for; 90 days if left away.
    #[serde(default)]
    pub expires_in: Option<Span>,
    /// What people call it.
    #[serde(default)]
    pub title: Option<String>,
    /// What it is limited to, within what its owner may do; left away, to no roles in particular.
    #[serde(default)]
    pub roles: Option<Vec<RoleBody>>,
    /// The products that it is limited to; left away, to none in particular.
    #[serde(default)]
    pub products: Option<Vec<String>>,
}

/// A token, told once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenView {
    /// Its public half: what `DELETE /api/v1/tokens/{name}` takes.
    pub name: String,
    /// The whole token. It is not kept and cannot be told again.
    pub token: String,
    /// When it stops being good.
    pub expires: Option<Time>,
}

impl From<IssuedToken> for TokenView {
    fn from(issued: IssuedToken) -> Self {
        let token = crate::http::token_text(&issued.name, &issued.secret);
        Self { name: issued.name, token, expires: issued.expires.map(Time) }
    }
}

/// A token, session or invitation that there is. Its secret is not in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenLine {
    /// Its public half: what `DELETE /api/v1/tokens/{name}` takes.
    pub name: String,
    /// What it is good for: `api`, `session` or `invitation`.
    pub kind: String,
    /// What people call it; of a session, the browser.
    pub title: String,
    /// When it was made.
    pub created: Time,
    /// When it stops being good.
    pub expires: Option<Time>,
    /// What it is limited to, within what its owner may do.
    pub roles: Option<Vec<String>>,
}

impl From<(Box<str>, Token)> for TokenLine {
    fn from((name, token): (Box<str>, Token)) -> Self {
        Self {
            name: name.into(),
            kind: super::word(&token.kind),
            title: token.title.into(),
            created: Time(token.created),
            expires: token.expires.map(Time),
            roles: token.roles.map(|roles| roles.iter().map(role_text).collect()),
        }
    }
}

/// Who signs in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignInInput {
    /// The name.
    pub name: String,
    /// The password.
    pub password: String,
}

/// A session that has begun; its cookie is in the answer's `Set-Cookie`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionView {
    /// Whose.
    pub name: String,
    /// What each request that changes something must carry in `x-csrf-token`.
    pub csrf: String,
}

/// A token to make for one's own programs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OwnTokenInput {
    /// One's name.
    pub name: String,
    /// One's password.
    pub password: String,
    /// The token.
    #[serde(default)]
    pub token: TokenInput,
}

/// A change of one's own password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordInput {
    /// The present one.
    pub present: String,
    /// The new one.
    pub password: String,
}

/// A link to set a password with, told once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InvitationView {
    /// The page; without a host if the server was not told its public URL.
    pub link: String,
    /// What is in it, for `POST /api/v1/accept-invitation`.
    pub invitation: String,
    /// When it stops being good.
    pub expires: Option<Time>,
}

/// A password, set by an invitation.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AcceptInput {
    /// The invitation.
    pub invitation: String,
    /// The password.
    pub password: String,
}

/// How many sessions were ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EndedView {
    /// How many.
    pub ended: u64,
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WhoAmI {
    /// The caller's name.
    pub name: String,
    /// What the caller may do with what was shown: a role, and behind an `@` the products if it is limited to some.
    #[serde(default)]
    pub roles: Vec<String>,
    /// In a session, what each request that changes something must carry in `x-csrf-token`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csrf: Option<String>,
}

impl WhoAmI {
    pub(crate) fn of(principal: &Principal, csrf: Option<String>) -> Self {
        let roles = principal.roles().iter().map(role_text).collect();
        Self { name: principal.name().to_owned(), roles, csrf }
    }
}

macro_rules! keeps_its_secrets {
    ($($name:ident: $($shown:ident),*;)+) => {
        $(impl core::fmt::Debug for $name {
            /// Leaves the secrets out.
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.debug_struct(stringify!($name))$(.field(stringify!($shown), &self.$shown))*.finish_non_exhaustive()
            }
        })+
    };
}

keeps_its_secrets! {
    TokenView: name, expires;
    SignInInput: name;
    OwnTokenInput: name, token;
    PasswordInput: ;
    InvitationView: expires;
    AcceptInput: ;
}
