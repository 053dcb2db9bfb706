//! A fast model of a device: it speaks the real messages and skips the bytes that say nothing new.
//!
//! Every wait has a timer, and what was lost is asked for again; so it behaves towards the server as the real engine
//! does, at a thousandth of the cost.

use bytes::Bytes;
use ota_core::crypto::soft::SoftSha256;
use ota_core::list::List;
use ota_core::number::{
    ByteLength, ByteOffset, FileIndex, Nonce, OfferId, ReleaseId, ReportSequence, RootVersion, SecurityEpoch,
};
use ota_core::text::{Detail, FileName, HardwareRevision, ProductId, Revision};
use ota_core::time::{Millis, Timestamp};
use ota_core::trust::{Generations, offer_id};
use ota_core::wire::{
    AlgorithmSet, Capabilities, CheckIn, Down, InventoryItem, Part, Phase, Report, ReportCode,
    TrustedSummary, Up, Want, WantBlocks,
};

use super::parts::{Release, assigned};
use super::{DAY, MINUTE};
use crate::random::Dice;

/// The number of the report that says that the files are installed.
const INSTALLED: u32 = 1;

/// What a message made of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    /// It has something to do.
    Busy,
    /// It has a new offer.
    Offered,
    /// It has nothing to do.
    Idle,
}

#[derive(Debug, Clone)]
enum State {
    Idle,
    /// It has an offer and has got no block yet.
    Fetching(Offer),
    /// It has everything and reports until it is acknowledged.
    Reporting(Offer, u32),
    /// It has installed and starts.
    Starting(Offer, Timestamp),
    /// It failed and says so until it is acknowledged.
    Failing(Offer, u32),
    Brick,
}

#[derive(Debug, Clone)]
struct Offer {
    id: OfferId,
    release: ReleaseId,
    grant: Bytes,
    tries: u32,
}

#[derive(Debug, Clone)]
pub(super) struct Lamp {
    place: usize,
    revision: u32,
    state: State,
    nonce: u64,
    /// When the present timer ends; earlier wakes of former timers do nothing.
    until: Timestamp,
}

impl Lamp {
    pub(super) const fn new(place: usize) -> Self {
        Self { place, revision: 0, state: State::Idle, nonce: 0, until: Timestamp(0) }
    }

    pub(super) const fn is_brick(&self) -> bool {
        matches!(self.state, State::Brick)
    }

    pub(super) const fn revision(&self) -> u32 {
        self.revision
    }

    /// The power went: what was being done is forgotten, what was installed is not, and starts.
    pub(super) fn forget(&mut self, now: Timestamp) {
        self.state = match core::mem::replace(&mut self.state, State::Idle) {
            State::Brick => State::Brick,
            State::Starting(offer, _) | State::Reporting(offer, INSTALLED) => State::Starting(offer, now),
            _ => State::Idle,
        };
    }

    /// It wakes: what it says, and when it wakes again by itself.
    pub(super) fn wake(
        &mut self,
        now: Timestamp,
        dice: &mut Dice,
        releases: &[Release],
        bad_starts: u32,
    ) -> (Vec<Bytes>, Option<Millis>) {
        let state = core::mem::replace(&mut self.state, State::Idle);
        match state {
            State::Brick => {
                self.state = State::Brick;
                (Vec::new(), None)
            }
            State::Idle => {
                // Some are off for days; most check in a few times a day.
                let pause = if dice.happens(20_000) {
                    5 * DAY
                } else {
                    4 * 60 * MINUTE + dice.below(4 * 60 * MINUTE)
                };
                if now < self.until {
                    return (Vec::new(), None);
                }
                self.until = now.plus(Millis(pause));
                (vec![self.check_in()], Some(Millis(pause)))
            }
            State::Fetching(mut offer) => {
                offer.tries += 1;
                if offer.tries > 20 {
                    self.until = now;
                    return (vec![self.check_in()], Some(Millis(60 * MINUTE)));
                }
                let want = want(&offer);
                self.state = State::Fetching(offer);
                (vec![want], Some(Millis(MINUTE)))
            }
            State::Reporting(mut offer, sequence) => {
                offer.tries += 1;
                if offer.tries > 20 && sequence == INSTALLED {
                    // It starts whether anybody has heard of it or not.
                    self.state = State::Starting(offer, now);
                    return (Vec::new(), Some(Millis(1)));
                }
                if offer.tries > 20 {
                    return (vec![self.check_in()], Some(Millis(60 * MINUTE)));
                }
                let phase = if sequence == INSTALLED { Phase::Installed } else { Phase::Downloaded };
                let report = report(&offer, sequence, phase, ReportCode::Ok);
                self.state = State::Reporting(offer, sequence);
                (vec![report], Some(Millis(MINUTE)))
            }
            State::Starting(offer, until) if now < until => {
                self.state = State::Starting(offer, until);
                (Vec::new(), Some(Millis(until.since(now).0.max(1))))
            }
            State::Starting(offer, _) => self.started(&offer, now, dice, releases, bad_starts),
            State::Failing(mut offer, sequence) => {
                offer.tries += 1;
                if offer.tries > 20 {
                    return (vec![self.check_in()], Some(Millis(60 * MINUTE)));
                }
                let report = report(&offer, sequence, Phase::RolledBack, ReportCode::SelfTestFailed);
                self.state = State::Failing(offer, sequence);
                (vec![report], Some(Millis(MINUTE)))
            }
        }
    }

