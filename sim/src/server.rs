//! A small server that keeps the protocol's promises, and breaks them where a test asks for it.
//!
//! It stands for the fleet's half wherever the device's half is the one under test: it serves one release to one
//! device, statelessly, from real signed bytes.

use ota_core::crypto::soft::SoftSha256;
use ota_core::number::{Nonce, OfferId, ReleaseId, RootVersion};
use ota_core::text::{Detail, DeviceId};
use ota_core::time::{Instant, Millis, Timestamp};
use ota_core::trust::{Action, offer_id};
use ota_core::wire::{
    Block, Busy, CheckIn, Down, Offer, Part, Phase, Refuse, RefuseCode, ReleaseSizes, Report, ReportAck,
    ReportCode, RootHint, Up, UpToDate, WantBlocks,
};

use crate::random::Dice;
use crate::workshop::{BEGINNING, Signed, SourceRelease, Workshop};

/// What the server has heard about an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// Which offer.
    pub offer: OfferId,
    /// What was reached.
    pub phase: Phase,
    /// Why.
    pub code: ReportCode,
}

/// A server for one device.
#[derive(Clone)]
pub struct SimServer {
    /// Who signs.
    pub workshop: Workshop,
    /// Roots by version, from 1 on.
    pub roots: Vec<Signed>,
    /// The release that the device is to have, if any.
    pub release: Option<SourceRelease>,
    /// Reports in the order in which they came, repeated ones once.
    pub heard: Vec<Heard>,
    /// Check-ins answered.
    pub check_ins: u32,
    /// Check-ins of a device that had everything.
    pub up_to_date: u32,
    /// Requests for blocks that came.
    pub requests: u32,
    /// Bytes of files and maps that were sent.
    pub served_bytes: u64,
    /// Chance per million that a request is put off.
    pub busy: u32,
    /// Chance per million that a request is answered with an expired grant.
    pub expired_grants: u32,
    /// Chance per million that a block carries other bytes than it should.
    pub wrong_bytes: u32,
    /// Whether files are served at all.
    pub serves_files: bool,
    /// The root that the device said it trusts.
    pub trusted_root: RootVersion,
    /// The root is rotated as soon as so many requests for blocks have come.
    pub rotates_root_after: Option<u32>,
    device: String,
    open: Option<(OfferId, ReleaseId)>,
    root_offer: Option<OfferId>,
    last: Option<(OfferId, u32)>,
    dice: Dice,
}

impl SimServer {
    /// A server that knows root 1 and has nothing to offer.
    #[must_use]
    pub fn new(device: &str, seed: u64) -> Self {
        let workshop = Workshop::new();
        let roots = vec![workshop.root(1)];
        Self {
            workshop,
            roots,
            release: None,
            heard: Vec::new(),
            check_ins: 0,
            up_to_date: 0,
            requests: 0,
            served_bytes: 0,
            busy: 0,
            expired_grants: 0,
            wrong_bytes: 0,
            serves_files: true,
            trusted_root: RootVersion(0),
            rotates_root_after: None,
            device: device.into(),
            open: None,
            root_offer: None,
            last: None,
            dice: Dice::new(seed),
        }
    }

    /// The server's time.
    #[must_use]
    pub const fn time(now: Instant) -> Timestamp {
        BEGINNING.plus(Millis(now.0))
    }

    /// Whether a phase was reported.
    #[must_use]
    pub fn has_heard(&self, phase: Phase) -> bool {
        self.heard.iter().any(|heard| heard.phase == phase)
    }

    /// Replaces the key for assignments by a root of the next version, and has one more root behind it.
    pub fn rotate_root(&mut self) {
        self.workshop.replace_assignment_key();
        for _ in 0..2 {
            let version = self.roots.len() as u32 + 1;
            self.roots.push(self.workshop.root(version));
        }
    }

    /// Answers a message.
    pub fn receive(&mut self, message: &[u8], now: Instant) -> Vec<Vec<u8>> {
        match Up::decode(message) {
            Ok(Up::CheckIn(check_in)) => self.check_in(&check_in, now),
            Ok(Up::WantBlocks(want)) => self.want_blocks(&want),
            Ok(Up::Report(report)) => self.report(&report),
            Err(_) => vec![encode(&Down::Refuse(Refuse { code: RefuseCode::Malformed, offer: None }))],
        }
    }

    fn root_hint(&self, has: RootVersion) -> RootHint {
        let newest = RootVersion(self.roots.len() as u32);
        let next = self.roots.get(has.0 as usize);
        RootHint {
            newest,
            next_body: next.map_or(0, |root| root.body.len() as u32),
            next_envelope: next.map_or(0, |root| root.envelope.len() as u32),
        }
    }

