//! Which set of files is active: decided from the newest record and the firmware that really runs, and nothing else.
//!
//! A pure function, so that every combination is a line of a table. It can be asked again after any power cut: the
//! same record and the same firmware give the same answer, but for the starts that are counted.

use ota_core::number::Sha256Digest;
use ota_core::wire::{Phase, ReportCode};

use super::Origin;
use crate::record::{Outcome, SetRef, SetState, SetsRecord};

/// What follows from the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Selection {
    /// The record as it must be stored now, if it differs from the newest one.
    pub(crate) record: SetsRecord,
    pub(crate) must_store: bool,
    /// The set that belongs to what runs; `None` if the firmware belongs to none.
    pub(crate) active: Option<SetRef>,
    pub(crate) next: Next,
}

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing.
    Rest,
    /// Ask the bootloader to start the new firmware.
    Activate,
    /// The new files prove themselves.
    Trial,
    /// The old firmware has to be started again.
    GoBack(ReportCode),
    /// The new files have just been given up; the old ones are active.
    WentBack(ReportCode),
}

pub(crate) fn select(
    record: SetsRecord,
    running: Option<Sha256Digest>,
    origin: Origin,
    starts_max: u8,
) -> Selection {
    let unchanged = |active, next| Selection { record, must_store: false, active: Some(active), next };
    let Some(new) = record.other else { return settled(record, None, running) };
    match record.state {
        SetState::Settled(_) => settled(record, Some(new), running),
        SetState::Committed | SetState::Trial { .. } => candidate(record, new, running, origin, starts_max),
        // The old files count again as soon as the firmware that belongs to them runs.
        SetState::Reverting(code) if record.kept.belongs_to(running) => went_back(record, code),
        SetState::Reverting(code) if new.belongs_to(running) => unchanged(new, Next::GoBack(code)),
        SetState::Reverting(_) => Selection { record, must_store: false, active: None, next: Next::Rest },
    }
}

/// No attempt is open: the kept set, or the one before it if somebody went back to its firmware.
fn settled(record: SetsRecord, before: Option<SetRef>, running: Option<Sha256Digest>) -> Selection {
    if record.kept.belongs_to(running) {
        return Selection { record, must_store: false, active: Some(record.kept), next: Next::Rest };
    }
    match before {
        Some(before) if before.belongs_to(running) => Selection {
            record: SetsRecord {
                state: SetState::Settled(Some(Outcome {
                    phase: Phase::RolledBack,
                    code: ReportCode::BootReverted,
                })),
                kept: before,
                other: Some(record.kept),
                attempt: record.attempt,
            },
            must_store: true,
            active: Some(before),
            next: Next::Rest,
        },
        _ => Selection { record, must_store: false, active: None, next: Next::Rest },
    }
}

/// A new set is committed: it is on trial if its firmware runs, and otherwise its firmware is asked for.
fn candidate(
    record: SetsRecord,
    new: SetRef,
    running: Option<Sha256Digest>,
    origin: Origin,
    starts_max: u8,
) -> Selection {
    let needs_restart = match (new.firmware, running) {
        (Some(firmware), Some(running)) => firmware.digest != running,
        _ => false,
    };
    let (starts, is_new_start) = match (record.state, origin) {
        (SetState::Trial { starts }, Origin::PowerOn) => (starts.saturating_add(1), true),
        (SetState::Trial { starts }, _) => (starts, false),
        _ => (0, !needs_restart),
    };
    let on_trial = SetsRecord { state: SetState::Trial { starts }, ..record };
    if needs_restart {
        if !record.kept.belongs_to(running) {
            // Neither the old nor the new firmware runs: somebody has put a third one there.
            return went_nowhere(record);
        }
        return match record.state {
            // Firmware that was asked for and does not run was refused or has gone back.
            SetState::Trial { .. } if starts >= starts_max => went_back(record, ReportCode::BootReverted),
            SetState::Trial { .. } => Selection {
                record: on_trial,
                must_store: is_new_start,
                active: Some(record.kept),
                next: Next::Activate,
            },
            _ => Selection { record, must_store: false, active: Some(record.kept), next: Next::Activate },
        };
    }
    if starts > starts_max {
        let differs = new.firmware.map(|firmware| firmware.digest)
            != record.kept.firmware.map(|firmware| firmware.digest)
            && running.is_some();
        let code = ReportCode::ConfirmTimeout;
        return if differs {
            Selection {
                record: SetsRecord { state: SetState::Reverting(code), ..record },
                must_store: true,
                active: Some(new),
                next: Next::GoBack(code),
            }
        } else {
            went_back(record, code)
        };
    }
    Selection { record: on_trial, must_store: is_new_start, active: Some(new), next: Next::Trial }
}

