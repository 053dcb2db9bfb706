//! The power-cut sweep of a whole update: check-in, metadata, roots, blocks, staging, commit, boot, trial, confirm, revert.
//!
//! One undisturbed life collects what every cut in it would leave: torn at the first, the middle and the last unit of
//! each write, inside each erase, and after each operation. Each of these images is started with different luck, and
//! lives on to the end; there, cuts are collected again, and so on. Images with the same content and the same state of
//! the bootloader have the same future, so each is lived once and counted every time.
//!
//! What must hold after every cut:
//!
//! - the active files are the old set or the new one, byte for byte;
//! - what the device trusts is there, never less than after an earlier cut: root, epoch, generations, time;
//! - the epoch is raised only where the new set is active, and never for one that was given up;
//! - the device reaches the end of its course within bounded time and starts, on its own;
//! - no more has to be fetched than after an earlier cut, but for what was in flight.

use std::collections::HashMap;

use ota_core::number::{RootVersion, SecurityEpoch};
use ota_core::time::Millis;
use ota_core::trust::{Role, TrustedState};
use ota_core::wire::Phase;
use ota_device::{Activity, Confirm, Policy, Progress};

use crate::device::{DEVICE, SimBoot, firmware_image};
use crate::medium::{Medium, Started};
use crate::random::Dice;
use crate::server::SimServer;
use crate::workshop::{SourceFile, Terms};
use crate::world::{BufferSizes, End, Found, Powered, Verdict, World};

/// What an update comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// The new set is kept.
    Kept,
    /// The self-test fails, and the old set comes back.
    GivenUp,
    /// The root is rotated twice in mid-update, with another key for assignments; then the new set is kept.
    Rotated,
}

/// One update, to be cut everywhere.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// What it comes to.
    pub course: Course,
    /// Decides the files. Where it is odd, the firmware stays as it is and nothing has to restart.
    pub seed: u64,
    /// How deep cuts are nested.
    pub depth: usize,
}

/// What a sweep has counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Cuts in the undisturbed life, times the luck they were started with.
    pub single: u64,
    /// Cuts in lives after a cut, times luck.
    pub nested: u64,
    /// Cuts in lives after two or more, times luck.
    pub deeper: u64,
    /// Lives that were really lived; the other cases left the same contents behind as one of them.
    pub lived: u64,
    /// Cases in which the new set was active at once.
    pub began_new: u64,
    /// Cases that found a newer root than the factory's.
    pub began_rotated: u64,
    /// Most restarts in one life.
    pub restarts_max: u64,
}

impl Counts {
    /// The sum of two sweeps.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            single: self.single + other.single,
            nested: self.nested + other.nested,
            deeper: self.deeper + other.deeper,
            lived: self.lived + other.lived,
            began_new: self.began_new + other.began_new,
            began_rotated: self.began_rotated + other.began_rotated,
            restarts_max: self.restarts_max.max(other.restarts_max),
        }
    }
}

impl core::fmt::Display for Counts {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { single, nested, deeper, lived, began_new, began_rotated, restarts_max } = self;
        write!(
            f,
            "{single} single cuts, {nested} nested, {deeper} deeper, {lived} lives; {began_new} found the new "
        )?;
        write!(f, "set active, {began_rotated} a newer root; at most {restarts_max} restarts")
    }
}

/// Restarts that a life may take to the end of its course.
const RESTARTS_MAX: u64 = 8;
/// Requests for blocks after which the root is rotated: in the middle of the files.
const ROTATION_AFTER: u32 = 8;
const BLOCK_BYTES: u32 = 512;
const BLOCK_BUFFER_BYTES: usize = 2048;

/// What is known about a start.
#[derive(Debug, Clone, Copy)]
struct Known {
    found: Found,
    /// How deep its cuts were followed.
    followed_at: usize,
    /// Bytes that were fetched from there to the end.
    fetched: u64,
    /// Cuts in the life from there, times luck.
    cases: u64,
}

