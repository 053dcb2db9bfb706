//! What goes into the engine and what comes out of it: the whole surface between it and the world.
//!
//! [`Input`] and [`Output`] stay exhaustive, so that a new one breaks every driver when it is compiled; everything
//! that an application may ignore is an [`Event`] and may grow.

use ota_core::device::{
    Area, BootControl, BootFault, DeviceStorage, FirmwareSlots, Granularity, Log, Slot, StorageFault,
};
use ota_core::number::{
    ByteLength, ByteOffset, Nonce, PackageVersion, ReleaseId, SecurityEpoch, Sha256Digest,
};
use ota_core::text::{Detail, FileName, PackageName, Revision, Url};
use ota_core::time::{Instant, Millis};
use ota_core::trust::ReleaseKind;
use ota_core::wire::ReportCode;

/// Something that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input<'a> {
    /// A message came over the link. Anybody may have sent it.
    Message(&'a [u8]),
    /// The storage has done what [`Output::Storage`] asked for.
    StorageDone(Result<StorageAnswer, StorageFault>),
    /// The boot control has done what [`Output::Boot`] asked for.
    BootDone(Result<BootAnswer, BootFault>),
    /// The 16 unpredictable bytes that [`Output::Nonce`] asked for.
    Nonce(Nonce),
    /// The time of [`Output::WaitUntil`] has come. Too early is harmless.
    Timeout,
    /// The link is up, or down. It counts as up until this says otherwise.
    Link(Link),
    /// The application decides something.
    Command(Command<'a>),
    /// Bytes of a file that the application fetches itself, as [`Event::FetchExternally`] asked: a whole block, or
    /// what is left of the file, one behind the other.
    ///
    /// Wrong bytes, and none at all for [`EXTERNAL_SILENCE_MAX`](crate::limits::EXTERNAL_SILENCE_MAX), make the engine
    /// take blocks from the server; what comes later is refused with [`Misuse::NotNow`].
    External {
        /// Where its first byte belongs.
        offset: ByteOffset,
        /// The bytes.
        bytes: &'a [u8],
    },
}

/// Whether messages can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Link {
    /// They can. Whatever was asked for before is asked for again.
    Up,
    /// They cannot.
    Down,
}

/// A decision of the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command<'a> {
    /// Check in now, whatever the schedule says.
    CheckIn,
    /// The device has nothing better to do, until [`Busy`](Self::Busy). For [`When::Idle`](crate::When::Idle).
    Idle,
    /// The device has something better to do.
    Busy,
    /// The local time is this minute of the day, 0 to 1439. For [`When::Daily`](crate::When::Daily); told again
    /// when it was set or changed by a time zone.
    LocalMinute(u16),
    /// What waits for [`When::Asked`](crate::When::Asked) may go on.
    Go,
    /// Ask for no more blocks until [`Resume`](Self::Resume).
    Pause,
    /// Go on.
    Resume,
    /// Do not install the offered release; tell the operator why.
    Reject(Detail<'a>),
    /// Install the offered release later, after this much time; then it goes on by itself.
    Defer(Millis),
    /// Give the attempt up. What was committed already is not touched.
    Abort,
    /// The self-test of the new files has passed.
    SelfTestPassed,
    /// The self-test of the new files has failed: go back.
    SelfTestFailed,
    /// The application will not, or cannot, fetch from the URL: take blocks.
    ExternalFailed,
}

