//! Reports: numbered, repeated until the server says that it has them, newest word first.
//!
//! Only the newest report waits to be acknowledged: what came before it is implied. The end of an attempt is told
//! with every check-in too, until it has been heard.

use ota_core::limits::DETAIL_BYTES_MAX;
use ota_core::number::{ByteLength, FileIndex, OfferId, ReportSequence};
use ota_core::text::Detail;
use ota_core::time::{Instant, Millis};
use ota_core::wire::{Phase, ReportAck, ReportCode};

use crate::backoff::Backoff;
use crate::random::Jitter;

const RETRY_FIRST: Millis = Millis(5_000);
const RETRY_MAX: Millis = Millis(600_000);

/// A report that waits to be sent or acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) offer: OfferId,
    pub(crate) sequence: ReportSequence,
    pub(crate) file: Option<FileIndex>,
    pub(crate) phase: Phase,
    pub(crate) code: ReportCode,
    pub(crate) done: ByteLength,
}

/// The end of an attempt that the server has not heard of yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) offer: OfferId,
    pub(crate) phase: Phase,
    pub(crate) code: ReportCode,
}

#[derive(Debug)]
pub(crate) struct Reporter {
    pending: Option<Pending>,
    due: Instant,
    retry: Backoff,
    next: ReportSequence,
    ending: Option<Ending>,
    /// Whether the latest check-in told the ending.
    ending_told: bool,
    progress_told: Option<Instant>,
    /// The application's words about a rejection.
    detail: [u8; DETAIL_BYTES_MAX],
    detail_bytes: usize,
}

/// Whether a phase is the last that an attempt reports.
pub(crate) const fn is_final(phase: Phase) -> bool {
    matches!(phase, Phase::Confirmed | Phase::Failed | Phase::RolledBack | Phase::Rejected)
}

impl Reporter {
    pub(crate) const fn new() -> Self {
        Self {
            pending: None,
            due: Instant(0),
            retry: Backoff::new(RETRY_FIRST, RETRY_MAX),
            next: ReportSequence(0),
            ending: None,
            ending_told: false,
            progress_told: None,
            detail: [0; DETAIL_BYTES_MAX],
            detail_bytes: 0,
        }
    }

    /// Numbers of the next offer begin here.
    pub(crate) const fn begin_at(&mut self, next: ReportSequence) {
        self.next = next;
    }

    /// The number of the next report.
    pub(crate) const fn next_sequence(&self) -> ReportSequence {
        self.next
    }

    /// What the server has to hear about the attempt before this start of the device.
    pub(crate) const fn remember(&mut self, ending: Ending) {
        self.ending = Some(ending);
        self.ending_told = false;
    }

    /// A check-in that tells the ending was sent.
    pub(crate) const fn told_ending(&mut self) {
        self.ending_told = self.ending.is_some();
    }

    /// The latest check-in was answered: what it told has been heard.
    pub(crate) const fn check_in_heard(&mut self) {
        if self.ending_told {
            self.ending = None;
        }
    }

    /// Words of the application that go with a rejection.
    pub(crate) fn explain(&mut self, detail: Detail<'_>) {
        let text = detail.as_str().as_bytes();
        if let Some(place) = self.detail.get_mut(..text.len()) {
            place.copy_from_slice(text);
            self.detail_bytes = text.len();
        }
    }

