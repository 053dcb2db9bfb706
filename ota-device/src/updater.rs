//! The engine itself: takes inputs, hands out outputs, and lets the phase it is in take one step at a time.

use ota_core::device::Log;
use ota_core::integrity::Suite;
use ota_core::number::{ByteLength, ByteOffset};
use ota_core::text::InstallTarget;
use ota_core::time::{Instant, Millis};

use crate::arena::Region;
use crate::config::{Buffers, Config, Profile};
use crate::inbox;
use crate::io::{Command, Event, Input, Installed, Link, Misuse, Offered, Output};
use crate::limits::{RECORD_BYTES_MAX, TURN_STEPS_MAX};
use crate::ops::{Op, OpBuffers};
use crate::outbox;
use crate::phase::{Origin, Phase, Starting, To, decided, file, release};
use crate::policy::{Asked, DAY_MINUTES, Policy};
use crate::session::Wants;
use crate::shared::{Answer, Decision, Happened, NEVER, SelfTest, Shared, Stop, Turn};
use crate::statistics::{Progress, Statistics};

/// The update engine of one device.
///
/// **Give one input, poll outputs until [`Output::WaitUntil`], then wait for the next input or that time.**
///
/// It owns no socket, no flash, no clock and no randomness, and never blocks: one poll does at most one signature
/// verification or 4 KiB of hashing, and then waits "until now" so that the application has its turn. Whatever
/// comes over the link is taken for hostile. A power cut at any moment leaves the old set of files active or the
/// new one, and a new engine on the same storage goes on.
///
/// Dropping the engine at any moment is safe.
pub struct Updater<'b, P: Profile> {
    shared: Shared<'b, P>,
    phase: Phase<P>,
    asked: Option<Kind>,
    /// Who the operation under way is for.
    owner: Owner,
    wake: Instant,
}

/// What kind of answer is awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Storage,
    Boot,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Phase,
    /// The trusted time is being stored.
    Time,
}

/// What is to be put out, before anything is borrowed for it.
enum Next {
    Event(Happened),
    Storage,
    Boot(crate::io::BootOp),
    Nonce,
    Message(usize),
    Wait(Instant),
}

impl<'b, P: Profile> Updater<'b, P> {
    /// Makes an engine for a device that has just started. Everything else it reads from the storage.
    ///
    /// # Errors
    /// [`Misuse::OutOfRange`] if a buffer is too small: `metadata` and `blocks` need 512 bytes at the very least,
    /// `outgoing` 512.
    pub fn new(config: Config<'b, P>, buffers: Buffers<'b>, now: Instant) -> Result<Self, Misuse>
    where
        <P::Suite as Suite>::Verifier: Default,
    {
        let smallest = buffers.metadata.len().min(buffers.blocks.len()).min(buffers.outgoing.len());
        if smallest < BUFFER_BYTES_MIN {
            return Err(Misuse::OutOfRange);
        }
        let verifier = <P::Suite as Suite>::Verifier::default();
        Ok(Self {
            shared: Shared::new(config, verifier, buffers, now),
            phase: Phase::Starting(Starting::new(Origin::PowerOn)),
            asked: None,
            owner: Owner::Phase,
            wake: now,
        })
    }

    /// Takes an input. It may only be given when [`poll_output`](Self::poll_output) has returned
    /// [`Output::WaitUntil`], or as the answer to what it has just asked for.
    ///
    /// Whatever a message holds, it is not an error: it is counted.
    ///
    /// # Errors
    /// [`Misuse`] says what was wrong with the call; it had no effect.
    pub fn handle_input(&mut self, input: Input<'_>, now: Instant) -> Result<(), Misuse> {
        // A clock that jumps back would make timers wait for the difference again.
        self.shared.now = self.shared.now.max(now);
        match input {
            Input::StorageDone(answer) => self.answered(Kind::Storage, Answer::Storage(answer)),
            Input::BootDone(answer) => self.answered(Kind::Boot, Answer::Boot(answer.ok())),
            Input::Nonce(nonce) => match self.shared.session.give_nonce(nonce) {
                true => Ok(()),
                false => Err(Misuse::NotAsked),
            },
            Input::Timeout => Ok(()),
            Input::Message(bytes) => {
                if self.is_busy() {
                    Statistics::count(&mut self.shared.statistics.messages_busy);
                } else {
                    inbox::receive(bytes, &mut self.phase, &mut self.shared);
                }
                Ok(())
            }
            Input::Link(link) => {
                self.link(link);
                Ok(())
            }
            Input::Command(command) => self.command(command),
            Input::External { offset, bytes } => self.external(offset, bytes),
        }
    }

