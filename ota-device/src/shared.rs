//! What all phases share: identity, buffers, trust, the current offer, and the one operation that is under way.

use ota_core::cbor::EncodeError;
use ota_core::device::{FirmwareSlots, Granularity, Log, Slot, StorageFault, StorageFaultKind};
use ota_core::integrity::{IntegrityError, Suite};
use ota_core::limits::GRANT_BYTES_MAX;
use ota_core::number::{ByteLength, FileIndex, OfferId, ReleaseId, SecurityEpoch, Sha256Digest};
use ota_core::text::InstallTarget;
use ota_core::time::{Instant, Millis};
use ota_core::trust::{
    BodyReceipt, DevelopmentRoots, DeviceIdentity, InstallContext, SignedReleaseReceipt, TrustError,
    TrustedRoot, TrustedState, VerifiedAssignment,
};
use ota_core::wire::{Part, Phase, ReleaseSizes, ReportCode, RootHint};

use crate::arena::{Arena, Region, TooSmall};
use crate::backoff::Backoff;
use crate::config::{Buffers, Config, ExternalDownloads, Identity, Profile};
use crate::download::{BITMAP_BYTES, Pace, Under};
use crate::io::{BootAnswer, BootOp, Link, StorageAnswer};
use crate::limits::{EVENTS_MAX, PIECE_BYTES_MAX};
use crate::math;
use crate::ops::Op;
use crate::policy::{Allowed, Asked, Moment, Policy, When};
use crate::random::Jitter;
use crate::record::{SetsRecord, TrustedRecord};
use crate::report::Reporter;
use crate::session::Session;
use crate::set::FileSet;
use crate::slots::StagingSlots;
use crate::statistics::Statistics;

pub(crate) type Sha256Of<P> = <<P as Profile>::Suite as Suite>::Sha256;
pub(crate) type VerifierOf<P> = <<P as Profile>::Suite as Suite>::Verifier;

/// Why a phase cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The storage failed.
    Storage(StorageFault),
    /// The boot control failed.
    Boot,
    /// The attempt is over, for a reason that the server hears.
    Attempt(ReportCode),
}

impl From<TrustError> for Failure {
    fn from(error: TrustError) -> Self {
        Self::Attempt(error.into())
    }
}

impl From<TooSmall> for Failure {
    fn from(_: TooSmall) -> Self {
        Self::Attempt(ReportCode::TooLarge)
    }
}

impl From<EncodeError> for Failure {
    fn from(_: EncodeError) -> Self {
        Self::Attempt(ReportCode::TooLarge)
    }
}

impl From<IntegrityError> for Failure {
    fn from(error: IntegrityError) -> Self {
        Self::Attempt(match error {
            IntegrityError::Missing | IntegrityError::NotComputable | IntegrityError::TooWeak { .. } => {
                ReportCode::NoIntegrity
            }
            _ => ReportCode::IntegrityMismatch,
        })
    }
}

impl Failure {
    /// What the server hears about it.
    pub(crate) const fn code(self) -> ReportCode {
        match self {
            Self::Storage(StorageFault { kind: StorageFaultKind::Full, .. }) => ReportCode::TooLarge,
            Self::Storage(_) | Self::Boot => ReportCode::Storage,
            Self::Attempt(code) => code,
        }
    }
}

/// A medium fault of our own making: a record or a range that makes no sense.
pub(crate) const CORRUPT: Failure = Failure::Storage(StorageFault { kind: StorageFaultKind::Medium });

/// Why a step has no result yet, or never will.
///
/// Passed on with `?`, as `WouldBlock` is: whoever called the step goes on from where it was when it is called again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Call again at once: an operation is wanted, or the next small step can follow.
    Again,
    /// Much was computed: call again after the application had its turn.
    Yield,
    /// Nothing to do before [`Shared::wait`]'s time or an input.
    Wait,
    /// It cannot go on.
    Failed(Failure),
}

impl<T: Into<Failure>> From<T> for Stop {
    fn from(failure: T) -> Self {
        Self::Failed(failure.into())
    }
}

/// The result of a step, once there is one.
pub(crate) type Step<T> = Result<T, Stop>;

/// Forever, as far as timers go.
pub(crate) const NEVER: Instant = Instant(u64::MAX);

