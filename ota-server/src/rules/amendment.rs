//! Changes of a running campaign: wanted by one person, consented to by others, done at once where nobody must.
//!
//! An amendment never lets anything through that its consenters have not seen: consent is to the change, the content of
//! the campaign and what its stage had shown; if a device more fails meanwhile, consent is refused and it is asked anew.

use ota_core::fleet::records::{
    Amended, Amendment, Approval, Campaign, CampaignState, Limits, Product, Seen, Target,
};
use ota_core::number::Sha256Digest;
use ota_core::time::Timestamp;

use super::campaign::{CampaignError, Counted, check_target, gate_of, hash_of};
use crate::digest::sha256;

/// A campaign after an amendment was wanted or consented to, and whether it has taken effect.
#[derive(Debug, Clone, PartialEq)]
pub struct Amending {
    /// The campaign.
    pub campaign: Campaign,
    /// What was wanted.
    pub amendment: Amendment,
    /// Whether it is made; otherwise more people must consent.
    pub is_done: bool,
}

/// What a stage has shown, for the record.
#[must_use]
pub fn seen(campaign: &Campaign, counted: &Counted) -> Seen {
    let shown = &counted.stage;
    Seen {
        stage: campaign.progress.stage,
        confirmed: shown.confirmed,
        failed: shown.failed_in_all(),
        silent: shown.silent,
        open: shown.open,
    }
}

/// What consent to the campaign's open amendment must be for; `None` if it has none.
#[must_use]
pub fn hash(campaign: &Campaign) -> Option<Sha256Digest> {
    let amendment = campaign.progress.amendment.as_ref()?;
    let mut content = Vec::new();
    // Writing to a vector cannot fail.
    let _ =
        minicbor::encode((&amendment.what, &amendment.by, &amendment.reason, &amendment.seen), &mut content);
    Some(Sha256Digest(sha256(&[b"ota/v1/amendment/", &hash_of(campaign).0, &content])))
}

/// Somebody wants a change. It is made at once if nobody must consent: to lower limits, or where plan and product ask for
/// no approvals. An earlier amendment that is still open is replaced.
///
/// # Errors
/// [`CampaignError`] if the campaign is not in a state for it, or the change is wrong.
pub fn wanted(
    campaign: &Campaign,
    what: Amended,
    (by, reason): (&str, &str),
    counted: &Counted,
    product: &Product,
    now: Timestamp,
) -> Result<Amending, CampaignError> {
    check(campaign, &what, counted, now)?;
    let is_harmless = matches!(&what, Amended::Limits { limits } if !raises(&campaign.plan.limits, limits));
    let amendment = Amendment {
        what,
        by: by.into(),
        at: now,
        reason: reason.into(),
        seen: seen(campaign, counted),
        approvals: Vec::new(),
    };
    let needed = if is_harmless { 0 } else { needed(campaign, product) };
    Ok(settle(campaign.clone(), amendment, needed, now))
}

/// Somebody consents. `shown` is the hash of the amendment as it was read.
///
/// # Errors
/// [`CampaignError`] if there is none, the consenter wanted it himself, it is another by now, or the stage looks worse
/// than when it was wanted.
pub fn consented(
    campaign: &Campaign,
    by: &str,
    shown: &Sha256Digest,
    counted: &Counted,
    product: &Product,
    now: Timestamp,
) -> Result<Amending, CampaignError> {
    let amendment = campaign.progress.amendment.as_ref().ok_or(CampaignError::NoAmendment)?;
    if *amendment.by == *by {
        return Err(CampaignError::OwnWork);
    }
    if hash(campaign) != Some(*shown) {
        return Err(CampaignError::ChangedSince);
    }
    let (then, present) = (amendment.seen, seen(campaign, counted));
    if present.stage != then.stage || present.failed > then.failed || present.silent > then.silent {
        return Err(CampaignError::WorseSince);
    }
    check(campaign, &amendment.what, counted, now)?;
    if amendment.approvals.iter().any(|approval| *approval.principal == *by) {
        return Err(CampaignError::ApprovedAlready);
    }
    let mut amendment = amendment.clone();
    amendment.approvals.push(Approval { principal: by.into(), at: now, hash: *shown });
    Ok(settle(campaign.clone(), amendment, needed(campaign, product), now))
}

