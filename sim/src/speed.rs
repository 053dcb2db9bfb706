//! How fast the engine downloads over a simulated link, beside stop-and-wait on the same link.
//!
//! Time is simulated and every die is seeded, so the figures are the same on every machine.

use core::cell::Cell;

use ota_core::conformance::MemoryStorage;
use ota_core::device::Granularity;
use ota_core::number::ByteLength;
use ota_core::time::{Instant, Millis};
use ota_device::{Activity, Policy};

use crate::link::LinkConfig;
use crate::random::Dice;
use crate::workshop::{SourceFile, Terms};
use crate::world::{BufferSizes, End, World};

/// What MQTT, TLS, TCP and IP add to a message, in bytes.
pub const OVERHEAD_BYTES: u64 = 110;

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// Round-trip time of the link, in milliseconds.
    pub round_trip_ms: u64,
    /// Messages lost, in percent.
    pub loss_percent: u32,
    /// Capacity in each direction, in kilobits per second.
    pub kilobits_per_second: u64,
    /// Length of a block, in bytes.
    pub block_bytes: u32,
}

impl Case {
    /// All cases of the table.
    pub fn all() -> impl Iterator<Item = Self> {
        let mut cases = Vec::new();
        for kilobits_per_second in [100, 1_000, 10_000] {
            for round_trip_ms in [20, 100, 600] {
                for loss_percent in [0, 1, 5] {
                    for block_bytes in [256, 1024, 4096, 16_384] {
                        cases.push(Self { round_trip_ms, loss_percent, kilobits_per_second, block_bytes });
                    }
                }
            }
        }
        cases.into_iter()
    }

    /// What the link can carry of blocks of this length at this loss, in bytes per second: capacity, less what
    /// each message adds, less what is lost.
    #[must_use]
    pub fn carries(&self) -> f64 {
        let block = f64::from(self.block_bytes);
        // What a block message adds, as the protocol promises it.
        let message = block + 24.0 + OVERHEAD_BYTES as f64;
        let arrives = f64::from(100 - self.loss_percent) / 100.0;
        self.kilobits_per_second as f64 * 125.0 * arrives * block / message
    }

    /// How many bytes are downloaded: what the link carries in a minute, or 32 MiB. One block at a time goes on as it
    /// begins, so less is enough to know how fast.
    fn file_bytes(&self, window_max: u16) -> usize {
        let bytes = (self.kilobits_per_second * 125 * 60) as usize;
        bytes.min(if window_max == 1 { 512 << 10 } else { 32 << 20 })
    }

    /// Bytes per second that the engine reaches with at most this many blocks in flight.
    ///
    /// # Panics
    /// If the download does not end.
    #[must_use]
    pub fn measure(&self, window_max: u16) -> f64 {
        let bytes = self.file_bytes(window_max);
        let new = [SourceFile::new("app.bin", "2", "app", Dice::new(2).bytes(bytes))];
        let old = [SourceFile::new("app.bin", "1", "app", vec![1; 100])];
        let granularity = Granularity { write: 4, erase: 4096 };
        let capacity = ByteLength(32 << 20);
        let storage = MemoryStorage::with_targets(granularity, &["app"], capacity, 1);
        let mut world = World::provisioned(storage, 7, &old);
        world.buffers = BufferSizes { metadata: 8192, blocks: 64 * 1024 };
        world.policy = Policy {
            block_bytes: self.block_bytes,
            window_max,
            // Reports are not what is measured.
            progress_interval: Millis::from_seconds(3600),
            ..Policy::default()
        };
        world.set_link(LinkConfig {
            delay_ms: self.round_trip_ms / 2,
            bits_per_second: self.kilobits_per_second * 1000,
            overhead_bytes: OVERHEAD_BYTES,
            queue_bytes: 64 * 1024,
            loss: self.loss_percent * 10_000,
            ..LinkConfig::PERFECT
        });
        world.server.release = Some(world.server.workshop.release(&Terms::default(), new.to_vec()));
        let begun: Cell<Option<Instant>> = Cell::new(None);
        let end = world.run_through(Millis::from_seconds(100_000), |world, progress| {
            if progress.activity == Activity::Downloading && begun.get().is_none() {
                begun.set(Some(world.now));
            }
            world.events.iter().any(|event| event == "Downloaded")
        });
        assert_eq!(end, End::Reached, "{self:?} with {window_max}: {:?}", world.events);
        let took = world.now.since(begun.get().unwrap_or_default()).0.max(1);
        bytes as f64 * 1000.0 / took as f64
    }
}