fn went_back(record: SetsRecord, code: ReportCode) -> Selection {
    Selection {
        record: SetsRecord {
            state: SetState::Settled(Some(Outcome { phase: Phase::RolledBack, code })),
            kept: record.kept,
            other: None,
            attempt: record.attempt,
        },
        must_store: true,
        active: Some(record.kept),
        next: Next::WentBack(code),
    }
}

fn went_nowhere(record: SetsRecord) -> Selection {
    Selection { active: None, next: Next::Rest, ..went_back(record, ReportCode::BootReverted) }
}

#[cfg(test)]
mod tests {
    use ota_core::device::Slot;

    use super::*;
    use crate::record::Firmware;

    const OLD: Sha256Digest = Sha256Digest([1; 32]);
    const NEW: Sha256Digest = Sha256Digest([2; 32]);
    const THIRD: Sha256Digest = Sha256Digest([3; 32]);

    fn set(mark: u8, firmware: Option<Sha256Digest>) -> SetRef {
        let firmware = firmware.map(|digest| Firmware { digest, slot: Slot::A });
        SetRef { slot: Slot::A, bytes: 9, digest: Sha256Digest([mark; 32]), firmware }
    }

    /// `state | firmware of the sets (f) or not (-) | what runs` against `active | next | state to store`.
    fn check(script: &str, expected: &str) {
        let words: Vec<&str> = script.split_whitespace().collect();
        let firmware = words[1] == "f";
        let state = match words[0] {
            "settled" => SetState::Settled(None),
            "committed" => SetState::Committed,
            "reverting" => SetState::Reverting(ReportCode::SelfTestFailed),
            trial => SetState::Trial { starts: trial.strip_prefix("trial").unwrap().parse().unwrap() },
        };
        let running = match words[2] {
            "old" => Some(OLD),
            "new" => Some(NEW),
            "third" => Some(THIRD),
            _ => None,
        };
        let origin = if words.get(3) == Some(&"again") { Origin::Recovered } else { Origin::PowerOn };
        let record = SetsRecord {
            state,
            kept: set(1, firmware.then_some(OLD)),
            other: Some(set(2, firmware.then_some(NEW))),
            attempt: None,
        };
        let selection = select(record, running, origin, 4);
        let active = match selection.active {
            Some(active) if active.digest == Sha256Digest([1; 32]) => "old",
            Some(_) => "new",
            None => "none",
        };
        let next = match selection.next {
            Next::Rest => "rest",
            Next::Activate => "activate",
            Next::Trial => "trial",
            Next::GoBack(_) => "go-back",
            Next::WentBack(_) => "went-back",
        };
        let stored = match (selection.must_store, selection.record.state) {
            (false, _) => "-".to_owned(),
            (true, SetState::Settled(_)) => "settled".to_owned(),
            (true, SetState::Committed) => "committed".to_owned(),
            (true, SetState::Trial { starts }) => format!("trial{starts}"),
            (true, SetState::Reverting(_)) => "reverting".to_owned(),
        };
        assert_eq!(format!("{active} {next} {stored}"), expected, "{script}");
    }

    #[test]
    fn the_firmware_that_runs_selects_the_set() {
        check("settled f old", "old rest -");
        check("settled f new", "new rest settled");
        check("settled f third", "none rest -");
        check("settled - none", "old rest -");
        check("committed f old", "old activate -");
        check("committed f new", "new trial trial0");
        check("committed f third", "none rest settled");
        check("committed - none", "new trial trial0");
        check("trial0 f new", "new trial trial1");
        check("trial0 f new again", "new trial -");
        check("trial4 f new", "new go-back reverting");
        check("trial4 f new again", "new trial -");
        check("trial0 f old", "old activate trial1");
        check("trial3 f old", "old went-back settled");
        check("trial1 f third", "none rest settled");
        check("trial0 - none", "new trial trial1");
        check("trial4 - none", "old went-back settled");
        check("reverting f new", "new go-back -");
        check("reverting f old", "old went-back settled");
        check("reverting f third", "none rest -");
        check("reverting - none", "old went-back settled");
    }
}
