//! Who may do what: one check for every command, whoever calls.
//!
//! Deny by default. A permission counts where it was given: a role in one product never helps in another, and
//! two roles in two products never add up to something that neither of them allows.

use ota_core::fleet::records::{PersonRole, PrincipalRecord, RoleGrant};
use ota_core::text::ProductIdBuf;

/// Who acts: a person, a program, or the server itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    name: Box<str>,
    roles: Vec<RoleGrant>,
    is_limited: bool,
}

impl Principal {
    /// Somebody with these roles. Whoever makes one vouches for the name: it has been authenticated.
    #[must_use]
    pub fn new(name: impl Into<Box<str>>, roles: Vec<RoleGrant>) -> Self {
        Self { name: name.into(), roles, is_limited: false }
    }

    /// Somebody as recorded; one that is disabled has no roles.
    #[must_use]
    pub fn from_record(name: impl Into<Box<str>>, record: &PrincipalRecord) -> Self {
        Self::new(name, if record.disabled { Vec::new() } else { record.roles.clone() })
    }

    /// The same, but with nothing more than these roles: where both name a role, in the products that both name.
    #[must_use]
    pub fn limited_to(self, roles: &[RoleGrant]) -> Self {
        let both = self.roles.iter().flat_map(|own| roles.iter().filter_map(|limit| common(own, limit)));
        Self { roles: both.collect(), name: self.name, is_limited: true }
    }

    /// What the audit log calls them.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The roles that count.
    #[must_use]
    pub fn roles(&self) -> &[RoleGrant] {
        &self.roles
    }
}

/// What two grants have in common.
fn common(own: &RoleGrant, limit: &RoleGrant) -> Option<RoleGrant> {
    if own.role != limit.role {
        return None;
    }
    let products = match (&own.products, &limit.products) {
        (None, None) => None,
        (Some(products), None) | (None, Some(products)) => Some(products.clone()),
        (Some(own), Some(limit)) => Some(own.iter().filter(|id| limit.contains(id)).cloned().collect()),
    };
    Some(RoleGrant { role: own.role, products })
}

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Action {
    /// Look at a product, its devices and campaigns.
    View,
    /// Make or change a draft of a release, upload files, fix the body.
    DraftRelease,
    /// Bring signatures of a release or a new root.
    BringSignatures,
    /// Withdraw a release.
    WithdrawRelease,
    /// Make or change a draft of a campaign, start it, pause, resume and stop it.
    RunCampaign,
    /// Consent to a campaign.
    ApproveCampaign,
    /// Bring a release from its trial to the fleet.
    PromoteCampaign,
    /// Stop or pause whatever is under way.
    StopEverything,
    /// Register devices, tag them, end a quarantine.
    KeepDevices,
    /// Take a device's credentials away.
    RevokeDevice,
    /// Erase what is known of a device.
    EraseDevice,
    /// Make and change products.
    KeepProducts,
    /// Make and change principals and tokens.
    KeepPeople,
    /// Change settings, remove files that nothing refers to.
    KeepInstallation,
    /// Read and export the audit log.
    ReadAudit,
    /// Keep one's own password, sessions and tokens.
    KeepOneself,
}

impl Action {
    /// The roles of which any one is enough.
    const fn roles(self) -> &'static [PersonRole] {
        use PersonRole::{Administrator, Approver, Developer, KeyHolder, Operator, Viewer};
        match self {
            Self::View => &[Viewer, Developer, Operator, Approver, KeyHolder, Administrator],
            Self::DraftRelease => &[Developer],
            Self::BringSignatures => &[KeyHolder],
            Self::WithdrawRelease | Self::PromoteCampaign => &[Operator, Approver],
            Self::RunCampaign | Self::KeepDevices => &[Operator],
            Self::ApproveCampaign => &[Approver],
            Self::StopEverything => &[Operator, Approver, Administrator],
            Self::RevokeDevice => &[Operator, Administrator],
            // Who runs campaigns must not be able to take evidence away.
            Self::EraseDevice | Self::KeepProducts | Self::KeepPeople | Self::KeepInstallation => {
                &[Administrator]
            }
            Self::ReadAudit => &[Approver, Administrator],
            // No role gives it: it comes with being the one whom it is about.
            Self::KeepOneself => &[],
        }
    }
}

/// What an action is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope<'a> {
    /// One product and what belongs to it.
    Product(&'a ProductIdBuf),
    /// All products, or what belongs to none.
    Installation,
}

/// Somebody may not do this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{principal} has no role that allows {action:?} {where_}")]
pub struct Denied {
    /// Who.
    pub principal: Box<str>,
    /// What.
    pub action: Action,
    /// Where, in words.
    pub where_: Box<str>,
}

/// The receipt of a permission check: only [`permit`] makes one, and every command demands it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    principal: Box<str>,
    action: Action,
    product: Option<ProductIdBuf>,
}

impl Permit {
    /// Who was permitted.
    #[must_use]
    pub fn principal(&self) -> &str {
        &self.principal
    }

    /// What was permitted.
    #[must_use]
    pub const fn action(&self) -> Action {
        self.action
    }

    /// The product it holds for; `None` for all.
    #[must_use]
    pub const fn product(&self) -> Option<&ProductIdBuf> {
        self.product.as_ref()
    }

    /// What the server does by itself when a plan tells it to.
    pub(crate) fn of_the_plan(action: Action, product: &ProductIdBuf) -> Self {
        Self { principal: "the plan".into(), action, product: Some(product.clone()) }
    }
}