    /// The next thing to do, or until when there is nothing.
    #[inline(never)]
    pub fn poll_output(&mut self) -> Output<'_> {
        match self.next() {
            Next::Event(event) => self.tell(event),
            Next::Storage => self.put_out(),
            Next::Boot(op) => Output::Boot(op),
            Next::Nonce => Output::Nonce,
            Next::Message(length) => Output::Send(self.shared.outgoing.get(..length).unwrap_or_default()),
            Next::Wait(until) => {
                self.shared.turn = Turn::default();
                Output::WaitUntil(until)
            }
        }
    }

    /// Whether a message would be looked at now. While it would not, one that is given is dropped and counted, and
    /// its blocks are asked for again.
    #[must_use]
    pub const fn wants_message(&self) -> bool {
        !self.is_busy()
    }

    /// The time now, as far as the engine has been told.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.shared.now
    }

    /// How far it has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress {
            activity: self.phase.activity(),
            done: ByteLength(self.shared.done),
            total: ByteLength(self.shared.total),
            round_trip: self.shared.pace.round_trip(),
            window: self.shared.pace.window(self.shared.policy.window_max),
        }
    }

    /// What it has counted.
    #[must_use]
    pub const fn statistics(&self) -> &Statistics {
        &self.shared.statistics
    }

    /// The application's wishes.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.shared.policy
    }

    /// Changes them; values out of their range are brought into it.
    pub fn set_policy(&mut self, policy: Policy) {
        self.shared.policy = policy.clamped();
    }

    /// The active file of an install target, once the engine has read its storage.
    #[must_use]
    pub fn installed(&self, target: InstallTarget<'_>) -> Option<Installed<'_>> {
        let entry = self.shared.active().at(target).filter(|_| self.shared.set_loaded)?;
        Some(Installed {
            file: entry.file,
            revision: entry.revision,
            slot: entry.place.slot,
            size: entry.place.size,
            digest: entry.digest,
        })
    }

    /// What the device trusts now, once the engine has read its storage.
    #[must_use]
    pub fn trusted(&self) -> Option<ota_core::trust::TrustedState> {
        self.shared.root.map(|_| self.shared.trusted.state)
    }

    const fn is_busy(&self) -> bool {
        self.asked.is_some()
    }

    fn answered(&mut self, kind: Kind, answer: Answer) -> Result<(), Misuse> {
        match self.asked {
            None => Err(Misuse::NotAsked),
            Some(asked) if asked != kind => Err(Misuse::WrongAnswer),
            Some(_) => {
                self.asked = None;
                match core::mem::replace(&mut self.owner, Owner::Phase) {
                    Owner::Phase => self.shared.answer = Some(answer),
                    // A time that could not be stored is tried again when it is a day later.
                    Owner::Time => self.shared.stored = self.shared.trusted.state,
                }
                Ok(())
            }
        }
    }

    fn link(&mut self, link: Link) {
        let was = core::mem::replace(&mut self.shared.link, link);
        if was == Link::Down && link == Link::Up {
            self.shared.pace.reconnected();
            let now = self.shared.now;
            self.shared.session.reconnected(now);
            if let Some(transfer) = self.phase.transfer() {
                transfer.ask_anew(now);
            }
        }
    }

    fn command(&mut self, command: Command<'_>) -> Result<(), Misuse> {
        let shared = &mut self.shared;
        match command {
            Command::CheckIn => shared.session.check_in(shared.now),
            Command::Idle => shared.moment.idle = true,
            Command::Busy => shared.moment.idle = false,
            Command::LocalMinute(minute) if minute >= DAY_MINUTES => return Err(Misuse::OutOfRange),
            Command::LocalMinute(minute) => shared.moment.tell_minute(minute, shared.now),
            Command::Go => shared.asked = Asked::Yes,
            Command::Pause => shared.moment.paused = true,
            Command::Resume => {
                shared.moment.paused = false;
                let now = shared.now;
                if let Some(transfer) = self.phase.transfer() {
                    transfer.resumed(now);
                }
            }
            Command::Reject(_) | Command::Defer(_) | Command::Abort if !self.phase.is_attempt() => {
                return Err(Misuse::NotNow);
            }
            Command::Reject(detail) => {
                shared.reporter.explain(detail);
                shared.decision = Some(Decision::Reject);
            }
            Command::Defer(span) => shared.decision = Some(Decision::Defer(span)),
            Command::Abort => shared.decision = Some(Decision::Abort),
            Command::SelfTestPassed | Command::SelfTestFailed if !self.phase.is_trial() => {
                return Err(Misuse::NotNow);
            }
            Command::SelfTestPassed => shared.self_test = Some(SelfTest::Passed),
            Command::SelfTestFailed => shared.self_test = Some(SelfTest::Failed),
            Command::ExternalFailed => {
                match self.phase.transfer().filter(|transfer| transfer.is_external()) {
                    Some(transfer) => transfer.take_blocks(shared),
                    None => return Err(Misuse::NotNow),
                }
            }
        }
        Ok(())
    }

    fn external(&mut self, offset: ByteOffset, bytes: &[u8]) -> Result<(), Misuse> {
        if self.is_busy() {
            return Err(Misuse::NotPolled);
        }
        match self.phase.transfer() {
            Some(transfer) if transfer.is_external() => {
                transfer.on_external(offset.0, bytes, &mut self.shared)
            }
            _ => Err(Misuse::NotNow),
        }
    }

    /// Finds out what is to be put out. The order is: what happened, what is to be done with storage and
    /// bootloader, what is to be said, then the phase's next step.
    fn next(&mut self) -> Next {
        for _ in 0..TURN_STEPS_MAX {
            if let Some(event) = self.shared.next_event() {
                return Next::Event(event);
            }
            if self.is_busy() {
                return Next::Wait(NEVER);
            }
            if let Some(op) = &self.shared.op {
                return match op {
                    Op::Boot(op) => {
                        let op = *op;
                        self.shared.op = None;
                        self.asked = Some(Kind::Boot);
                        Next::Boot(op)
                    }
                    op if !self.shared.turn.may_move(op.bytes()) => Next::Wait(self.shared.now),
                    _ => {
                        self.asked = Some(Kind::Storage);
                        Next::Storage
                    }
                };
            }
            let mut wake = NEVER;
            let can_talk =
                self.shared.set_loaded && self.phase.can_check_in() && self.shared.is_free_to_talk();
            if can_talk && self.shared.link == Link::Up {
                match self.talk() {
                    Ok(next) => return next,
                    Err(until) => wake = wake.min(until),
                }
            }
            if let Some(request) = self.shared.request.take() {
                if let Some(length) = outbox::want_blocks(&request, &mut self.shared) {
                    return Next::Message(length);
                }
                continue;
            }
            if self.wants_time_stored() {
                continue;
            }
            self.change_course();
            match self.phase.step(&mut self.shared) {
                Ok(next) => self.enter(next),
                Err(Stop::Again) => {}
                Err(Stop::Yield) => return Next::Wait(self.shared.now),
                Err(Stop::Wait) => {
                    self.wake = wake.min(self.shared.wait_until);
                    return Next::Wait(self.wake);
                }
                Err(Stop::Failed(failure)) => {
                    let next = self.phase.after(failure, &mut self.shared);
                    self.enter(next);
                }
            }
        }
        // Many small steps: others have their turn.
        Next::Wait(self.shared.now)
    }

    /// What is to be said now, or until when nothing is.
    fn talk(&mut self) -> Result<Next, Instant> {
        let shared = &mut self.shared;
        let mut wake = match shared.session.wants(shared.now, &mut shared.jitter) {
            Wants::Nonce => return Ok(Next::Nonce),
            Wants::CheckIn(nonce) => {
                let now = shared.now;
                match outbox::check_in(nonce, shared) {
                    Some(length) => {
                        shared.session.sent(nonce, now);
                        return Ok(Next::Message(length));
                    }
                    // The list of files does not fit the buffer: nothing that waiting would change.
                    None => {
                        shared.session.begin_anew(Millis(3_600_000), now);
                        now
                    }
                }
            }
            Wants::Nothing { until } => until,
        };
        match shared.reporter.due(shared.now) {
            Ok(pending) => {
                shared.reporter.sent(shared.now, &mut shared.jitter);
                if let Some(length) = outbox::report(&pending, shared) {
                    return Ok(Next::Message(length));
                }
            }
            Err(Some(due)) => wake = wake.min(due),
            Err(None) => {}
        }
        Err(wake)
    }

    /// A later time that was learned is stored now and then, so that an old answer cannot be played back.
    fn wants_time_stored(&mut self) -> bool {
        let shared = &mut self.shared;
        let is_due = shared.set_loaded
            && shared.answer.is_none()
            && self.phase.can_check_in()
            && shared.trusted.state.is_worth_storing_over(&shared.stored);
        if !is_due {
            return false;
        }
        let Ok(length) = shared.trusted.encode(shared.outgoing).map(<[u8]>::len) else { return false };
        shared.op = Some(Op::Append { log: Log::Trusted, length });
        self.owner = Owner::Time;
        true
    }

    /// A newer root, or a decision of the application, changes what the engine does.
    fn change_course(&mut self) {
        if self.shared.answer.is_some() {
            return;
        }
        if self.shared.root_offer.is_some() && self.phase.can_change_root() {
            self.enter(To::FetchRoot);
        } else if self.phase.is_attempt()
            && let Some(next) = decided(&mut self.shared)
        {
            self.enter(next);
        }
    }

    #[inline(never)]
    fn enter(&mut self, to: To) {
        // An answer is for the phase that asked; left over, it would keep the device from talking.
        self.shared.answer = None;
        self.phase = Phase::begin(to, &mut self.shared);
    }

    fn put_out(&mut self) -> Output<'_> {
        let Some(op) = self.shared.op.take() else { return Output::WaitUntil(self.shared.now) };
        let shared = &mut self.shared;
        // A message may be longer: whoever reads a record reads no more than one.
        let record = shared.outgoing.get_mut(..RECORD_BYTES_MAX).unwrap_or_default();
        let buffers = OpBuffers { arena: &mut shared.arena, blocks: shared.blocks, record };
        match op.resolve(buffers) {
            Some(op) => Output::Storage(op),
            // A range outside of its buffer is our own mistake: it must not turn into a wrong write.
            None => unreachable_range(),
        }
    }

    fn tell(&self, happened: Happened) -> Output<'_> {
        let event = match happened {
            Happened::Unprovisioned => Event::Unprovisioned,
            Happened::Offered => match self.offered() {
                Some(offered) => Event::Offered(offered),
                None => return Output::WaitUntil(self.shared.now),
            },
            Happened::FetchExternally { file: index, offset, block_bytes } => {
                let found = file(&self.shared, index).ok();
                let Some((file, url)) = found.and_then(|file| Some((file, file.urls.get(0)?))) else {
                    return Output::WaitUntil(self.shared.now);
                };
                let offset = ByteOffset(offset);
                Event::FetchExternally { url, file: file.name, offset, size: file.size, block_bytes }
            }
            Happened::Downloaded => Event::Downloaded,
            Happened::Verified => Event::Verified,
            Happened::RestartNeeded => Event::RestartNeeded,
            Happened::OnTrial => Event::OnTrial,
            Happened::Confirmed(release) => Event::Confirmed(release),
            Happened::Reverted(code) => Event::Reverted(code),
            Happened::Failed(code) => Event::Failed(code),
            Happened::UnknownFirmware => Event::UnknownFirmware,
            Happened::StorageFailed(fault) => Event::StorageFailed(fault),
            Happened::BootFailed => Event::BootFailed,
            Happened::Turn(turn) => Event::Turn(turn),
        };
        Output::Event(event)
    }

    fn offered(&self) -> Option<Offered<'_>> {
        let signed = release(&self.shared).ok()?;
        let release = signed.release();
        Some(Offered {
            release: signed.id(),
            package: release.package,
            version: release.version,
            kind: release.kind,
            notes: release.notes,
        })
    }

    /// How many bytes of metadata would still fit behind what is held, for a device that reports its own limits.
    #[must_use]
    pub fn metadata_room(&self) -> usize {
        self.shared.arena.room_from(Region::Body)
    }
}

/// Smallest buffers that an engine can be made with, in bytes.
const BUFFER_BYTES_MIN: usize = 512;
const _: () = assert!(RECORD_BYTES_MAX <= BUFFER_BYTES_MIN);

#[expect(
    clippy::panic,
    reason = "a range outside of its buffer is a broken invariant of this crate, not of its callers"
)]
fn unreachable_range<'a>() -> Output<'a> {
    panic!("an operation of the engine names bytes outside of its buffers")
}