/// A sweep over one medium.
pub struct UpdateSweep<'m, M: Medium> {
    medium: &'m M,
    lucks: Vec<M::Luck>,
    scenario: Scenario,
    old: Vec<SourceFile>,
    new: Vec<SourceFile>,
    server: SimServer,
    /// More than this may not have to be fetched again after a later cut.
    in_flight: u64,
    known: HashMap<(u128, SimBoot), Known>,
    counts: Counts,
}

/// What a cut leaves: the number of the operation, the contents, and what the bootloader knows.
type Cut<M> = (u64, <M as Medium>::Image, SimBoot);

struct Life<M: Medium> {
    cuts: Vec<Cut<M>>,
    fetched: u64,
    /// The operations by which the engine was told what it trusts. Before that, what was torn may still be found to be
    /// there or not.
    told_at: u64,
}

impl<'m, M: Medium> UpdateSweep<'m, M> {
    /// Sweeps one update; `erase_bytes` is what a medium has to erase at once.
    ///
    /// # Panics
    /// If anything that must hold does not.
    #[must_use]
    pub fn run(medium: &'m M, lucks: Vec<M::Luck>, scenario: Scenario, erase_bytes: u32) -> Counts {
        let (old, new) = sets(scenario.seed);
        let terms = Terms { epoch: 2, ..Terms::default() };
        let mut server = SimServer::new(DEVICE, scenario.seed);
        server.release = Some(server.workshop.release(&terms, new.clone()));
        server.rotates_root_after = (scenario.course == Course::Rotated).then_some(ROTATION_AFTER);
        let metadata = server.release.as_ref().map_or(0, |release| release.signed.body.len() + 2048) as u64;
        let mut sweep = Self {
            medium,
            lucks,
            scenario,
            old,
            new,
            server,
            in_flight: BLOCK_BUFFER_BYTES as u64 + u64::from(erase_bytes.max(BLOCK_BYTES)) + metadata,
            known: HashMap::new(),
            counts: Counts::default(),
        };
        let factory = World::provisioned(medium.fresh(), 1, &sweep.old);
        let (image, boot) = (medium.stop(factory.storage), factory.boot);
        let luck = sweep.lucks[0];
        let found = sweep.look(medium.start(&image, luck).storage, &boot);
        assert_eq!(found.set, Some(0), "the factory's set is active");
        let life = sweep.live(medium.start(&image, luck).storage, boot, &found, 0);
        sweep.follow(life, found.trusted, found.trusted, 1);
        sweep.counts
    }

    /// Starts every image with every luck, and follows the cuts in what comes then. `before` was trusted for sure when
    /// the life began, `told` is what it was told.
    fn follow(&mut self, life: Life<M>, before: TrustedState, told: TrustedState, depth: usize) {
        let lucks = self.lucks.clone();
        let mut floors = vec![(before, u64::MAX); lucks.len()];
        for (operation, image, boot) in life.cuts {
            for (luck, (floor, fetched_min)) in lucks.iter().zip(&mut floors) {
                if operation >= life.told_at && is_at_least(&told, floor) {
                    *floor = told;
                }
                let (known, is_certain) = self.case(&image, &boot, *luck, floor, depth);
                let found = known.found.trusted;
                assert!(is_at_least(&found, floor), "{found:?} after {floor:?}: {boot:?}");
                if is_certain {
                    *floor = found;
                }
                let allowed = fetched_min.saturating_add(self.in_flight);
                assert!(known.fetched <= allowed, "{} bytes are fetched instead of {allowed}", known.fetched);
                *fetched_min = known.fetched.min(*fetched_min);
                self.counts.began_new += u64::from(known.found.set == Some(1));
                self.counts.began_rotated += u64::from(found.root > RootVersion(1));
                match depth {
                    1 => {
                        self.counts.single += 1;
                        self.counts.nested += if self.scenario.depth > 1 { known.cases } else { 0 };
                    }
                    2 => self.counts.deeper += if self.scenario.depth > 2 { known.cases } else { 0 },
                    _ => {}
                }
            }
        }
    }