    /// The new files have started, or not.
    fn started(
        &mut self,
        offer: &Offer,
        now: Timestamp,
        dice: &mut Dice,
        releases: &[Release],
        bad_starts: u32,
    ) -> (Vec<Bytes>, Option<Millis>) {
        let Some(release) = releases.iter().find(|release| release.id == offer.release) else {
            return (Vec::new(), Some(Millis(MINUTE)));
        };
        if dice.happens(release.failures.saturating_add(bad_starts)) {
            if dice.happens(500_000) {
                self.state = State::Brick;
                return (Vec::new(), None);
            }
            self.state = State::Failing(Offer { tries: 0, ..offer.clone() }, 10);
            return (Vec::new(), Some(Millis(1)));
        }
        self.revision = release.revision;
        self.until = now;
        (vec![self.check_in()], Some(Millis(60 * MINUTE)))
    }

    /// It hears something.
    pub(super) fn hear(&mut self, payload: &Bytes, now: Timestamp, releases: &[Release]) -> Mood {
        if self.is_brick() {
            return Mood::Idle;
        }
        let Ok(message) = Down::decode(payload) else { return Mood::Idle };
        match (message, &mut self.state) {
            (Down::Offer(found), State::Idle) => {
                // Only the answer to the latest check-in counts.
                let Some((nonce, release)) = assigned(found.assignment) else { return Mood::Idle };
                if nonce != self.nonce() || releases.iter().all(|known| known.id != release) {
                    return Mood::Idle;
                }
                self.state = State::Fetching(Offer {
                    id: offer_id::<SoftSha256>(found.assignment),
                    release,
                    grant: Bytes::copy_from_slice(found.grant),
                    tries: 0,
                });
                Mood::Offered
            }
            (Down::Block(block), State::Fetching(offer)) if offer.id.0.starts_with(&block.offer) => {
                self.state = State::Reporting(Offer { tries: 0, ..offer.clone() }, 0);
                Mood::Busy
            }
            (Down::ReportAck(ack), State::Reporting(offer, sequence))
                if ack.offer == offer.id && ack.sequence.0 == *sequence =>
            {
                self.state = if *sequence == 0 {
                    State::Reporting(Offer { tries: 0, ..offer.clone() }, INSTALLED)
                } else {
                    State::Starting(offer.clone(), now.plus(Millis(2 * MINUTE)))
                };
                Mood::Busy
            }
            (Down::ReportAck(ack), State::Failing(offer, sequence))
                if ack.offer == offer.id && ack.sequence.0 == *sequence =>
            {
                self.state = State::Idle;
                Mood::Idle
            }
            // What is installed cannot be taken back by a word: it starts, and tells what it has become.
            (Down::Refuse(_) | Down::Cancel(_), State::Reporting(offer, INSTALLED)) => {
                self.state = State::Starting(offer.clone(), now);
                Mood::Busy
            }
            // Its offer is no longer good: it checks in and goes on from there.
            (
                Down::Refuse(_) | Down::Cancel(_),
                State::Fetching(_) | State::Reporting(..) | State::Failing(..),
            ) => {
                self.state = State::Idle;
                self.until = now;
                Mood::Busy
            }
            (Down::Notify(_), State::Idle) => {
                self.until = now;
                Mood::Busy
            }
            (Down::Busy(busy), State::Idle) => {
                self.until = now.plus(busy.retry_after);
                Mood::Busy
            }
            _ => Mood::Idle,
        }
    }

    fn nonce(&self) -> Nonce {
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&self.nonce.to_be_bytes());
        nonce[8..].copy_from_slice(&u64::try_from(self.place).unwrap_or(0).to_be_bytes());
        Nonce(nonce)
    }

    fn check_in(&mut self) -> Bytes {
        self.nonce += 1;
        let revision = self.revision.to_string();
        let items = [InventoryItem {
            file: FileName::new("app.bin").expect("a name"),
            revision: Revision::new(&revision).expect("a revision"),
            digest: None,
        }];
        let check_in = Up::CheckIn(CheckIn {
            product: ProductId::new("lamp").expect("a name"),
            hardware: HardwareRevision::new("rev-a").expect("a name"),
            inventory: List::from_slice(&items),
            trusted: TrustedSummary {
                root: RootVersion(1),
                epoch: SecurityEpoch(0),
                generations: Generations::default(),
            },
            capabilities: Capabilities {
                block_bytes_max: 1024,
                window_max: 1,
                metadata_bytes_max: 65_536,
                algorithms: AlgorithmSet(0x7f),
                encodings: 0,
                downloads_urls: false,
            },
            nonce: self.nonce(),
            outcome: None,
            evidence: None,
        });
        check_in.to_vec().expect("a message within the limits").into()
    }
}

fn want(offer: &Offer) -> Bytes {
    let want = Up::WantBlocks(WantBlocks {
        offer: offer.id,
        grant: &offer.grant,
        part: Part::File(FileIndex(0)),
        offset: ByteOffset(0),
        block_bytes: 256,
        want: Want::Count(1),
    });
    want.to_vec().expect("a message within the limits").into()
}

fn report(offer: &Offer, sequence: u32, phase: Phase, code: ReportCode) -> Bytes {
    let report = Up::Report(Report {
        offer: offer.id,
        sequence: ReportSequence(sequence),
        file: None,
        phase,
        code,
        done: ByteLength(0),
        detail: Detail::new("").expect("nothing"),
        evidence: None,
    });
    report.to_vec().expect("a message within the limits").into()
}
