//! Hostile-link runs: one seed decides the release, the link, the server's whims and the power cuts.
//!
//! First everything goes wrong for a while; whatever the device has active must be the old set or the new one, byte
//! for byte. Then the faults stop, and the device must reach the new set within a bounded time.

use ota_core::conformance::{CutPoint, MemoryStorage};
use ota_core::device::Granularity;
use ota_core::number::{ByteOffset, FileIndex};
use ota_core::time::{Instant, Millis};
use ota_core::wire::{Block, Down, Notify, Part, Phase};
use ota_device::{Activity, Link, Policy};

use crate::device::firmware_image;
use crate::link::LinkConfig;
use crate::random::Dice;
use crate::workshop::{SourceFile, Terms};
use crate::world::{BufferSizes, End, Verdict, World};

/// What a run has seen, to be counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Restarts of the device.
    pub restarts: u32,
    /// Power cuts that really happened.
    pub cuts: u32,
    /// Blocks that were repeated by the link, strange, or for somebody else.
    pub unwanted_blocks: u32,
    /// Messages that could not be read.
    pub malformed: u32,
    /// Units with wrong bytes.
    pub bad_units: u32,
}

impl Seen {
    /// Adds what another run has seen.
    pub const fn add(&mut self, other: Self) {
        self.restarts += other.restarts;
        self.cuts += other.cuts;
        self.unwanted_blocks += other.unwanted_blocks;
        self.malformed += other.malformed;
        self.bad_units += other.bad_units;
    }
}

/// Runs one seed.
///
/// # Panics
/// If the device ever has anything active but the old or the new set, or does not reach the new one.
pub fn run(seed: u64) -> Seen {
    let mut dice = Dice::new(seed);
    let (old, new) = sets(&mut dice);
    let granularity = [
        Granularity::BYTES,
        Granularity { write: 4, erase: 1024 },
        Granularity { write: 8, erase: 4096 },
        Granularity { write: 256, erase: 2048 },
    ][dice.below(4) as usize];
    let mut world = World::in_memory_with(seed, &old, granularity);
    world.policy = Policy {
        block_bytes: [256, 512, 1024, 2048, 4096][dice.below(5) as usize],
        window_max: 1 + dice.below(100) as u16,
        ..Policy::default()
    };
    world.verdict = Verdict::Pass;
    world.buffers = BufferSizes { metadata: 8 * 1024, blocks: 4096 << dice.below(4) };
    world.key = dice.happens(500_000).then_some([9; 32]);
    world.server.release =
        Some(world.server.workshop.release(&Terms { epoch: 2, ..Terms::default() }, new.clone()));
    for version in 2..2 + dice.below(3) {
        let root = world.server.workshop.root(version as u32);
        world.server.roots.push(root);
    }
    let mut seen = Seen::default();
    fault_phase(&mut world, &mut dice, &old, &new, &mut seen);

    world.set_link(LinkConfig { delay_ms: 20, ..LinkConfig::PERFECT });
    (world.server.busy, world.server.expired_grants, world.server.wrong_bytes) = (0, 0, 0);
    world.link_changes.clear();
    world.injected.clear();
    // What was heard over a link that flips bits may never have been said.
    world.up.clear();
    world.down.clear();
    world.server.heard.clear();
    world.server.up_to_date = 0;
    // After many failures in a row the engine waits up to a day before the next attempt.
    let end = world.run_through(Millis::from_seconds(4 * 24 * 3600), |world, progress| {
        progress.activity == Activity::Idle
            && (world.server.has_heard(Phase::Confirmed) || world.server.up_to_date > 0)
    });
    assert_eq!(
        end,
        End::Reached,
        "seed {seed}: {:?} {:?} {:?} {:?} check-ins {} requests {}",
        world.events,
        world.server.heard,
        world.progress,
        world.statistics,
        world.server.check_ins,
        world.server.requests
    );
    world.restart();
    assert!(
        world.has_installed(&new),
        "seed {seed}: {:?} {:?} {:?}",
        world.events,
        world.server.heard,
        world.progress
    );
    seen.unwanted_blocks += world.statistics.blocks_duplicate + world.statistics.blocks_stray;
    seen
}