    /// The words that go with a report.
    pub(crate) fn detail(&self, pending: &Pending) -> Detail<'_> {
        let text = self.detail.get(..self.detail_bytes).filter(|_| pending.phase == Phase::Rejected);
        text.and_then(|text| core::str::from_utf8(text).ok())
            .and_then(|text| Detail::new(text).ok())
            .unwrap_or(Detail::NONE)
    }

    /// Whether the report that waits is about this offer.
    pub(crate) fn is_about(&self, offer: OfferId) -> bool {
        self.pending.is_some_and(|pending| pending.offer == offer)
    }

    pub(crate) const fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// Something is to be told.
    pub(crate) fn tell(
        &mut self,
        offer: OfferId,
        phase: Phase,
        code: ReportCode,
        file: Option<FileIndex>,
        done: ByteLength,
        now: Instant,
    ) {
        self.pending = Some(Pending { offer, sequence: self.next, file, phase, code, done });
        self.next = ReportSequence(self.next.0.saturating_add(1));
        self.due = now;
        self.retry.reset();
        if is_final(phase) {
            self.remember(Ending { offer, phase, code });
        }
    }

    /// Tells how far the download has come, unless that was told a moment ago or something weightier waits.
    pub(crate) fn tell_progress(
        &mut self,
        offer: OfferId,
        file: FileIndex,
        done: ByteLength,
        every: Millis,
        now: Instant,
    ) {
        let is_due = self.progress_told.is_none_or(|told| now.since(told) >= every);
        let is_progress =
            |pending: Pending| pending.phase == Phase::Downloading && pending.code == ReportCode::Ok;
        let is_free = self.pending.is_none_or(is_progress);
        if is_due && is_free {
            self.progress_told = Some(now);
            self.tell(offer, Phase::Downloading, ReportCode::Ok, Some(file), done, now);
        }
    }

    /// The report that is due now, or when the next one will be.
    pub(crate) fn due(&self, now: Instant) -> Result<Pending, Option<Instant>> {
        match self.pending {
            Some(pending) if self.due <= now => Ok(pending),
            Some(_) => Err(Some(self.due)),
            None => Err(None),
        }
    }

    pub(crate) fn sent(&mut self, now: Instant, jitter: &mut Jitter) {
        self.due = now.plus(self.retry.next(jitter));
    }

    /// The server says that it has a report; returns whether that was the one that waits.
    pub(crate) fn acknowledged(&mut self, ack: &ReportAck) -> bool {
        let Some(pending) = self.pending else { return false };
        if pending.offer != ack.offer || pending.sequence != ack.sequence {
            return false;
        }
        self.pending = None;
        if is_final(pending.phase) {
            self.ending = None;
        }
        true
    }

    /// The server will not take it: repeating it forever helps nobody.
    pub(crate) fn refused(&mut self, offer: OfferId) {
        if self.pending.is_some_and(|pending| pending.offer == offer) {
            self.pending = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: OfferId = OfferId([1; 8]);

    #[test]
    fn a_report_is_repeated_until_exactly_it_is_acknowledged() {
        let mut reporter = Reporter::new();
        let mut jitter = Jitter::new(3);
        reporter.tell(OFFER, Phase::Failed, ReportCode::Storage, None, ByteLength(0), Instant(0));
        let mut now = Instant(0);
        for _ in 0..20 {
            let pending = reporter.due(now).unwrap();
            assert_eq!(pending.sequence, ReportSequence(0));
            reporter.sent(now, &mut jitter);
            now = reporter.due(now).unwrap_err().unwrap();
        }
        assert!(!reporter.acknowledged(&ReportAck { offer: OFFER, sequence: ReportSequence(1) }));
        assert!(!reporter.acknowledged(&ReportAck { offer: OfferId([2; 8]), sequence: ReportSequence(0) }));
        assert!(reporter.ending().is_some());
        assert!(reporter.acknowledged(&ReportAck { offer: OFFER, sequence: ReportSequence(0) }));
        assert_eq!(reporter.due(now), Err(None));
        assert_eq!(reporter.ending(), None);
    }

    #[test]
    fn progress_is_told_at_a_bounded_rate_and_never_instead_of_something_weightier() {
        let mut reporter = Reporter::new();
        let every = Millis(1000);
        reporter.tell_progress(OFFER, FileIndex(0), ByteLength(1), every, Instant(0));
        reporter.tell_progress(OFFER, FileIndex(0), ByteLength(2), every, Instant(999));
        assert_eq!(reporter.due(Instant(999)).unwrap().done, ByteLength(1));
        reporter.tell_progress(OFFER, FileIndex(0), ByteLength(3), every, Instant(1000));
        assert_eq!(reporter.due(Instant(1000)).unwrap().done, ByteLength(3));
        for (phase, code) in
            [(Phase::Verified, ReportCode::Ok), (Phase::Downloading, ReportCode::ExternalDownload)]
        {
            reporter.tell(OFFER, phase, code, None, ByteLength(9), Instant(1001));
            reporter.tell_progress(OFFER, FileIndex(0), ByteLength(4), every, Instant(9000));
            let told = reporter.due(Instant(9000)).unwrap();
            assert_eq!((told.phase, told.code), (phase, code));
        }
    }
}
