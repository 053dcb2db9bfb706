//! The SFT dialect: the original system's protocol, for devices that cannot be changed.
//!
//! Its clients crash, corrupt files or wait for ever when a server does what its messages allow. So one session per
//! device keeps to what they can take: one list of files per check-in, chunks in order and each exactly once, nothing
//! after a package with firmware until the device is back. What does not fit is dropped, or ends the connection: a
//! device that reconnects begins anew, and that is the only way to correct it.

use bytes::Bytes;
use ota_core::cbor::EncodeError;
use ota_core::limits::SFT_CHUNK_BYTES_MAX;
use ota_core::number::{Nonce, OfferId, ReleaseId, Sha256Digest};
use ota_core::sft::{
    self, Chunk, Down, Entries, FileRevision, GetChunk, Status, StatusCode, Update, UpdateAvailable,
};
use ota_core::text::{FileNameBuf, RevisionBuf};
use ota_core::time::{Millis, Timestamp};
use ota_core::wire::{Phase, ReportCode};

use super::{CheckIn, Offer, OfferedFile, Report};

/// Within this time after a list of files, a check-in on a link that tells nothing of connections is a copy.
const COPY_WITHIN: Millis = Millis(2_000);

/// What the server knows of one connection of a device.
#[derive(Debug, Clone)]
pub struct Session {
    state: State,
    /// Whether the link tells of connections, and this one has not checked in yet.
    is_fresh: Option<bool>,
    /// The check-in that has not been answered, to be decided again when the turn comes, and when it was heard.
    kept: Option<(Box<CheckIn>, Timestamp)>,
}

#[derive(Debug, Clone)]
enum State {
    /// Nothing may be sent.
    Quiet,
    /// One list of files may be sent.
    Permitted,
    /// A list was sent, and chunks are being asked for.
    Fetching(Box<Fetch>),
}

#[derive(Debug, Clone)]
struct Fetch {
    offer: OfferId,
    release: ReleaseId,
    files: Vec<OfferedFile>,
    /// The file that is being fetched.
    at: usize,
    /// Where its next chunk begins.
    next: u64,
    /// Files that the device says it has, by their place in `files`.
    downloaded: Vec<bool>,
    finished: Vec<bool>,
    since: Timestamp,
    has_asked: bool,
    /// A chunk that was asked for and has not been sent.
    owed: Option<WantChunk>,
}

/// A chunk that a device waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantChunk {
    /// The offer.
    pub offer: OfferId,
    /// The release.
    pub release: ReleaseId,
    /// The file's place in the release.
    pub index: u16,
    /// Its name.
    pub name: FileNameBuf,
    /// Its revision.
    pub revision: RevisionBuf,
    /// Where the chunk begins.
    pub offset: u64,
    /// How many bytes it has.
    pub length: u64,
}

/// Who hears a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hearing {
    /// This session alone: everything that the device says and is told.
    Alone,
    /// Other servers, too: what they have served is seen by what the device asks for next.
    Shared,
    /// This session from now on: it was restored from the attempt, and the device's message shows how far it is.
    Restored,
}

/// What a message of a device leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It checks in.
    CheckIn(Box<CheckIn>),
    /// It waits for this chunk.
    Chunk(WantChunk),
    /// It reports.
    Report(Report),
    /// A message that changes nothing.
    Nothing,
    /// A message that a working session would not bring: a copy, a foreign file. It is dropped.
    Dropped,
    /// The session is not known here: restore it from the attempt, then give the message again.
    Lost,
    /// The device can only be corrected by closing its connection.
    Close,
}

impl Default for Session {
    fn default() -> Self {
        Self { state: State::Quiet, is_fresh: None, kept: None }
    }
}

impl Session {
    /// A new connection.
    #[must_use]
    pub const fn connected() -> Self {
        Self { state: State::Quiet, is_fresh: Some(true), kept: None }
    }

    /// A session as it must have been, for a device that goes on after the server was restarted.
    #[must_use]
    pub fn restored(offer: OfferId, release: ReleaseId, files: Vec<OfferedFile>, now: Timestamp) -> Self {
        let mut fetch = Fetch::new(offer, release, files, now);
        // Where the device is shows its next message.
        fetch.has_asked = true;
        // A link that tells of connections tells of the next one, too; on any other the device's next check-in is the sign.
        Self { state: State::Fetching(Box::new(fetch)), is_fresh: None, kept: None }
    }

    /// Takes a message that was `heard` then. `nonce` is what stands for the nonce that this protocol does not have.
    #[must_use]
    pub fn hear(&mut self, message: &sft::Up<'_>, nonce: Nonce, hearing: Hearing, heard: Timestamp) -> Step {
        match message {
            sft::Up::FileInfo(info) => self.file_info(info, nonce, heard),
            sft::Up::GetChunk(wanted) => self.get_chunk(wanted, hearing),
            sft::Up::Status(status) => self.status(status, hearing),
        }
    }