/// The offer that is being followed.
#[derive(Debug, Clone)]
pub(crate) struct CurrentOffer {
    pub(crate) id: OfferId,
    pub(crate) assignment: VerifiedAssignment,
    pub(crate) release: ReleaseId,
    pub(crate) sizes: ReleaseSizes,
    pub(crate) grant: Grant,
    /// When the check-in was sent that it answers: the server's time counts from there.
    pub(crate) asked_at: Instant,
    /// Not before this.
    pub(crate) earliest: Instant,
}

/// The permission to fetch.
#[derive(Debug, Clone)]
pub(crate) struct Grant {
    bytes: [u8; GRANT_BYTES_MAX],
    length: usize,
}

impl Grant {
    pub(crate) fn new(grant: &[u8]) -> Option<Self> {
        let mut bytes = [0; GRANT_BYTES_MAX];
        bytes.get_mut(..grant.len())?.copy_from_slice(grant);
        Some(Self { bytes, length: grant.len() })
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// A root that is newer than the trusted one is said to exist; it has to prove itself.
#[derive(Debug, Clone)]
pub(crate) struct RootOffer {
    pub(crate) id: OfferId,
    pub(crate) hint: RootHint,
    pub(crate) grant: Grant,
}

/// What requests are made under: the number of the offer and the permission that came with it.
pub(crate) fn credentials<'s>(
    under: Under,
    offer: &'s Option<CurrentOffer>,
    root_offer: &'s Option<RootOffer>,
) -> Option<(OfferId, &'s Grant)> {
    match under {
        Under::Offer => offer.as_ref().map(|offer| (offer.id, &offer.grant)),
        Under::RootOffer => root_offer.as_ref().map(|offer| (offer.id, &offer.grant)),
    }
}

/// What a check-in or a message has brought that phases react to.
#[derive(Debug, Clone)]
pub(crate) enum News {
    /// Install the release of the current offer.
    Install,
    /// There is nothing to do.
    Nothing,
    /// The current offer is taken back.
    Cancelled,
}

/// A decision of the application that the phase reacts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    Reject,
    Defer(Millis),
    Abort,
}

/// The result of the application's self-test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SelfTest {
    Passed,
    Failed,
}

/// What an answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Storage(Result<StorageAnswer, StorageFault>),
    Boot(Option<BootAnswer>),
}

/// Events without borrows; what they borrow is looked up when they are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Happened {
    Unprovisioned,
    Offered,
    FetchExternally { file: FileIndex, offset: u64, block_bytes: u32 },
    Downloaded,
    Verified,
    RestartNeeded,
    OnTrial,
    Confirmed(ReleaseId),
    Reverted(ReportCode),
    Failed(ReportCode),
    UnknownFirmware,
    StorageFailed(StorageFault),
    BootFailed,
    Turn(ota_core::time::Timestamp),
}

/// The request for blocks that is to be sent next.
#[derive(Debug, Clone)]
pub(crate) struct BlockRequest {
    pub(crate) under: Under,
    pub(crate) part: Part,
    pub(crate) offset: u64,
    pub(crate) block_bytes: u32,
    /// Number of blocks where they follow each other, otherwise the bitmap counts.
    pub(crate) count: Option<u16>,
    pub(crate) bitmap: [u8; BITMAP_BYTES],
}

