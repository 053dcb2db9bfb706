//! Records of the fleet, their keys, counters and units.

use super::containers::{choice, fields};
use super::{Choices, Generate};
use crate::fleet::records::{
    Amended, Amendment, Approval, Attempt, AttemptPhase, AttemptRules, BUCKETS, BlobRecord, BlockMapRecord,
    Budget, Campaign, CampaignState, Cause, ClaimedFile, Credential, DailyWindow, Date, DateRange, Device,
    DeviceStatus, Enrolment, EnrolmentKind, FileCourse, FileProgress, FileRecord, FileSample, Gate, GrantKey,
    Group, Hosting, Installed, Interned, Limits, Moment, OnFailure, Pace, PausedFrom, PersonRole,
    PhaseDevices, Plan, PrincipalRecord, Product, Progress, Promotion, ReleaseRecord, ReleaseStatus,
    RequirementRecord, RevisionDevices, RoleGrant, RootRecord, Sample, Schedule, Seen, Setting, SmallGroup,
    Stage, Target, Token, TokenKind, Trial,
};
use crate::fleet::{
    AuditDraft, AuditEntry, AuditHash, CounterChange, CounterKey, CounterPrefix, Dialect, Index, IndexEntry,
    Key, LeaseRequest, LinkEvent, Outbound, Record, Stored, Table, Unit, Version, Write,
};

/// Most parts per million.
const MILLION: u64 = 1_000_000;

fn ppm(choices: &mut Choices<'_>) -> u32 {
    choices.up_to(MILLION) as u32
}

choice! {
    AttemptPhase = AttemptPhase::ALL;
    CampaignState = [
        CampaignState::Draft, CampaignState::Preparing, CampaignState::Scheduled, CampaignState::Trial,
        CampaignState::Trialled, CampaignState::Rolling, CampaignState::Paused, CampaignState::Completed,
        CampaignState::Stopped,
    ];
    Cause = [Cause::Download, Cause::Verification, Cause::Install, Cause::Boot];
    EnrolmentKind = [EnrolmentKind::Certificate, EnrolmentKind::Token];
    DeviceStatus = [DeviceStatus::Active, DeviceStatus::Quarantined, DeviceStatus::Revoked];
    Dialect = [Dialect::Native, Dialect::Sft];
    Hosting = [Hosting::Here, Hosting::Elsewhere];
    Index = Index::ALL;
    PersonRole = [
        PersonRole::Viewer, PersonRole::Developer, PersonRole::Operator, PersonRole::Approver, PersonRole::KeyHolder,
        PersonRole::Administrator,
    ];
    SmallGroup = [SmallGroup::ByShare];
    Promotion = [Promotion::ByPerson, Promotion::ByGate];
    ReleaseStatus =
        [ReleaseStatus::Draft, ReleaseStatus::Fixed, ReleaseStatus::Signed, ReleaseStatus::Withdrawn];
    Table = Table::ALL;
    TokenKind = [TokenKind::Api, TokenKind::Session, TokenKind::Invitation];
}

fields! {
    Amendment { what, by, at, reason, seen, approvals }
    Approval { principal, at, hash }
    Attempt {
        product, stage, phase, cause, release, offer, nonce, offered, changed, due, retries, sequence, done, asked,
        former, hardware, site, moments, detail, attested, dialect, files, missed,
    }
    AttemptRules {
        begin_within, download_within, install_within, confirm_within, retries_max, retry_after, retry_after_max,
    }
    AuditDraft { at, principal, action, subject, product, detail }
    BlobRecord { size, stored, integrity, maps }
    BlockMapRecord { unit, size, digest }
    Budget { cause, good_ppm: ppm }
    Campaign {
        product, title, release, target, plan, author, created, state, reason, approvals, progress, samples,
    }
    ClaimedFile { file, revision }
    CounterChange { key, by }
    DailyWindow { from_minute: minute, until_minute: minute }
    DateRange { first, last }
    Date { year: |c| c.between(1970, 9999) as i16, month: |c| c.between(1, 12) as i8, day: |c| c.between(1, 28) as i8 }
    Device {
        product, ordinal, bucket: |c| c.up_to(u64::from(BUCKETS) - 1) as u16, registered, heard, status, hardware,
        installed, tags: sorted, attempt, epoch, dialect, credential, claimed, failures, claimed_hardware,
        metadata_bytes_max, evidence_key, evidence_seen, waits_with, pinned,
    }
    Enrolment { product, device, tags, uses_max, uses, expires, created, by }
    FileCourse { samples }
    FileProgress { file, phase, code, at }
    FileSample { at, revisions, others }
    FileRecord { name, revision, size, target, digest, integrity, block_map, urls, hosting }
    Gate {
        sample_min, failures_good_ppm: ppm, failures_bad_ppm: ppm, false_stop_ppm: ppm, missed_stop_ppm: ppm, budgets,
        silent_max_ppm: ppm, soak, attested_only, small_group,
    }
    GrantKey { secret, from, until }
    Group { expression }
    Installed { file, revision }
    Interned { text }
    LeaseRequest { name, holder, duration }
    Limits { devices_per_minute, downloads_max, bytes_per_second, downloads_per_site_max }
    Moment { at, phase, cause }
    Outbound { dialect, device, payload: payload }
    PausedFrom { state, at }
    PhaseDevices { phase, devices }
    Plan { trial, stages, schedule, limits, attempts, approvals, on_failure, priority }
    PrincipalRecord { title, roles, disabled, password }
    Product {
        title, created, next_ordinal, next_name, root, next_version, approvals_min, quarantine_after, attested_only,
        dialects,
    }
    Progress { stage, since, opened, opened_at, looks, passed, paused, started, revert, amendment, accepted, ended }
    ReleaseRecord {
        product, package, version, status, author, created, hardware, epoch, requirements, files, expires, security,
        notes, sbom, body_size, envelope, withdrawn,
    }
    RevisionDevices { revision, devices }
    RoleGrant { role, products }
    RootRecord { body, envelope }
    Sample { at, offered, confirmed, failed, stage, phases, causes: causes }
    Schedule { start, end, zone, windows, blackouts }
    Seen { stage, confirmed, failed, silent, open }
    Setting { value }
    Stage { until_ppm: ppm, pace, gate }
    Stored { version, record }
    Token { principal, secret, created, expires, kind, title, roles }
    Trial { who, gate, promotion }
}