/// Something to be done, or to be waited for.
#[derive(Debug)]
#[must_use]
pub enum Output<'a> {
    /// Send this message to the server. May get lost.
    Send(&'a [u8]),
    /// Do this with the storage and give [`Input::StorageDone`]; [`StorageOp::perform`] does it.
    Storage(StorageOp<'a>),
    /// Do this with the boot control and give [`Input::BootDone`]; [`BootOp::perform`] does it.
    Boot(BootOp),
    /// Give 16 unpredictable bytes as [`Input::Nonce`].
    Nonce,
    /// Something the application may want to know.
    Event(Event<'a>),
    /// Nothing more to do before this time or the next input. The current time means: let others have their turn,
    /// then give [`Input::Timeout`].
    WaitUntil(Instant),
}

/// One call of [`DeviceStorage`].
#[derive(Debug)]
pub enum StorageOp<'a> {
    /// Asks for the granularity.
    Granularity,
    /// Asks how much an area can hold.
    Capacity(Area<'a>),
    /// Makes an area ready.
    Prepare {
        /// Which.
        area: Area<'a>,
        /// For how many bytes.
        size: ByteLength,
        /// How many at its front stay.
        keep: ByteLength,
    },
    /// Writes.
    Write {
        /// Where to.
        area: Area<'a>,
        /// At which offset.
        offset: ByteOffset,
        /// What.
        bytes: &'a [u8],
    },
    /// Reads.
    Read {
        /// Where from.
        area: Area<'a>,
        /// At which offset.
        offset: ByteOffset,
        /// Where to, exactly as long as what is to be read.
        into: &'a mut [u8],
    },
    /// Appends a record.
    Append {
        /// To which log.
        log: Log,
        /// The record.
        record: &'a [u8],
    },
    /// Reads a record.
    Record {
        /// Of which log.
        log: Log,
        /// Which; 0 is the newest.
        newest_first: u32,
        /// Where to.
        into: &'a mut [u8],
    },
}

impl StorageOp<'_> {
    /// Does it: one call of the storage.
    ///
    /// # Errors
    /// Whatever the storage returns; it is the answer all the same.
    pub fn perform<S: DeviceStorage + ?Sized>(self, storage: &mut S) -> Result<StorageAnswer, StorageFault> {
        match self {
            Self::Granularity => Ok(StorageAnswer::Granularity(storage.granularity())),
            Self::Capacity(area) => Ok(StorageAnswer::Capacity(storage.capacity(area))),
            Self::Prepare { area, size, keep } => storage.prepare(area, size, keep).map(StorageAnswer::from),
            Self::Write { area, offset, bytes } => {
                storage.write(area, offset, bytes).map(StorageAnswer::from)
            }
            Self::Read { area, offset, into } => storage.read(area, offset, into).map(StorageAnswer::from),
            Self::Append { log, record } => storage.append(log, record).map(StorageAnswer::from),
            Self::Record { log, newest_first, into } => {
                storage.record(log, newest_first, into).map(StorageAnswer::Record)
            }
        }
    }
}

/// What the storage answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageAnswer {
    /// It is done.
    Done,
    /// The granularity.
    Granularity(Granularity),
    /// What an area can hold.
    Capacity(Option<ByteLength>),
    /// The length of the record, if there is one.
    Record(Option<usize>),
}

impl From<()> for StorageAnswer {
    fn from((): ()) -> Self {
        Self::Done
    }
}

/// One call of [`BootControl`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BootOp {
    /// Asks what runs, its own security epoch, and how the slots of the firmware are used.
    Running,
    /// Asks for a trial boot of the firmware in this slot.
    RequestTrial(Slot),
    /// Keeps the running firmware.
    Confirm,
    /// Goes back to the firmware before the trial at the next restart.
    Revert,
    /// Asks whether the epoch can rise to this one.
    CanRaiseEpoch(SecurityEpoch),
}

impl BootOp {
    /// Does it: one call of the boot control.
    ///
    /// # Errors
    /// Whatever the boot control returns; it is the answer all the same.
    pub fn perform<B: BootControl + ?Sized>(self, boot: &mut B) -> Result<BootAnswer, BootFault> {
        match self {
            Self::Running => Ok(BootAnswer::Running {
                firmware: boot.running(),
                epoch: boot.running_epoch(),
                slots: boot.firmware_slots(),
                slot: boot.running_slot(),
            }),
            Self::RequestTrial(slot) => boot.request_trial(slot).map(|()| BootAnswer::Done),
            Self::Confirm => boot.confirm().map(|()| BootAnswer::Done),
            Self::Revert => boot.revert().map(|()| BootAnswer::Done),
            Self::CanRaiseEpoch(epoch) => Ok(match boot.can_raise_epoch(epoch) {
                true => BootAnswer::Done,
                false => BootAnswer::CannotRaiseEpoch,
            }),
        }
    }
}