pub(crate) struct Shared<'b, P: Profile> {
    pub(crate) identity: Identity<'b>,
    pub(crate) firmware_target: Option<InstallTarget<'b>>,
    pub(crate) connectivity: &'b [InstallTarget<'b>],
    pub(crate) external: ExternalDownloads,
    pub(crate) development: DevelopmentRoots,
    pub(crate) key: Option<P::Key>,
    pub(crate) verifier: VerifierOf<P>,
    pub(crate) policy: Policy,
    pub(crate) moment: Moment,
    pub(crate) asked: Asked,
    pub(crate) link: Link,

    pub(crate) arena: Arena<'b>,
    pub(crate) blocks: &'b mut [u8],
    /// The message that is to be sent, or a record of a log: [`Shared::is_free_to_talk`] keeps them apart.
    pub(crate) outgoing: &'b mut [u8],

    pub(crate) now: Instant,
    /// Until when the phase waits, after [`Stop::Wait`].
    pub(crate) wait_until: Instant,
    pub(crate) op: Option<Op>,
    pub(crate) answer: Option<Answer>,
    pub(crate) request: Option<BlockRequest>,
    events: [Option<Happened>; EVENTS_MAX],

    pub(crate) granularity: Granularity,
    pub(crate) running: Option<Sha256Digest>,
    pub(crate) running_epoch: SecurityEpoch,
    pub(crate) firmware_slots: FirmwareSlots,
    pub(crate) running_slot: Option<Slot>,
    pub(crate) trusted: TrustedRecord,
    /// The state as it was last stored, to know when storing is due.
    pub(crate) stored: TrustedState,
    pub(crate) root: Option<BodyReceipt>,
    pub(crate) sets: Option<SetsRecord>,
    /// Whether the active set is in memory, so that the device can check in.
    pub(crate) set_loaded: bool,

    pub(crate) session: Session,
    pub(crate) reporter: Reporter,
    pub(crate) evidence_sequence: u32,
    pub(crate) offer: Option<CurrentOffer>,
    pub(crate) root_offer: Option<RootOffer>,
    /// A newer root is not looked at before this time.
    pub(crate) root_retry_at: Instant,
    pub(crate) attempt_backoff: Backoff,
    /// The application has put installing off until then.
    pub(crate) deferred_until: Instant,
    pub(crate) release: Option<SignedReleaseReceipt>,
    pub(crate) news: Option<News>,
    pub(crate) decision: Option<Decision>,
    pub(crate) self_test: Option<SelfTest>,
    /// Files on trial have to prove themselves before this time; kept while a new root is taken over.
    pub(crate) trial_until: Option<Instant>,

    pub(crate) pace: Pace,
    pub(crate) hold_until: Instant,
    pub(crate) tokens: Tokens,
    pub(crate) jitter: Jitter,
    pub(crate) statistics: Statistics,
    pub(crate) turn: Turn,
    pub(crate) done: u64,
    pub(crate) total: u64,
}

/// What the turn has cost so far, in bytes: before it costs more than a piece, others have theirs.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Turn {
    hashed: usize,
    moved: usize,
}

impl Turn {
    /// Whether so many more bytes may be hashed in this turn; if they may, they are counted.
    pub(crate) fn may_hash(&mut self, bytes: usize) -> bool {
        admits(&mut self.hashed, bytes)
    }

    /// Whether the storage may read or write so many more bytes in this turn; if it may, they are counted.
    pub(crate) fn may_move(&mut self, bytes: usize) -> bool {
        admits(&mut self.moved, bytes)
    }
}

/// A piece may always go first, however long the product has chosen it.
#[inline(never)]
fn admits(used: &mut usize, more: usize) -> bool {
    let sum = used.saturating_add(more);
    let is_admitted = *used == 0 || sum <= PIECE_BYTES_MAX;
    if is_admitted {
        *used = sum;
    }
    is_admitted
}

/// Bytes that may be asked for now, under the policy's rate.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tokens {
    bytes: u64,
    at: Instant,
}

impl Tokens {
    /// Whether `bytes` may be asked for now, or when they may. Never more than a second's worth is saved up, and a
    /// request larger than that may go when the second is full.
    pub(crate) fn take(&mut self, bytes: u64, rate: Option<u32>, now: Instant) -> Result<(), Instant> {
        let Some(rate) = rate.map(u64::from) else { return Ok(()) };
        let earned = math::times(rate, now.since(self.at).0) / 1000;
        if earned > 0 {
            self.bytes = self.bytes.saturating_add(earned).min(rate);
            self.at = now;
        }
        let needed = bytes.min(rate);
        if self.bytes >= needed {
            self.bytes = self.bytes.saturating_sub(bytes);
            // What goes beyond a second's worth is paid for by waiting longer afterwards.
            let debt = bytes.saturating_sub(needed);
            self.at = self.at.plus(Millis(math::times(debt, 1000).checked_div(rate).unwrap_or(0)));
            return Ok(());
        }
        let missing = math::times(needed.saturating_sub(self.bytes), 1000);
        let wait = missing.checked_div(rate).unwrap_or(0).saturating_add(1);
        Err(self.at.max(now).plus(Millis(wait)))
    }
}