fn minute(choices: &mut Choices<'_>) -> u16 {
    choices.up_to(24 * 60 - 1) as u16
}

fn causes(choices: &mut Choices<'_>) -> Option<[u64; 4]> {
    choices.maybe(|c| [c.u64(), c.u64(), c.u64(), c.u64()])
}

fn payload(choices: &mut Choices<'_>) -> bytes::Bytes {
    Vec::generate(choices).into()
}

fn sorted<T: Generate + Ord>(choices: &mut Choices<'_>) -> Vec<T> {
    let mut list = Vec::generate(choices);
    list.sort_unstable();
    list.dedup();
    list
}

impl Generate for Version {
    fn generate(choices: &mut Choices<'_>) -> Self {
        Self(choices.u64())
    }
}

impl Generate for AuditHash {
    fn generate(choices: &mut Choices<'_>) -> Self {
        Self(choices.array())
    }
}

impl Generate for AuditEntry {
    fn generate(choices: &mut Choices<'_>) -> Self {
        let sequence = choices.between(1, u64::MAX);
        Self::chain(sequence, Generate::generate(choices), Generate::generate(choices))
    }
}

impl Generate for Credential {
    fn generate(c: &mut Choices<'_>) -> Self {
        match c.index(3) {
            0 => Self::Certificate { name: Generate::generate(c) },
            1 => Self::Fingerprints { sha256: Generate::generate(c) },
            _ => Self::Password { salt: Generate::generate(c), hash: Generate::generate(c) },
        }
    }
}

impl Generate for Amended {
    fn generate(c: &mut Choices<'_>) -> Self {
        match c.index(4) {
            0 => Self::Gate,
            1 => Self::Soak,
            2 => Self::Limits { limits: Generate::generate(c) },
            _ => Self::Target { target: Generate::generate(c) },
        }
    }
}

impl Generate for Target {
    fn generate(c: &mut Choices<'_>) -> Self {
        match c.index(5) {
            0 => Self::Everyone,
            1 => Self::OrdinalBelow { ordinal: c.u64() },
            2 => Self::Filter { expression: Generate::generate(c) },
            3 => Self::Snapshot {
                expression: Generate::generate(c),
                bitmap: Generate::generate(c),
                count: c.u64(),
            },
            _ => Self::Devices { ids: Generate::generate(c) },
        }
    }
}

impl Generate for Pace {
    fn generate(c: &mut Choices<'_>) -> Self {
        match c.index(3) {
            0 => Self::AtOnce,
            1 => Self::Linear { over: Generate::generate(c) },
            _ => Self::Exponential {
                base_per_minute: c.u32(),
                factor_percent: c.u32(),
                every_confirmed: c.u32(),
            },
        }
    }
}

impl Generate for OnFailure {
    fn generate(c: &mut Choices<'_>) -> Self {
        match c.index(3) {
            0 => Self::Pause,
            1 => Self::Stop,
            _ => Self::Revert { to: Generate::generate(c) },
        }
    }
}

impl Generate for RequirementRecord {
    fn generate(c: &mut Choices<'_>) -> Self {
        if c.flip() {
            Self::FileRevision { file: Generate::generate(c), revision: Generate::generate(c) }
        } else {
            Self::EpochAtLeast { epoch: Generate::generate(c) }
        }
    }
}

impl Generate for LinkEvent {
    fn generate(c: &mut Choices<'_>) -> Self {
        match c.index(3) {
            0 => Self::Connected(Generate::generate(c)),
            1 => Self::Disconnected(Generate::generate(c)),
            _ => Self::Message {
                dialect: Generate::generate(c),
                device: Generate::generate(c),
                payload: payload(c),
            },
        }
    }
}