    /// One start of an image, lived to its end unless that has been done.
    fn case(
        &mut self,
        image: &M::Image,
        boot: &SimBoot,
        luck: M::Luck,
        floor: &TrustedState,
        depth: usize,
    ) -> (Known, bool) {
        let (started, booted) = self.start(image, boot, luck);
        let (key, is_certain) = ((started.content, booted), started.is_certain);
        if let Some(known) = self.known.get(&key).filter(|known| known.followed_at <= depth) {
            return (*known, is_certain);
        }
        let found = self.look(started.storage, &key.1);
        let is_raised = found.trusted.epoch > SecurityEpoch(1);
        assert!(!is_raised || found.set == Some(1), "the epoch is raised over the old set: {key:?}");
        // Unstable units read as they did when it was looked at, because exactly the same was read before.
        let (started, booted) = self.start(image, boot, luck);
        let life = self.live(started.storage, booted, &found, depth);
        let cases = (life.cuts.len() * self.lucks.len()) as u64;
        let known = Known { found, followed_at: depth, fetched: life.fetched, cases };
        if depth < self.scenario.depth {
            self.follow(life, if is_certain { found.trusted } else { *floor }, found.trusted, depth + 1);
        }
        self.known.insert(key, known);
        (known, is_certain)
    }

    /// Starts an image and its bootloader.
    fn start(&self, image: &M::Image, boot: &SimBoot, luck: M::Luck) -> (Started<M::Storage>, SimBoot) {
        let mut started = self.medium.start(image, luck);
        let mut boot = boot.clone();
        boot.restart(&mut started.storage);
        (started, boot)
    }

    /// What a start finds: the old files or the new ones, and what the device trusts.
    fn look(&self, storage: M::Storage, boot: &SimBoot) -> Found {
        let mut world = self.world(storage, boot.clone(), &None);
        let found = world.look(&[&self.old, &self.new]);
        let found = found.unwrap_or_else(|| panic!("nothing is trusted any more: {boot:?}"));
        assert!(found.set.is_some(), "a mixture is active: {boot:?}");
        found
    }

    /// A device that has just been started, and the server as it is for one that trusts this.
    fn world(&self, storage: M::Storage, boot: SimBoot, found: &Option<Found>) -> World<M::Storage> {
        let mut server = self.server.clone();
        if found.is_some_and(|found| found.trusted.root > RootVersion(1)) {
            server.rotates_root_after = None;
            server.rotate_root();
        }
        let mut world = World::started(storage, boot, server, 1);
        world.verdict = Verdict::Pass;
        world.policy = Policy { block_bytes: BLOCK_BYTES, window_max: 2, ..Policy::default() };
        if self.scenario.course == Course::GivenUp {
            world.verdict = Verdict::Fail;
            world.policy.confirm = Confirm::SelfTest;
        }
        world.buffers = BufferSizes { metadata: 4096, blocks: BLOCK_BUFFER_BYTES };
        world
    }