    fn check_in(&mut self, check_in: &CheckIn<'_>, now: Instant) -> Vec<Vec<u8>> {
        self.check_ins += 1;
        self.trusted_root = check_in.trusted.root;
        if let Some(outcome) = check_in.outcome {
            self.hear(outcome.offer, u32::MAX, outcome.phase, outcome.code);
        }
        let roots = self.root_hint(check_in.trusted.root);
        let has_all = |release: &SourceRelease| {
            release.files.iter().all(|file| {
                check_in.inventory.iter().any(|item| {
                    item.file.as_str() == file.name
                        && item.digest == Some(crate::workshop::sha256(&file.bytes))
                })
            })
        };
        let wanted = self.release.as_ref().filter(|release| !has_all(release));
        let action = wanted.map_or(Action::None, |release| Action::Install(release.id()));
        let assignment = self.assignment(check_in.nonce, action, now);
        let id = offer_id::<SoftSha256>(&assignment);
        self.root_offer = Some(id);
        self.up_to_date += u32::from(wanted.is_none());
        match wanted {
            Some(release) => {
                self.open = Some((id, release.id()));
                let sizes = ReleaseSizes {
                    body: release.signed.body.len() as u32,
                    envelope: release.signed.envelope.len() as u32,
                };
                vec![encode(&Down::Offer(Offer {
                    assignment: &assignment,
                    release: sizes,
                    roots,
                    grant: &[7; 40],
                    earliest: Millis(0),
                    deadline: Millis(0),
                    reason: Detail::NONE,
                }))]
            }
            None => vec![encode(&Down::UpToDate(UpToDate {
                assignment: &assignment,
                roots,
                grant: &[7; 40],
                next_check_in: Millis(0),
                turn: None,
            }))],
        }
    }

    /// A signed assignment for this server's device.
    #[must_use]
    pub fn assignment(&self, nonce: Nonce, action: Action, now: Instant) -> Vec<u8> {
        let device = DeviceId::new(&self.device).unwrap();
        self.workshop.assignment(device, nonce, Self::time(now), action)
    }

    fn part(&self, part: Part) -> Option<&[u8]> {
        let root = |version: RootVersion| self.roots.get(version.0.checked_sub(1)? as usize);
        Some(match part {
            Part::File(_) if !self.serves_files => return None,
            Part::File(index) => &self.release.as_ref()?.files.get(usize::from(index.0))?.bytes,
            Part::ReleaseBody => &self.release.as_ref()?.signed.body,
            Part::ReleaseEnvelope => &self.release.as_ref()?.signed.envelope,
            Part::RootBody(version) => &root(version)?.body,
            Part::RootEnvelope(version) => &root(version)?.envelope,
            Part::BlockMap(_) => return None,
        })
    }

    fn want_blocks(&mut self, want: &WantBlocks<'_>) -> Vec<Vec<u8>> {
        self.requests += 1;
        if self.rotates_root_after.is_some_and(|after| self.requests > after) {
            self.rotates_root_after = None;
            self.rotate_root();
        }
        let refuse = |code| vec![encode(&Down::Refuse(Refuse { code, offer: Some(want.offer) }))];
        let is_root = matches!(want.part, Part::RootBody(_) | Part::RootEnvelope(_));
        let is_open = if is_root {
            self.root_offer == Some(want.offer)
        } else {
            self.open.is_some_and(|(id, _)| id == want.offer)
        };
        if want.grant != [7; 40] {
            return refuse(RefuseCode::BadGrant);
        }
        if !is_open {
            return refuse(RefuseCode::StaleOffer);
        }
        if self.dice.happens(self.busy) {
            return vec![encode(&Down::Busy(Busy { retry_after: Millis(500) }))];
        }
        if self.dice.happens(self.expired_grants) {
            return refuse(RefuseCode::GrantExpired);
        }
        let map;
        let bytes = match want.part {
            Part::BlockMap(index) => {
                let file = self.release.as_ref().and_then(|release| release.files.get(usize::from(index.0)));
                map = file.and_then(crate::workshop::SourceFile::block_map);
                map.as_deref()
            }
            part => self.part(part),
        };
        let Some(bytes) = bytes else { return refuse(RefuseCode::NoSuchPart) };
        let (mut dice, mut served) = (self.dice.clone(), 0);
        let blocks: Option<Vec<Vec<u8>>> = want
            .want
            .positions()
            .map(|position| {
                let offset = want.offset.0 + u64::from(position) * u64::from(want.block_bytes);
                let rest = bytes.get(offset as usize..).filter(|rest| !rest.is_empty())?;
                let mut piece = rest[..rest.len().min(want.block_bytes as usize)].to_vec();
                if dice.happens(self.wrong_bytes) {
                    let at = dice.below(piece.len() as u64) as usize;
                    piece[at] ^= 0x55;
                }
                served += piece.len() as u64;
                Some(encode(&Down::Block(Block {
                    offer: *want.offer.0.first_chunk().unwrap(),
                    part: want.part,
                    offset: ota_core::number::ByteOffset(offset),
                    bytes: &piece,
                })))
            })
            .collect();
        self.dice = dice;
        self.served_bytes += served;
        blocks.unwrap_or_else(|| refuse(RefuseCode::OutOfRange))
    }

    fn report(&mut self, report: &Report<'_>) -> Vec<Vec<u8>> {
        self.hear(report.offer, report.sequence.0, report.phase, report.code);
        vec![encode(&Down::ReportAck(ReportAck { offer: report.offer, sequence: report.sequence }))]
    }

    fn hear(&mut self, offer: OfferId, sequence: u32, phase: Phase, code: ReportCode) {
        if self.last == Some((offer, sequence)) {
            return;
        }
        self.last = Some((offer, sequence));
        self.heard.push(Heard { offer, phase, code });
    }
}

fn encode(message: &Down<'_>) -> Vec<u8> {
    message.to_vec().unwrap()
}