impl Generate for Key {
    fn generate(c: &mut Choices<'_>) -> Self {
        key_of(c.one_of(Table::ALL), c)
    }
}

/// A key of this table.
fn key_of(table: Table, c: &mut Choices<'_>) -> Key {
    match table {
        Table::Product => Key::Product(Generate::generate(c)),
        Table::Device => Key::Device(Generate::generate(c)),
        Table::Release => Key::Release(Generate::generate(c)),
        Table::Root => Key::Root(Generate::generate(c), Generate::generate(c)),
        Table::Blob => Key::Blob(Generate::generate(c)),
        Table::Campaign => Key::Campaign(Generate::generate(c)),
        Table::Attempt => Key::Attempt(Generate::generate(c), Generate::generate(c)),
        Table::Interned => Key::Interned(Generate::generate(c), c.u32()),
        Table::Group => Key::Group(Generate::generate(c), Generate::generate(c)),
        Table::GrantKey => Key::GrantKey(c.u32()),
        Table::Principal => Key::Principal(Generate::generate(c)),
        Table::Token => Key::Token(Generate::generate(c)),
        Table::Setting => Key::Setting(Generate::generate(c)),
        Table::Course => Key::Course(Generate::generate(c), c.u32()),
        Table::Enrolment => Key::Enrolment(Generate::generate(c)),
    }
}

impl Generate for Record {
    fn generate(c: &mut Choices<'_>) -> Self {
        record_of(c.one_of(Table::ALL), c)
    }
}

/// A record of this table.
fn record_of(table: Table, c: &mut Choices<'_>) -> Record {
    match table {
        Table::Product => Record::Product(Generate::generate(c)),
        Table::Device => Record::Device(Generate::generate(c)),
        Table::Release => Record::Release(Generate::generate(c)),
        Table::Root => Record::Root(Generate::generate(c)),
        Table::Blob => Record::Blob(Generate::generate(c)),
        Table::Campaign => Record::Campaign(Generate::generate(c)),
        Table::Attempt => Record::Attempt(Generate::generate(c)),
        Table::Interned => Record::Interned(Generate::generate(c)),
        Table::Group => Record::Group(Generate::generate(c)),
        Table::GrantKey => Record::GrantKey(Generate::generate(c)),
        Table::Principal => Record::Principal(Generate::generate(c)),
        Table::Token => Record::Token(Generate::generate(c)),
        Table::Setting => Record::Setting(Generate::generate(c)),
        Table::Course => Record::Course(Generate::generate(c)),
        Table::Enrolment => Record::Enrolment(Generate::generate(c)),
    }
}

impl Generate for Write {
    /// What is there before and after belongs to the table of the key, and at least one of them is something.
    fn generate(c: &mut Choices<'_>) -> Self {
        let table = c.one_of(Table::ALL);
        let before = c.maybe(|c| record_of(table, c));
        let after = if before.is_some() && c.flip() { None } else { Some(record_of(table, c)) };
        Self { key: key_of(table, c), before, after }
    }
}

impl Generate for Unit {
    /// Every written key is expected, and none twice, as stores demand.
    fn generate(c: &mut Choices<'_>) -> Self {
        let mut writes: Vec<Write> = c.list(0, 6, Generate::generate);
        writes.sort_by(|one, other| one.key.cmp(&other.key));
        writes.dedup_by(|one, other| one.key == other.key);
        let expects = writes.iter().map(|write| {
            let version =
                if write.before.is_some() { Version(c.between(1, u64::MAX - 1)) } else { Version(0) };
            (write.key.clone(), version)
        });
        let expects = expects.collect();
        Self { expects, writes, counters: Generate::generate(c), audit: Generate::generate(c) }
    }
}

impl Generate for CounterKey {
    fn generate(c: &mut Choices<'_>) -> Self {
        match c.index(4) {
            0 => Self::Devices { product: Generate::generate(c) },
            1 => Self::Installed { product: Generate::generate(c), file: c.u32(), revision: c.u32() },
            2 => Self::Heard { product: Generate::generate(c), hour: c.u32() },
            _ => Self::Attempts {
                campaign: Generate::generate(c),
                stage: c.u16(),
                phase: c.byte(),
                cause: c.u16(),
            },
        }
    }
}

impl Generate for CounterPrefix {
    fn generate(c: &mut Choices<'_>) -> Self {
        match c.index(4) {
            0 => Self::Devices,
            1 => Self::Installed(Generate::generate(c)),
            2 => Self::Heard(Generate::generate(c)),
            _ => Self::Attempts(Generate::generate(c)),
        }
    }
}

impl Generate for IndexEntry {
    fn generate(c: &mut Choices<'_>) -> Self {
        let entry = Self::new(Generate::generate(c));
        let parts: Vec<bool> = c.list(0, 4, Choices::flip);
        parts.into_iter().fold(entry, |entry, is_text| {
            if is_text { entry.text(&String::generate(c)) } else { entry.number(c.u64()) }
        })
    }
}