fn sets(dice: &mut Dice) -> (Vec<SourceFile>, Vec<SourceFile>) {
    let mut file = |name: &str, revision: &str, target: &str| {
        let length = dice.below(30_000) as usize;
        let bytes = dice.bytes(length);
        let bytes = if target == "firmware" { firmware_image(&bytes) } else { bytes };
        let file = SourceFile::new(name, revision, target, bytes);
        match dice.below(4) {
            0 => file.in_units(4096),
            1 => file.in_units(1024),
            _ => file,
        }
    };
    let old = vec![file("app.bin", "1", "app"), file("fw.bin", "1", "firmware")];
    let mut new =
        vec![file("fw.bin", "2", "firmware"), file("app.bin", "2", "app"), file("data.bin", "1", "data")];
    if dice.happens(300_000) {
        // Firmware that stays.
        new[0] = old[1].clone();
    }
    (old, new)
}

fn fault_phase(
    world: &mut World<MemoryStorage>,
    dice: &mut Dice,
    old: &[SourceFile],
    new: &[SourceFile],
    seen: &mut Seen,
) {
    let chance = |dice: &mut Dice, most: u64| dice.below(most) as u32;
    let config = LinkConfig {
        delay_ms: dice.below(300),
        bits_per_second: 20_000 << dice.below(8),
        overhead_bytes: 40,
        queue_bytes: 4096 << dice.below(5),
        loss: chance(dice, 200_000),
        duplicates: chance(dice, 200_000),
        reordering: chance(dice, 200_000),
        corruption: chance(dice, 50_000),
    };
    world.set_link(config);
    world.server.busy = chance(dice, 100_000);
    world.server.expired_grants = chance(dice, 20_000);
    world.server.wrong_bytes = chance(dice, 20_000);
    for _ in 0..6 {
        disturb(world, dice);
        let span = Millis(1 + dice.below(120_000));
        let operations = world.storage.operations();
        if dice.happens(700_000) {
            let point = [CutPoint::Before, CutPoint::Inside, CutPoint::After][dice.below(3) as usize];
            world.storage.cut_at(operations + dice.below(120), point);
        }
        let until = world.now.plus(span);
        let end = world.run(until, &|_, _| false);
        seen.cuts += u32::from(end == End::Power);
        seen.malformed += world.statistics.messages_malformed;
        seen.bad_units += world.statistics.units_bad;
        seen.unwanted_blocks += world.statistics.blocks_duplicate + world.statistics.blocks_stray;
        world.restart();
        seen.restarts += 1;
        assert!(
            world.has_installed(old) || world.has_installed(new),
            "a mixture is active: {:?}",
            world.events
        );
        world.restart();
    }
}

/// The link breaks and comes back, and somebody else speaks on it.
fn disturb(world: &mut World<MemoryStorage>, dice: &mut Dice) {
    let now = world.now.0;
    world.link_changes.clear();
    world.injected.clear();
    let mut at = now;
    for _ in 0..dice.below(4) {
        at += 1 + dice.below(20_000);
        world.link_changes.push((Instant(at), Link::Down));
        at += 1 + dice.below(5_000);
        world.link_changes.push((Instant(at), Link::Up));
    }
    let mut at = now;
    for _ in 0..dice.below(40) {
        at += dice.below(2_000);
        let message = forged(dice);
        world.injected.push((Instant(at), message));
    }
}

/// A message that an attacker without keys can send.
fn forged(dice: &mut Dice) -> Vec<u8> {
    let bytes = {
        let length = dice.below(2000) as usize;
        dice.bytes(length)
    };
    let message = match dice.below(4) {
        0 => return bytes,
        1 => Down::Notify(Notify),
        2 => Down::Block(Block {
            offer: [dice.next() as u8; 4],
            part: Part::File(FileIndex(dice.below(3) as u16)),
            offset: ByteOffset(dice.below(64) * 1024),
            bytes: &bytes,
        }),
        _ => Down::Cancel(ota_core::wire::Cancel { assignment: &bytes[..bytes.len().min(700)] }),
    };
    message.to_vec().unwrap_or_default()
}