/// What the boot control answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootAnswer {
    /// It is done, or yes.
    Done,
    /// What runs.
    Running {
        /// The SHA-256 of the running firmware, if the device has any.
        firmware: Option<Sha256Digest>,
        /// The security epoch that it carries itself.
        epoch: SecurityEpoch,
        /// How the slots of the firmware are used.
        slots: FirmwareSlots,
        /// The slot that it lies in, if the bootloader says so.
        slot: Option<Slot>,
    },
    /// The epoch cannot rise that far.
    CannotRaiseEpoch,
}

/// Something the application may want to know, or must act on where its documentation says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The storage was never provisioned: nothing is trusted, so nothing will be done.
    Unprovisioned,
    /// A release is offered and verified; the application may reject or defer it, or simply let it be.
    Offered(Offered<'a>),
    /// A file is hosted elsewhere. An application that said it can fetch it answers with [`Input::External`], block
    /// by block from `offset` on, or with [`Command::ExternalFailed`].
    FetchExternally {
        /// Where it is.
        url: Url<'a>,
        /// Which file.
        file: FileName<'a>,
        /// The first byte that is wanted.
        offset: ByteOffset,
        /// How long the file is.
        size: ByteLength,
        /// Length of each piece but the last, in bytes.
        block_bytes: u32,
    },
    /// All files are there.
    Downloaded,
    /// All files are checked; the policy says when they are installed.
    Verified,
    /// The new set of files is committed and holds firmware: restart the device as soon as that suits it.
    RestartNeeded,
    /// A new set of files is active and on trial. Test it, then answer with [`Command::SelfTestPassed`] or
    /// [`Command::SelfTestFailed`] where the policy leaves the test to the application.
    ///
    /// Where files of the connection may have changed, let go of the connection before the next output is polled, and
    /// give [`Link::Down`] when the engine waits: a check-in over the old connection would pass without having tried
    /// the new certificate.
    OnTrial,
    /// The new set of files is kept.
    Confirmed(ReleaseId),
    /// The old set of files is active again.
    Reverted(ReportCode),
    /// An attempt ended before anything was installed.
    Failed(ReportCode),
    /// The firmware that runs belongs to no known set. The device checks in as if nothing was installed, and takes no update
    /// until firmware that it knows runs again or it is provisioned anew: no slot could be written safely.
    UnknownFirmware,
    /// The storage failed; the engine tries again.
    StorageFailed(StorageFault),
    /// The boot control failed; the engine tries again.
    BootFailed,
    /// A server says when this device's turn is expected.
    Turn(ota_core::time::Timestamp),
}

/// What is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offered<'a> {
    /// Which release.
    pub release: ReleaseId,
    /// Of which package.
    pub package: PackageName<'a>,
    /// Which version.
    pub version: PackageVersion,
    /// Why it exists.
    pub kind: ReleaseKind,
    /// What people can read about it.
    pub notes: Option<Url<'a>>,
}

/// A file of the active set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Installed<'a> {
    /// Its name.
    pub file: FileName<'a>,
    /// Its revision.
    pub revision: Revision<'a>,
    /// Where its bytes are.
    pub slot: Slot,
    /// How many there are.
    pub size: ByteLength,
    /// Their SHA-256.
    pub digest: Sha256Digest,
}

/// The engine was called in the wrong order or with something that makes no sense. It did nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Misuse {
    /// An answer that nobody asked for.
    #[error("the engine did not ask for this")]
    NotAsked,
    /// The answer is of another kind than the question.
    #[error("the answer does not belong to the question")]
    WrongAnswer,
    /// An input while outputs are still to be polled.
    #[error("poll until the engine waits before giving the next input")]
    NotPolled,
    /// The command makes no sense now, for example a self-test result outside of a trial.
    #[error("the command makes no sense in this phase")]
    NotNow,
    /// Bytes of [`Input::External`] for which there is no room until earlier ones are checked and written: poll, wait,
    /// and give them again.
    #[error("there is no room for these bytes yet")]
    NoRoom,
    /// A minute of the day above 1439, a buffer that is too small, a block size out of its range.
    #[error("a value is out of its range")]
    OutOfRange,
}
