//! A fast model of an unmodified device of the original system: one request at a time, over connections that break.
//!
//! It is as easily hurt as the real one. A second list of files while it downloads, a chunk that it did not ask for, a
//! file of no bytes: the real client crashes, corrupts a file or waits for ever, and the simulation fails with its seed.

use bytes::Bytes;
use ota_core::sft::{Down, Entries, FileInfo, FileRevision, GetChunk, Phase, Status, StatusCode, Up};
use ota_core::time::{Millis, Timestamp};

use super::MINUTE;
use super::parts::Release;
use crate::random::Dice;
use crate::workshop::sha256;

/// The one file that it has.
const FILE: &str = "app.bin";
/// How many bytes it asks for at once: small, so that a file takes several requests.
const CHUNK_BYTES: u32 = 128;

/// What it does next.
pub(super) enum Act {
    /// It connects anew, with these as its first messages.
    Connect(Vec<Bytes>),
    /// It says something on its connection.
    Say(Vec<Bytes>),
}

#[derive(Debug, Clone)]
enum State {
    Idle,
    Fetching(Fetch),
}

#[derive(Debug, Clone)]
struct Fetch {
    revision: String,
    size: u32,
    fingerprint: [u8; 32],
    got: Vec<u8>,
}

#[derive(Debug, Clone)]
pub(super) struct Client {
    revision: u32,
    state: State,
    is_brick: bool,
    seed: u64,
    /// Which connection this is; what belongs to a former one is gone with it.
    pub(super) connection: u64,
    is_connected: bool,
    /// When it connects again by itself.
    until: Timestamp,
}

impl Client {
    pub(super) const fn new(seed: u64) -> Self {
        Self {
            revision: 0,
            state: State::Idle,
            is_brick: false,
            seed,
            connection: 0,
            is_connected: false,
            until: Timestamp(0),
        }
    }

    pub(super) const fn is_brick(&self) -> bool {
        self.is_brick
    }

    pub(super) const fn revision(&self) -> u32 {
        self.revision
    }

    /// The connection breaks, or the power goes: what was being fetched is forgotten.
    pub(super) fn breaks(&mut self) {
        (self.state, self.is_connected) = (State::Idle, false);
        self.connection += 1;
    }

    /// It wakes: it connects if it is not, and anew if it has been quiet for long.
    pub(super) fn wake(&mut self, now: Timestamp, dice: &mut Dice) -> (Option<Act>, Option<Millis>) {
        if self.is_brick {
            return (None, None);
        }
        if self.is_connected && now < self.until {
            return (None, None);
        }
        self.breaks();
        self.is_connected = true;
        let pause = Millis(4 * 60 * MINUTE + dice.below(4 * 60 * MINUTE));
        self.until = now.plus(pause);
        (Some(Act::Connect(vec![self.info()])), Some(pause))
    }

    /// What it says to a message, and whether that was a list of files.
    pub(super) fn hear(
        &mut self,
        payload: &Bytes,
        dice: &mut Dice,
        releases: &[Release],
        failures: u32,
    ) -> (Option<Act>, bool) {
        let message = Down::decode(payload);
        let message = message.unwrap_or_else(|why| panic!("seed {}: it cannot read {why}", self.seed));
        match (message, &mut self.state) {
            (Down::UpdateAvailable(list), State::Idle) => {
                let update = list.files.iter().next().expect("a list has a file");
                assert!(update.size > 0, "seed {}: a file of no bytes", self.seed);
                self.state = State::Fetching(Fetch {
                    revision: update.file.revision().into(),
                    size: update.size,
                    fingerprint: update.fingerprint.0,
                    got: Vec::new(),
                });
                (self.ask(), true)
            }
            (Down::UpdateAvailable(_), State::Fetching(_)) => {
                panic!("seed {}: a second list of files crashes the client", self.seed)
            }
            (Down::Chunk(chunk), State::Fetching(fetch)) => {
                let is_asked = chunk.offset as usize == fetch.got.len()
                    && chunk.file.revision() == fetch.revision
                    && chunk.bytes.len() == (fetch.size as usize - fetch.got.len()).min(CHUNK_BYTES as usize);
                assert!(is_asked, "seed {}: a chunk that nobody asked for corrupts the file", self.seed);
                fetch.got.extend_from_slice(chunk.bytes);
                if fetch.got.len() < fetch.size as usize {
                    return (self.ask(), false);
                }
                (self.complete(dice, releases, failures), false)
            }
            (Down::Chunk(_), State::Idle) => {
                panic!("seed {}: a chunk that nobody asked for corrupts the file", self.seed)
            }
        }
    }

    /// All bytes are there: it checks them, puts the file in its place, and says so. Or it fails.
    fn complete(&mut self, dice: &mut Dice, releases: &[Release], failures: u32) -> Option<Act> {
        let State::Fetching(fetch) = core::mem::replace(&mut self.state, State::Idle) else { return None };
        assert_eq!(sha256(&fetch.got).0, fetch.fingerprint, "seed {}: another file arrived", self.seed);
        let number: u32 = fetch.revision.parse().expect("a number");
        let release = releases.iter().find(|release| release.revision == number);
        let release = release.unwrap_or_else(|| panic!("seed {}: no release {number}", self.seed));
        if dice.happens(release.failures.saturating_add(failures)) {
            if dice.happens(500_000) {
                self.is_brick = true;
                return None;
            }
            return Some(Act::Say(vec![status(&fetch.revision, Phase::Downloaded, StatusCode::WRITE)]));
        }
        self.revision = number;
        let said = [Phase::Downloaded, Phase::Finished];
        Some(Act::Say(said.map(|phase| status(&fetch.revision, phase, StatusCode::OK)).to_vec()))
    }

    fn ask(&self) -> Option<Act> {
        let State::Fetching(fetch) = &self.state else { return None };
        let file = FileRevision::new(FILE, &fetch.revision).expect("a short name");
        let offset = u32::try_from(fetch.got.len()).expect("a small file");
        let wanted = Up::GetChunk(GetChunk { file, offset, length: CHUNK_BYTES });
        Some(Act::Say(vec![wanted.to_vec().expect("a message within the limits").into()]))
    }

    fn info(&self) -> Bytes {
        let revision = self.revision.to_string();
        let files = [FileRevision::new(FILE, &revision).expect("a short name")];
        let info = Up::FileInfo(FileInfo { files: Entries::from_slice(&files), takes_links: false });
        info.to_vec().expect("a message within the limits").into()
    }
}

fn status(revision: &str, phase: Phase, code: StatusCode) -> Bytes {
    let file = FileRevision::new(FILE, revision).expect("a short name");
    let status = Up::Status(Status { file, phase, code });
    status.to_vec().expect("a message within the limits").into()
}

/// The revision that a list of files offers, if the message is one.
pub(super) fn offered(payload: &Bytes) -> Option<u32> {
    match Down::decode(payload).ok()? {
        Down::UpdateAvailable(list) => list.files.iter().next()?.file.revision().parse().ok(),
        Down::Chunk(_) => None,
    }
}