/// The one permission check.
///
/// # Errors
/// [`Denied`] if no single role of the principal, in this very place, allows the action.
pub fn permit(principal: &Principal, action: Action, scope: Scope<'_>) -> Result<Permit, Denied> {
    let allowed = principal.roles.iter().any(|grant| {
        action.roles().contains(&grant.role)
            && match (scope, &grant.products) {
                (_, None) => true,
                (Scope::Product(product), Some(products)) => products.contains(product),
                (Scope::Installation, Some(_)) => false,
            }
    });
    let product = match scope {
        Scope::Product(product) => Some(product.clone()),
        Scope::Installation => None,
    };
    if allowed {
        return Ok(Permit { principal: principal.name.clone(), action, product });
    }
    Err(Denied {
        principal: principal.name.clone(),
        action,
        where_: product
            .map_or_else(|| "in the installation".into(), |product| format!("in {product}").into_boxed_str()),
    })
}

/// The permission to look after somebody's password, sessions and tokens: one's own, or as somebody who keeps people.
///
/// Whoever is limited to some of their roles, as a token can be, does not look after themselves: a token that leaked
/// must not end its owner's sessions, or make a token that is good for longer.
///
/// # Errors
/// [`Denied`].
pub fn permit_about(principal: &Principal, whom: &str) -> Result<Permit, Denied> {
    if *principal.name == *whom && !principal.is_limited {
        return Ok(Permit { principal: whom.into(), action: Action::KeepOneself, product: None });
    }
    permit(principal, Action::KeepPeople, Scope::Installation)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product(name: &str) -> ProductIdBuf {
        ProductIdBuf::new(name).unwrap()
    }

    fn with(roles: &[(PersonRole, Option<&[&str]>)]) -> Principal {
        let grant = |(role, products): &(PersonRole, Option<&[&str]>)| RoleGrant {
            role: *role,
            products: products.map(|names| names.iter().map(|name| product(name)).collect()),
        };
        Principal::new("p", roles.iter().map(grant).collect())
    }

    const ACTIONS: [Action; 16] = [
        Action::View,
        Action::DraftRelease,
        Action::BringSignatures,
        Action::WithdrawRelease,
        Action::RunCampaign,
        Action::ApproveCampaign,
        Action::PromoteCampaign,
        Action::StopEverything,
        Action::KeepDevices,
        Action::RevokeDevice,
        Action::EraseDevice,
        Action::KeepProducts,
        Action::KeepPeople,
        Action::KeepInstallation,
        Action::ReadAudit,
        Action::KeepOneself,
    ];

    #[test]
    fn a_limit_takes_away_and_never_gives() {
        let all = Some(&["a", "b"][..]);
        let own = with(&[(PersonRole::Operator, all), (PersonRole::Viewer, None)]);
        let limit = with(&[(PersonRole::Operator, Some(&["b", "c"])), (PersonRole::Administrator, None)]);
        let limited = own.limited_to(limit.roles());
        assert!(permit(&limited, Action::RunCampaign, Scope::Product(&product("b"))).is_ok());
        for outside in ["a", "c"] {
            assert!(permit(&limited, Action::RunCampaign, Scope::Product(&product(outside))).is_err());
        }
        assert!(permit(&limited, Action::KeepPeople, Scope::Installation).is_err());
        assert!(permit(&limited, Action::View, Scope::Installation).is_err());
    }

    #[test]
    fn people_look_after_themselves_and_only_the_keepers_of_people_after_others() {
        let (viewer, admin) =
            (with(&[(PersonRole::Viewer, None)]), with(&[(PersonRole::Administrator, None)]));
        assert!(permit_about(&viewer, "p").is_ok());
        assert!(permit_about(&viewer, "q").is_err());
        assert!(permit_about(&admin, "q").is_ok());
        let everything = [RoleGrant { role: PersonRole::Viewer, products: None }];
        assert!(permit_about(&viewer.limited_to(&everything), "p").is_err());
    }

    #[test]
    fn nobody_may_do_anything_without_a_role() {
        for action in ACTIONS {
            assert!(permit(&with(&[]), action, Scope::Installation).is_err());
            assert!(permit(&with(&[]), action, Scope::Product(&product("a"))).is_err());
        }
    }

    #[test]
    fn permissions_of_different_products_never_combine() {
        // Mender CVE-2026-33552: permissions of separate device groups were merged.
        let somebody = with(&[(PersonRole::Operator, Some(&["a"])), (PersonRole::Approver, Some(&["b"]))]);
        assert!(permit(&somebody, Action::RunCampaign, Scope::Product(&product("a"))).is_ok());
        assert!(permit(&somebody, Action::ApproveCampaign, Scope::Product(&product("b"))).is_ok());
        assert!(permit(&somebody, Action::ApproveCampaign, Scope::Product(&product("a"))).is_err());
        assert!(permit(&somebody, Action::RunCampaign, Scope::Product(&product("b"))).is_err());
        for action in ACTIONS {
            assert!(permit(&somebody, action, Scope::Installation).is_err());
        }
    }

    #[test]
    fn an_administrator_neither_uploads_nor_approves() {
        let admin = with(&[(PersonRole::Administrator, None)]);
        for action in
            [Action::DraftRelease, Action::ApproveCampaign, Action::BringSignatures, Action::RunCampaign]
        {
            assert!(permit(&admin, action, Scope::Product(&product("a"))).is_err());
        }
        assert!(permit(&admin, Action::KeepPeople, Scope::Installation).is_ok());
    }

    #[test]
    fn a_disabled_principal_has_no_roles() {
        let record = PrincipalRecord {
            title: "x".into(),
            roles: vec![RoleGrant { role: PersonRole::Viewer, products: None }],
            disabled: true,
            password: None,
        };
        assert!(permit(&Principal::from_record("x", &record), Action::View, Scope::Installation).is_err());
    }
}