/// An open amendment is not wanted any more.
///
/// # Errors
/// [`CampaignError::NoAmendment`].
pub fn dropped(campaign: &Campaign) -> Result<Amending, CampaignError> {
    let mut campaign = campaign.clone();
    let amendment = campaign.progress.amendment.take().ok_or(CampaignError::NoAmendment)?;
    Ok(Amending { campaign, amendment, is_done: false })
}

fn needed(campaign: &Campaign, product: &Product) -> usize {
    usize::from(campaign.plan.approvals.max(product.approvals_min))
}

/// Whether the change can be made in the present state.
fn check(
    campaign: &Campaign,
    what: &Amended,
    counted: &Counted,
    now: Timestamp,
) -> Result<(), CampaignError> {
    use CampaignState as S;
    let wrong = |wanted| Err(CampaignError::State { found: campaign.state, wanted });
    let is_staged = matches!(campaign.state, S::Trial | S::Rolling);
    match what {
        Amended::Gate if !is_staged || campaign.progress.passed.is_some() => {
            wrong("taken past a gate: no gate is being waited for")
        }
        // A trial that has shown nothing is none. A later stage may be empty: those before it have shown enough.
        Amended::Gate if campaign.state == S::Trial && counted.stage.confirmed == 0 => {
            Err(CampaignError::NothingSeen)
        }
        Amended::Soak => {
            let soak = gate_of(&campaign.plan, campaign.progress.stage).map(|gate| gate.soak);
            let is_soaking =
                campaign.progress.passed.zip(soak).is_some_and(|(at, soak)| now.since(at) < soak);
            if is_staged && is_soaking { Ok(()) } else { wrong("spared a soak: none is being waited for") }
        }
        Amended::Limits { .. } | Amended::Target { .. }
            if matches!(campaign.state, S::Draft | S::Stopped) =>
        {
            wrong("amended; edit the draft, or make another")
        }
        Amended::Target { target: Target::Snapshot { .. } } => Err(CampaignError::SnapshotWhileRunning),
        Amended::Target { target } => check_target(target),
        Amended::Gate | Amended::Limits { .. } => Ok(()),
    }
}

/// Whether any limit is higher than before; 0 is none at all.
fn raises(before: &Limits, after: &Limits) -> bool {
    let is_raised = |before: u64, after: u64| before != 0 && (after == 0 || after > before);
    is_raised(before.devices_per_minute.into(), after.devices_per_minute.into())
        || is_raised(before.downloads_max.into(), after.downloads_max.into())
        || is_raised(before.bytes_per_second, after.bytes_per_second)
        || is_raised(before.downloads_per_site_max.into(), after.downloads_per_site_max.into())
}

/// Makes the change if enough people have consented, and keeps it open otherwise.
fn settle(mut campaign: Campaign, amendment: Amendment, needed: usize, now: Timestamp) -> Amending {
    if amendment.approvals.len() < needed {
        campaign.progress.amendment = Some(amendment.clone());
        return Amending { campaign, amendment, is_done: false };
    }
    campaign.progress.amendment = None;
    let was = hash_of(&campaign);
    match &amendment.what {
        Amended::Gate => {
            campaign.progress.passed = Some(now);
            campaign.progress.accepted = Some(amendment.seen);
        }
        // It passed so long ago that no soak lasts until now.
        Amended::Soak => campaign.progress.passed = Some(Timestamp(0)),
        Amended::Limits { limits } => campaign.plan.limits = *limits,
        Amended::Target { target } => campaign.target = target.clone(),
    }
    // Whoever consented to the change has consented to the content that it leads to.
    let hash = hash_of(&campaign);
    if hash != was {
        let consents = amendment.approvals.iter().cloned();
        campaign.approvals = consents.map(|approval| Approval { hash, ..approval }).collect();
    }
    Amending { campaign, amendment, is_done: true }
}

#[cfg(test)]
mod tests;