    /// Lives to the end of the course, and gives the cuts that could have happened on the way, if any are to follow.
    fn live(&mut self, mut storage: M::Storage, boot: SimBoot, found: &Found, depth: usize) -> Life<M> {
        self.counts.lived += 1;
        if depth < self.scenario.depth {
            M::collect_cuts(&mut storage);
        }
        let mut world = self.world(storage, boot, &Some(*found));
        let first = (world.storage.changes(), world.boot.clone());
        world.boot_trace = vec![first];
        let course = self.scenario.course;
        let end = world.run_through(Millis::from_seconds(4 * 24 * 3600), |world, progress| {
            is_over(course, world, progress)
        });
        assert_eq!(end, End::Reached, "{:?} {:?}", world.events, world.server.heard);
        let cuts = M::take_cuts(&mut world.storage);
        let trace = core::mem::take(&mut world.boot_trace);
        let fetched = world.server.served_bytes;
        let told_at = world.told_at.expect("the engine was told what it trusts");
        self.judge_end(world, found);
        let cuts = cuts
            .into_iter()
            .map(|(operation, image)| {
                // What the bootloader knew when the operation began.
                let known = trace.iter().rev().find(|(operations, _)| *operations <= operation);
                let boot = known.or(trace.first()).map(|(_, boot)| boot.clone());
                (operation, image, boot.expect("the trace begins with the start"))
            })
            .collect();
        Life { cuts, fetched, told_at }
    }

    /// What must be true at the end of the course.
    fn judge_end(&mut self, world: World<M::Storage>, began: &Found) {
        let restarts = world.events.iter().filter(|event| *event == "RestartNeeded").count() as u64;
        assert!(restarts <= RESTARTS_MAX, "{restarts} restarts: {:?}", world.events);
        self.counts.restarts_max = self.counts.restarts_max.max(restarts);
        let (events, newest) = (world.events, world.server.roots.len() as u32);
        let (mut storage, mut boot) = (world.storage, world.boot);
        storage.power_on();
        boot.restart(&mut storage);
        let found = self.look(storage, &boot);
        assert!(is_at_least(&found.trusted, &began.trusted), "{found:?} after {began:?}");
        let (set, epoch) = match self.scenario.course {
            Course::GivenUp => (0, SecurityEpoch(1)),
            Course::Kept | Course::Rotated => (1, SecurityEpoch(2)),
        };
        assert_eq!(found.set, Some(set), "{events:?}");
        assert_eq!(found.trusted.epoch, epoch, "{events:?}");
        // A root that came while nothing had to be asked any more is taken over by the next check-in.
        assert!(found.trusted.root.0 <= newest);
    }
}

/// Whether the device has come to the end of its course, and the server has heard of it.
fn is_over<S>(course: Course, world: &World<S>, progress: &Progress) -> bool {
    let server = &world.server;
    match course {
        Course::GivenUp => server.has_heard(Phase::RolledBack),
        Course::Kept | Course::Rotated => {
            progress.activity == Activity::Idle
                && (server.has_heard(Phase::Confirmed) || server.up_to_date > 0)
        }
    }
}

/// Whether nothing has gone back. Another generation of the key for assignments may set the time back to its root's:
/// that is how a device recovers from a stolen key that told a time in the future.
fn is_at_least(found: &TrustedState, floor: &TrustedState) -> bool {
    let assignment = Role::Assignment;
    let is_same_clock = found.generations.of(assignment) == floor.generations.of(assignment);
    found.root >= floor.root
        && found.epoch >= floor.epoch
        && Role::ALL.into_iter().all(|role| found.generations.of(role) >= floor.generations.of(role))
        && (found.last_time >= floor.last_time || !is_same_clock)
}

/// The files before and after.
fn sets(seed: u64) -> (Vec<SourceFile>, Vec<SourceFile>) {
    let mut dice = Dice::new(seed);
    let mut bytes = |least: u64| {
        let length = least + dice.below(700);
        dice.bytes(length as usize)
    };
    let old = vec![
        SourceFile::new("fw.bin", "1", "firmware", firmware_image(&bytes(1500))),
        SourceFile::new("app.bin", "1", "app", bytes(900)),
    ];
    let new = vec![
        SourceFile::new("fw.bin", "2", "firmware", firmware_image(&bytes(3000))),
        SourceFile::new("app.bin", "2", "app", bytes(3000)).in_units(BLOCK_BYTES),
    ];
    match seed % 2 {
        0 => (old, new),
        _ => {
            let firmware = old[0].clone();
            (old, vec![firmware, new[1].clone()])
        }
    }
}
