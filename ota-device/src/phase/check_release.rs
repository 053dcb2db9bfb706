//! Getting the offered release into memory and believing it: body, envelope, signatures, rules.
//!
//! What was staged before a restart is read back instead of fetched, and checked exactly like what is fetched.

use ota_core::device::Log;
use ota_core::limits::{ENVELOPE_BYTES_MAX, RELEASE_BODY_BYTES_MAX};
use ota_core::number::{ByteLength, FileIndex};
use ota_core::trust::{
    BodyReceipt, Progress, SignatureCheck, SignatureProgress, SignedReleaseReceipt, unmet_requirement,
};
use ota_core::wire::{Part, Phase as Reached, ReportCode};

use super::metadata::{HashRegion, Load, Save, record_length};
use super::{To, attempt_news};
use crate::arena::Region;
use crate::config::Profile;
use crate::download::{Transfer, Under};
use crate::math;
use crate::ops::{Op, Place};
use crate::record::JournalRecord;
use crate::shared::{CORRUPT, CurrentOffer, Failure, Happened, Shared, Step, Stop};

pub(crate) struct FetchRelease<P: Profile> {
    at: At<P>,
    body: Option<BodyReceipt>,
    /// Where the journal says that the download of this release stands.
    resume: Option<(FileIndex, ByteLength)>,
}

#[expect(clippy::large_enum_variant, reason = "one at a time, kept in place, and there is no allocator")]
enum At<P: Profile> {
    Begin,
    Journal,
    LoadBody(Load<P>),
    LoadEnvelope(Load<P>),
    /// The body, then the envelope.
    Fetch(Region, Transfer<P>),
    Hash(HashRegion<P>),
    Check(Option<SignatureProgress>),
    SaveBody(Save),
    SaveEnvelope(Save),
    Staged,
}

impl<P: Profile> FetchRelease<P> {
    pub(crate) const fn new() -> Self {
        Self { at: At::Begin, body: None, resume: None }
    }

    /// The transfer that blocks go to.
    pub(crate) const fn transfer(&mut self) -> Option<&mut Transfer<P>> {
        match &mut self.at {
            At::Fetch(_, transfer) => Some(transfer),
            _ => None,
        }
    }

    #[inline(never)]
    pub(crate) fn step(&mut self, shared: &mut Shared<'_, P>) -> Step<To> {
        if self.transfer().is_some()
            && let Some(next) = self.news(shared)
        {
            return Ok(next);
        }
        match &mut self.at {
            At::Begin => {
                let CurrentOffer { sizes, .. } = offer(shared)?;
                let (body, envelope) = (math::from_u32(sizes.body), math::from_u32(sizes.envelope));
                if body > RELEASE_BODY_BYTES_MAX || envelope > ENVELOPE_BYTES_MAX {
                    return Err(Failure::Attempt(ReportCode::TooLarge).into());
                }
                shared.release = None;
                shared.arena.give_up_from(Region::Body);
                if body.saturating_add(envelope) > shared.arena.room_from(Region::Body) {
                    return Err(Failure::Attempt(ReportCode::TooLarge).into());
                }
                self.at = At::Journal;
                shared.ask(Op::Newest(Log::Journal))
            }
            At::Journal => self.journal(shared),
            At::LoadBody(load) => {
                let receipt = load.step(shared)?;
                let CurrentOffer { release, sizes, .. } = offer(shared)?;
                if receipt.digest().0 != release.0 {
                    // What was staged did not survive; it is fetched like the first time.
                    self.resume = None;
                    return self.fetch(Region::Body, shared);
                }
                self.body = Some(receipt);
                let load = Load::new(Place::ReleaseEnvelope, Region::Envelope, sizes.envelope);
                self.at = At::LoadEnvelope(load);
                Err(Stop::Again)
            }
            At::LoadEnvelope(load) => {
                load.step(shared)?;
                self.at = At::Check(None);
                Err(Stop::Yield)
            }
            At::Fetch(region, transfer) => {
                transfer.advance(shared)?;
                if *region == Region::Body {
                    return self.fetch(Region::Envelope, shared);
                }
                self.at = At::Hash(HashRegion::new(Region::Body));
                Err(Stop::Again)
            }
            At::Hash(hash) => {
                self.body = Some(hash.step(shared)?);
                self.at = At::Check(None);
                Err(Stop::Yield)
            }
            At::Check(_) => self.check(shared),
            At::SaveBody(save) => {
                save.step(shared)?;
                self.at = At::SaveEnvelope(Save::new(Place::ReleaseEnvelope, Region::Envelope));
                Err(Stop::Again)
            }
            At::SaveEnvelope(save) => {
                save.step(shared)?;
                let CurrentOffer { release, sizes, .. } = *offer(shared)?;
                let record = JournalRecord::Fetching {
                    release,
                    body_bytes: sizes.body,
                    envelope_bytes: sizes.envelope,
                    file: FileIndex(0),
                    done: ByteLength(0),
                };
                let length = record.encode(shared.outgoing)?.len();
                self.at = At::Staged;
                shared.append(Log::Journal, length)
            }
            At::Staged => {
                shared.answered()?;
                Ok(To::Plan(self.resume))
            }
        }
    }