impl<'b, P: Profile> Shared<'b, P> {
    pub(crate) fn new(
        config: Config<'b, P>,
        verifier: VerifierOf<P>,
        buffers: Buffers<'b>,
        now: Instant,
    ) -> Self {
        let state = TrustedState {
            root: ota_core::number::RootVersion(0),
            root_digest: Sha256Digest([0; 32]),
            epoch: SecurityEpoch(0),
            generations: ota_core::trust::Generations::default(),
            last_time: ota_core::time::Timestamp(0),
        };
        Self {
            identity: config.identity,
            firmware_target: config.firmware,
            connectivity: config.connectivity,
            external: config.external,
            development: config.development,
            key: config.key,
            verifier,
            policy: config.policy.clamped(),
            moment: Moment::default(),
            asked: Asked::No,
            link: Link::Up,
            arena: Arena::new(buffers.metadata),
            blocks: buffers.blocks,
            outgoing: buffers.outgoing,
            now,
            wait_until: now,
            op: None,
            answer: None,
            request: None,
            events: [const { None }; EVENTS_MAX],
            granularity: Granularity::BYTES,
            running: None,
            running_epoch: SecurityEpoch(0),
            firmware_slots: FirmwareSlots::InTurn,
            running_slot: None,
            trusted: TrustedRecord {
                state,
                root_slot: Slot::A,
                root_bytes: 0,
                boots: ota_core::number::BootCounter(0),
            },
            stored: state,
            root: None,
            sets: None,
            set_loaded: false,
            session: Session::new(now),
            reporter: Reporter::new(),
            evidence_sequence: 0,
            offer: None,
            root_offer: None,
            root_retry_at: Instant(0),
            deferred_until: Instant(0),
            attempt_backoff: Backoff::new(ATTEMPT_RETRY_FIRST, ATTEMPT_RETRY_MAX),
            release: None,
            news: None,
            decision: None,
            self_test: None,
            trial_until: None,
            pace: Pace::new(),
            hold_until: Instant(0),
            tokens: Tokens::default(),
            jitter: Jitter::new(config.seed),
            statistics: Statistics::default(),
            turn: Turn::default(),
            done: 0,
            total: 0,
        }
    }

    /// Nothing is to be done before `until` or an input.
    pub(crate) const fn wait(&mut self, until: Instant) -> Stop {
        self.wait_until = until;
        Stop::Wait
    }

    /// Whether a message may be written: no record waits in the same buffer to be stored, or to be read by the phase
    /// that asked for it.
    pub(crate) const fn is_free_to_talk(&self) -> bool {
        self.op.is_none() && self.answer.is_none()
    }

    /// Wants an operation; the phase is called again when it has been answered.
    pub(crate) fn ask<T>(&mut self, op: Op) -> Step<T> {
        self.answer = None;
        self.op = Some(op);
        Err(Stop::Again)
    }

    /// Wants the first `length` bytes of the outgoing buffer, a record, appended to a log.
    pub(crate) fn append<T>(&mut self, log: Log, length: usize) -> Step<T> {
        self.ask(Op::Append { log, length })
    }

    /// The storage's answer to what was asked last.
    pub(crate) fn answered(&mut self) -> Result<StorageAnswer, Failure> {
        match self.answer.take() {
            Some(Answer::Storage(answer)) => answer.map_err(Failure::Storage),
            _ => Err(CORRUPT),
        }
    }

    /// The boot control's answer to what was asked last.
    pub(crate) fn boot_answered(&mut self) -> Result<BootAnswer, Failure> {
        match self.answer.take() {
            Some(Answer::Boot(Some(answer))) => Ok(answer),
            _ => Err(Failure::Boot),
        }
    }

    pub(crate) fn ask_boot<T>(&mut self, op: BootOp) -> Step<T> {
        self.ask(Op::Boot(op))
    }

    /// Tells the application; when it does not listen for long, newer events replace the newest.
    pub(crate) fn happened(&mut self, event: Happened) {
        match self.events.iter_mut().find(|slot| slot.is_none()) {
            Some(free) => *free = Some(event),
            None => {
                if let Some(last) = self.events.last_mut() {
                    *last = Some(event);
                }
            }
        }
    }

    pub(crate) fn next_event(&mut self) -> Option<Happened> {
        let event = self.events.first_mut()?.take()?;
        self.events.rotate_left(1);
        Some(event)
    }

