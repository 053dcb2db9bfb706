//! Erasing what is known of one device: what stands in its way, and what else than its own records names it.
//!
//! Evidence that a gate has still to judge is not taken away: whoever could erase the devices that failed could make any
//! release look good. So a device is erased once no campaign counts on it any more.

use ota_core::fleet::records::{Amended, Campaign, CampaignState, Target};
use ota_core::number::Sha256Digest;
use ota_core::text::DeviceIdBuf;

use super::filter::Filter;
use crate::digest::sha256;

/// What the digest of an erased device's id begins with, so that it can be no other hash.
const CONTEXT: &[u8] = b"ota/v1/erased-device/";

/// What stays of an erased device in the audit chain: whoever knows the id can show with it that it was erased, and nobody
/// reads the id out of it who cannot guess it.
#[must_use]
pub fn digest_of(id: &DeviceIdBuf) -> Sha256Digest {
    Sha256Digest(sha256(&[CONTEXT, id.as_str().as_bytes()]))
}

/// Whether nothing of the campaign is judged or offered by stages any more.
#[must_use]
pub const fn has_ended(campaign: &Campaign) -> bool {
    matches!(campaign.state, CampaignState::Completed | CampaignState::Stopped)
}

/// Whether a list of the campaign has the device by its id: the target's, the trial group's, or that of a change that
/// waits for consent.
#[must_use]
pub fn is_listed(campaign: &Campaign, id: &DeviceIdBuf) -> bool {
    targets(campaign).any(|target| matches!(target, Target::Devices { ids } if ids.contains(id)))
}

/// Whether an expression of the campaign asks for exactly this device. People wrote it, and people must change it.
#[must_use]
pub fn is_asked_for(campaign: &Campaign, id: &DeviceIdBuf) -> bool {
    targets(campaign).any(|target| match target {
        Target::Filter { expression } | Target::Snapshot { expression, .. } => asks_for(expression, id),
        _ => false,
    })
}

/// Whether an expression asks for exactly this device.
#[must_use]
pub fn asks_for(expression: &str, id: &DeviceIdBuf) -> bool {
    Filter::parse(expression).is_ok_and(|filter| filter.names(id))
}

/// The campaign without the device in its lists; `None` if it is in none of them.
#[must_use]
pub fn without(campaign: &Campaign, id: &DeviceIdBuf) -> Option<Campaign> {
    if !is_listed(campaign, id) {
        return None;
    }
    let mut after = campaign.clone();
    strike(&mut after.target, id);
    if let Some(trial) = &mut after.plan.trial {
        strike(&mut trial.who, id);
    }
    if let Some(Amended::Target { target }) = after.progress.amendment.as_mut().map(|change| &mut change.what)
    {
        strike(target, id);
    }
    Some(after)
}

fn targets(campaign: &Campaign) -> impl Iterator<Item = &Target> {
    let trial = campaign.plan.trial.as_ref().map(|trial| &trial.who);
    let amended = campaign.progress.amendment.as_ref().and_then(|change| match &change.what {
        Amended::Target { target } => Some(target),
        _ => None,
    });
    [Some(&campaign.target), trial, amended].into_iter().flatten()
}

fn strike(target: &mut Target, id: &DeviceIdBuf) {
    if let Target::Devices { ids } = target {
        ids.retain(|listed| listed != id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> DeviceIdBuf {
        DeviceIdBuf::new(name).unwrap()
    }

    #[test]
    fn an_expression_names_a_device_only_by_its_whole_id() {
        for (expression, names) in [
            ("id = lamp-1", true),
            ("tag = a or not (hardware = b and id = \"lamp-1\")", true),
            ("id = lamp-*", false),
            ("id = lamp-10", false),
            ("tag = lamp-1", false),
            ("no expression", false),
        ] {
            assert_eq!(asks_for(expression, &id("lamp-1")), names, "{expression}");
        }
    }

    #[test]
    fn the_digest_is_what_a_shell_makes_of_the_id() {
        // printf 'ota/v1/erased-device/%s' lamp-1 | sha256sum
        let known = "05b179c2e1dbb25d46cfe3b5b349c60bc727a138031d3dc6dcef9e38a3d68b6b";
        assert_eq!(digest_of(&id("lamp-1")).to_string(), known);
    }
}