    /// The offer that the device is fetching.
    #[must_use]
    pub fn offer_id(&self) -> Option<OfferId> {
        match &self.state {
            State::Fetching(fetch) => Some(fetch.offer),
            _ => None,
        }
    }

    fn file_info(&mut self, info: &sft::FileInfo<'_>, nonce: Nonce, heard: Timestamp) -> Step {
        // A device checks in once per connection. What comes twice is a copy, and a second list of files in a row
        // crashes the client.
        let is_copy = match self.is_fresh {
            Some(is_fresh) => !is_fresh,
            None => {
                matches!(&self.state, State::Fetching(f) if !f.has_asked && heard.since(f.since) < COPY_WITHIN)
            }
        };
        if is_copy {
            return Step::Dropped;
        }
        self.is_fresh = self.is_fresh.map(|_| false);
        self.state = State::Permitted;
        let inventory = info.files.iter().filter_map(|file| {
            // A name that nothing may be stored under was never released, and cannot be what is asked about.
            Some((FileNameBuf::new(file.name()).ok()?, RevisionBuf::new(file.revision()).ok()?))
        });
        let check_in = Box::new(CheckIn {
            product: None,
            hardware: None,
            inventory: inventory.collect(),
            root: None,
            epoch: None,
            metadata_bytes_max: None,
            nonce,
            outcome: None,
            evidence: None,
        });
        self.kept = Some((check_in.clone(), heard));
        Step::CheckIn(check_in)
    }

    fn get_chunk(&mut self, wanted: &GetChunk<'_>, hearing: Hearing) -> Step {
        let fetch = match &mut self.state {
            State::Fetching(fetch) => fetch,
            // It has checked in on this very connection and was offered nothing yet: this is left over from an earlier
            // one, and a chunk that it has not asked for would crash it.
            State::Permitted if self.is_fresh.is_some() => return Step::Dropped,
            State::Permitted | State::Quiet => return Step::Lost,
        };
        let Some(place) = fetch.place_of(&wanted.file) else {
            return if hearing == Hearing::Shared { Step::Lost } else { Step::Dropped };
        };
        let offset = u64::from(wanted.offset);
        match hearing {
            Hearing::Alone => {}
            // A copy, or another server has begun anew with the device: the attempt tells which.
            Hearing::Shared if (place, offset) < (fetch.at, fetch.next) => return Step::Lost,
            Hearing::Shared if (place, offset) == (fetch.at, fetch.next) => {}
            // A device asks for what comes next only when it has what was before.
            Hearing::Shared | Hearing::Restored => {
                (fetch.at, fetch.next, fetch.owed) = (place, offset, None);
            }
        }
        // Files come in their order, chunks of a file in theirs. A copy of a request would be answered by a copy of
        // a chunk, which breaks the hash and then the client.
        let is_next = place == fetch.at && offset == fetch.next;
        let is_next_file = place == fetch.at + 1 && offset == 0 && fetch.is_complete(fetch.at);
        if fetch.owed.is_some() || !(is_next || is_next_file) {
            return Step::Dropped;
        }
        let Some(file) = fetch.files.get(place) else { return Step::Dropped };
        let size = u32::try_from(file.size).unwrap_or(u32::MAX);
        let Some(length) = wanted.chunk_bytes(size) else { return Step::Dropped };
        let length = u64::from(length.min(SFT_CHUNK_BYTES_MAX));
        let chunk = WantChunk {
            offer: fetch.offer,
            release: fetch.release,
            index: file.index,
            name: file.name.clone(),
            revision: file.revision.clone(),
            offset,
            length,
        };
        fetch.at = place;
        fetch.has_asked = true;
        fetch.owed = Some(chunk.clone());
        Step::Chunk(chunk)
    }

    fn status(&mut self, status: &Status<'_>, hearing: Hearing) -> Step {
        let unknown = || if hearing == Hearing::Shared { Step::Lost } else { Step::Nothing };
        let State::Fetching(fetch) = &mut self.state else { return unknown() };
        let fetch = &mut **fetch;
        let Some(place) = fetch.place_of(&status.file) else { return unknown() };
        let done = fetch.files.iter().take(place + 1).map(|file| file.size).sum();
        let report = |phase, code| {
            Step::Report(Report {
                offer: Some(fetch.offer),
                sequence: None,
                phase,
                code,
                done,
                detail: "".into(),
                file: None,
                evidence: None,
            })
        };
        if status.code != StatusCode::OK {
            return report(Phase::Failed, code_of(status.code));
        }
        // Files come in their order: what other servers were told of the files before this one went well.
        let first = if hearing == Hearing::Alone { place } else { 0 };
        let mark = |marks: &mut Vec<bool>| {
            marks.iter_mut().take(place + 1).skip(first).for_each(|mark| *mark = true);
            marks.iter().all(|mark| *mark)
        };
        match status.phase {
            sft::Phase::Downloaded if mark(&mut fetch.downloaded) => {
                report(Phase::Downloaded, ReportCode::Ok)
            }
            // Firmware never says that it has finished: its boot shows that.
            sft::Phase::Processing => report(Phase::Installed, ReportCode::Ok),
            sft::Phase::Finished if mark(&mut fetch.finished) => report(Phase::Confirmed, ReportCode::Ok),
            _ => Step::Nothing,
        }
    }