    /// A newer answer to a check-in: the same release goes on under it, anything else begins or ends.
    fn news(&self, shared: &mut Shared<'_, P>) -> Option<To> {
        use crate::shared::News;
        let is_install = matches!(shared.news, Some(News::Install));
        if !is_install {
            return attempt_news(shared);
        }
        shared.news = None;
        Some(To::FetchRelease)
    }

    fn journal(&mut self, shared: &mut Shared<'_, P>) -> Step<To> {
        let length = record_length(shared)?;
        let offered = offer(shared)?.clone();
        let record = length.and_then(|length| JournalRecord::decode(shared.outgoing.get(..length)?).ok());
        match record {
            Some(JournalRecord::Fetching { release, body_bytes, envelope_bytes, file, done })
                if release == offered.release
                    && body_bytes == offered.sizes.body
                    && envelope_bytes == offered.sizes.envelope =>
            {
                self.resume = Some((file, done));
                self.at = At::LoadBody(Load::new(Place::ReleaseBody, Region::Body, body_bytes));
                Err(Stop::Again)
            }
            _ => self.fetch(Region::Body, shared),
        }
    }

    #[inline(never)]
    fn fetch(&mut self, region: Region, shared: &mut Shared<'_, P>) -> Step<To> {
        let sizes = offer(shared)?.sizes;
        let (part, length) = match region {
            Region::Envelope => (Part::ReleaseEnvelope, sizes.envelope),
            _ => (Part::ReleaseBody, sizes.body),
        };
        shared.arena.place(region, math::from_u32(length))?;
        self.at = At::Fetch(region, Transfer::into_memory(part, Under::Offer, region, shared));
        Err(Stop::Again)
    }

    /// Checks one signature; behind the last one, the rules.
    fn check(&mut self, shared: &mut Shared<'_, P>) -> Step<To> {
        let At::Check(progress) = &mut self.at else { return Err(CORRUPT.into()) };
        let body = self.body.ok_or(CORRUPT)?;
        let (state, paused) = check_signature(progress.take(), body, shared)?;
        if state == Progress::More {
            *progress = Some(paused);
            return Err(Stop::Yield);
        }
        shared.release = Some(admit(&paused, body, shared)?);
        shared.happened(Happened::Offered);
        shared.tell(Reached::Offered, ReportCode::Ok);
        if self.resume.is_some() {
            return Ok(To::Plan(self.resume));
        }
        self.at = At::SaveBody(Save::new(Place::ReleaseBody, Region::Body));
        Err(Stop::Yield)
    }
}

/// Checks the next signature, in a frame of its own: a signature needs most of the stack.
#[inline(never)]
fn check_signature<P: Profile>(
    paused: Option<SignatureProgress>,
    body: BodyReceipt,
    shared: &Shared<'_, P>,
) -> Result<(Progress, SignatureProgress), Failure> {
    // Borrowed out of the result, because a move would be a second copy on the stack.
    let root = shared.root();
    let root = root.as_ref().map_err(|failure| *failure)?;
    let body = body.attach(shared.arena.region(Region::Body))?;
    let mut check = SignatureCheck::begin(root, shared.arena.region(Region::Envelope), body)?;
    if let Some(paused) = &paused {
        check = check.resume(paused);
    }
    let state = check.step(&shared.verifier)?;
    Ok((state, check.pause()))
}

/// Believes the release if enough signatures have been checked, and asks whether it may be installed here.
#[inline(never)]
fn admit<P: Profile>(
    checked: &SignatureProgress,
    body: BodyReceipt,
    shared: &Shared<'_, P>,
) -> Result<SignedReleaseReceipt, Failure> {
    let offered = offer(shared)?;
    let root = shared.root()?;
    let context = shared.context(offered.asked_at);
    let body = body.attach(shared.arena.region(Region::Body))?;
    let check = SignatureCheck::begin(&root, shared.arena.region(Region::Envelope), body)?;
    let signed = check.resume(checked).finish()?;
    let admitted = signed.admit(&root, &offered.assignment, &context)?;
    let installed = shared.active().entries().map(|entry| (entry.file, entry.revision));
    if unmet_requirement(&admitted.release().requirements, context.epoch, installed).is_some() {
        return Err(Failure::Attempt(ReportCode::RequirementNotMet));
    }
    Ok(signed.detach())
}

fn offer<'s, P: Profile>(shared: &'s Shared<'_, P>) -> Result<&'s CurrentOffer, Failure> {
    shared.offer.as_ref().ok_or(CORRUPT)
}