    pub(crate) fn device(&self) -> DeviceIdentity<'b> {
        DeviceIdentity { device: self.identity.device, product: self.identity.product }
    }

    pub(crate) fn epoch(&self) -> SecurityEpoch {
        self.trusted.state.effective_epoch(self.running_epoch)
    }

    /// What a release is measured by, for an offer whose check-in was sent at `asked_at`.
    pub(crate) fn context(&self, asked_at: Instant) -> InstallContext<'b> {
        InstallContext {
            product: self.identity.product,
            hardware: self.identity.hardware,
            epoch: self.epoch(),
            elapsed: self.now.since(asked_at),
            development: self.development,
        }
    }

    /// The trusted root, read again from memory.
    pub(crate) fn root(&self) -> Result<TrustedRoot<'_>, Failure> {
        let receipt = self.root.ok_or(CORRUPT)?;
        let body = receipt.attach(self.arena.region(Region::Root))?;
        Ok(TrustedRoot::from_storage::<Sha256Of<P>>(body, &self.trusted.state)?)
    }

    /// The active set of files.
    pub(crate) fn active(&self) -> FileSet<'_> {
        FileSet::decode(self.arena.region(Region::Set)).unwrap_or(FileSet::EMPTY)
    }

    /// Whether what runs belongs to no set: nobody knows which slots are in use, so no file can be written safely.
    pub(crate) fn runs_foreign(&self) -> bool {
        self.sets.is_some() && self.arena.region(Region::Set).is_empty()
    }

    /// Tells the server what has been reached.
    pub(crate) fn tell(&mut self, phase: Phase, code: ReportCode) {
        if let Some(offer) = &self.offer {
            self.reporter.tell(offer.id, phase, code, None, ByteLength(self.done), self.now);
        }
    }

    /// Tells the server what has become of the attempt that changed the sets.
    pub(crate) fn tell_attempt(&mut self, phase: Phase, code: ReportCode) {
        if let Some(attempt) = self.sets.and_then(|sets| sets.attempt) {
            self.reporter.tell(attempt.offer, phase, code, None, ByteLength(self.done), self.now);
        }
    }

    /// Whether the application and the link allow asking for blocks, or when that is worth asking again.
    pub(crate) fn may_fetch(&self) -> Allowed {
        if self.link == Link::Down || self.moment.paused {
            return Allowed::WhenTold;
        }
        if self.hold_until > self.now {
            return Allowed::At(self.hold_until);
        }
        Allowed::Now
    }

    /// Whether the policy allows something.
    pub(crate) fn allows(&self, when: When) -> Allowed {
        self.moment.allows(when, self.asked, self.now)
    }

    /// How many bytes of metadata a release can have here: what is left behind root and set, less an envelope.
    pub(crate) fn metadata_bytes_max(&self) -> u32 {
        let room = self.arena.room_from(Region::Body);
        math::to_u32(room.saturating_sub(ENVELOPE_ROOM))
    }

    /// Whether the application can fetch files from URLs.
    pub(crate) fn fetches_externally(&self) -> bool {
        P::EXTERNAL_DOWNLOADS && self.external == ExternalDownloads::Yes
    }

    /// Which slots new files go to.
    pub(crate) const fn staging_slots(&self) -> StagingSlots<'b> {
        StagingSlots {
            firmware: self.firmware_target,
            slots: self.firmware_slots,
            runs_some: self.running.is_some(),
            runs_from: self.running_slot,
        }
    }

    /// Whether files of this target can cut the device off.
    pub(crate) fn is_connectivity(&self, target: InstallTarget<'_>) -> bool {
        self.connectivity.iter().any(|one| one.as_str() == target.as_str())
    }

    /// Forgets the attempt: offer, release and plan.
    pub(crate) fn forget_attempt(&mut self) {
        self.offer = None;
        self.release = None;
        self.request = None;
        self.decision = None;
        self.asked = Asked::No;
        self.done = 0;
        self.total = 0;
        self.arena.give_up_from(Region::Body);
    }
}

/// First and longest wait after an attempt that failed.
const ATTEMPT_RETRY_FIRST: Millis = Millis(60_000);
const ATTEMPT_RETRY_MAX: Millis = Millis(24 * 3_600_000);

/// Room that is kept for the envelope of a release: eight signatures.
const ENVELOPE_ROOM: usize = 768;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_kept_over_time_and_large_requests_pay_afterwards() {
        let mut tokens = Tokens::default();
        let rate = Some(1000);
        let mut now = Instant(0);
        let mut sent = 0;
        while now < Instant(100_000) {
            match tokens.take(4096, rate, now) {
                Ok(()) => sent += 4096,
                Err(at) => {
                    assert!(at > now);
                    now = at;
                }
            }
        }
        assert!((90_000..=106_000).contains(&sent), "{sent}");
        assert_eq!(tokens.take(u64::MAX, None, now), Ok(()));
    }
}