    /// Sends the list of files of an offer, if one may be sent.
    ///
    /// # Errors
    /// [`EncodeError`] if the protocol cannot carry it: nothing was sent, and nothing has changed.
    pub fn offer(&mut self, offer: &Offer, now: Timestamp) -> Result<Option<Bytes>, EncodeError> {
        if !matches!(self.state, State::Permitted) || offer.files.is_empty() {
            return Ok(None);
        }
        let updates = offer
            .files
            .iter()
            .map(|file| {
                Some(Update {
                    file: FileRevision::new(file.name.as_str(), file.revision.as_str())?,
                    size: u32::try_from(file.size).ok().filter(|size| *size > 0)?,
                    fingerprint: Sha256Digest(file.digest),
                    // Some clients stall on any link.
                    link: None,
                })
            })
            .collect::<Option<Vec<_>>>()
            .ok_or(EncodeError::TooLarge)?;
        let message =
            Down::UpdateAvailable(UpdateAvailable { files: Entries::from_slice(&updates) }).to_vec()?;
        self.state = State::Fetching(Box::new(Fetch::new(offer.id, offer.release, offer.files.clone(), now)));
        self.kept = None;
        Ok(Some(message.into()))
    }

    /// The chunk that the device waits for, with its bytes: sent exactly once.
    ///
    /// # Errors
    /// [`EncodeError`] if the bytes are not what the protocol can carry.
    pub fn chunk(&mut self, wanted: &WantChunk, bytes: &[u8]) -> Result<Option<Bytes>, EncodeError> {
        let State::Fetching(fetch) = &mut self.state else { return Ok(None) };
        if fetch.owed.as_ref() != Some(wanted) {
            return Ok(None);
        }
        let file =
            FileRevision::new(wanted.name.as_str(), wanted.revision.as_str()).ok_or(EncodeError::TooLarge)?;
        let offset = u32::try_from(wanted.offset).map_err(|_| EncodeError::TooLarge)?;
        let message = Down::Chunk(Chunk { file, offset, bytes }).to_vec()?;
        fetch.owed = None;
        fetch.next = wanted.offset + wanted.length;
        Ok(Some(message.into()))
    }

    /// The check-in that still waits for its answer, if one may be given, and when it was heard.
    #[must_use]
    pub fn waiting(&self) -> Option<(Box<CheckIn>, Timestamp)> {
        if matches!(self.state, State::Permitted) { self.kept.clone() } else { None }
    }

    /// What the device waited for is void: it may have begun anew since.
    pub fn owe_nothing(&mut self) {
        if let State::Fetching(fetch) = &mut self.state {
            fetch.owed = None;
        }
    }

    /// Whether the device is in the middle of a package.
    #[must_use]
    pub const fn is_fetching(&self) -> bool {
        matches!(self.state, State::Fetching(_))
    }

    /// The chunk that the device waits for.
    #[must_use]
    pub fn owed(&self) -> Option<WantChunk> {
        match &self.state {
            State::Fetching(fetch) => fetch.owed.clone(),
            _ => None,
        }
    }
}

impl Fetch {
    fn new(offer: OfferId, release: ReleaseId, files: Vec<OfferedFile>, now: Timestamp) -> Self {
        let marks = vec![false; files.len()];
        Self {
            offer,
            release,
            at: 0,
            next: 0,
            downloaded: marks.clone(),
            finished: marks,
            files,
            since: now,
            has_asked: false,
            owed: None,
        }
    }

    fn place_of(&self, file: &FileRevision<'_>) -> Option<usize> {
        self.files.iter().position(|known| {
            known.name.as_str() == file.name() && known.revision.as_str() == file.revision()
        })
    }

    fn is_complete(&self, place: usize) -> bool {
        self.files.get(place).is_some_and(|file| self.next >= file.size)
    }
}

/// What an error of the original client means.
fn code_of(code: StatusCode) -> ReportCode {
    match code {
        StatusCode::CHECKSUM => ReportCode::IntegrityMismatch,
        StatusCode::OPEN | StatusCode::WRITE | StatusCode::CLOSE => ReportCode::Storage,
        StatusCode::LINK_REJECTED | StatusCode::LINK_FAILED | StatusCode::LINK_UNEXPECTED_NAME => {
            ReportCode::ExternalDownload
        }
        _ => ReportCode::Aborted,
    }
}

#[cfg(test)]
mod tests;
