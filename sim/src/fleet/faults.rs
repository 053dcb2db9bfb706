//! What a simulated fleet consists of, what goes wrong in it, and how often it really did.

/// What goes wrong, in cases of a million.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Faults {
    /// Messages that are lost, each way.
    pub lost: u32,
    /// Messages that arrive twice.
    pub doubled: u32,
    /// Wakes of a device that are a restart in which it forgets what it was doing.
    pub device_crashes: u32,
    /// Ticks at which the server is gone, or will be in the middle of its next commit: all that it had in memory is lost,
    /// and another starts on what was durable.
    pub server_crashes: u32,
    /// Commits that fail, half of them after they have happened.
    pub failed_commits: u32,
    /// Ticks at which all clocks jump ahead by up to an hour.
    pub clock_jumps: u32,
    /// Ticks from which on the server's clock is wrong by up to an hour, ahead or behind, until it is set right.
    pub wrong_clocks: u32,
    /// Starts with new files that fail, besides those that the release is to blame for; half of them end as bricks.
    pub bad_starts: u32,
}

impl Faults {
    /// Nothing goes wrong.
    pub const NONE: Self = Self {
        lost: 0,
        doubled: 0,
        device_crashes: 0,
        server_crashes: 0,
        failed_commits: 0,
        clock_jumps: 0,
        wrong_clocks: 0,
        bad_starts: 0,
    };
    /// Everything goes wrong but the releases.
    pub const HARSH: Self = Self {
        lost: 100_000,
        doubled: 50_000,
        device_crashes: 30_000,
        server_crashes: 20_000,
        failed_commits: 20_000,
        clock_jumps: 1_000,
        wrong_clocks: 5_000,
        bad_starts: 0,
    };
}

/// How often things really happened: a simulation without faults proves nothing about faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Happened {
    /// Messages that were lost.
    pub lost: u64,
    /// Messages that arrived twice.
    pub doubled: u64,
    /// Devices that forgot what they were doing.
    pub device_crashes: u64,
    /// Servers that were gone.
    pub server_crashes: u64,
    /// Those of them whose power went in the middle of a commit.
    pub torn_commits: u64,
    /// Commits that failed.
    pub failed_commits: u64,
    /// Clocks that jumped.
    pub clock_jumps: u64,
    /// Times at which the server's clock became wrong.
    pub wrong_clocks: u64,
    /// Connections of original devices that broke.
    pub broken_connections: u64,
    /// Check-ins that reached the server.
    pub check_ins: u64,
    /// Offers that reached a device.
    pub offers: u64,
    /// Devices that became bricks.
    pub bricked: u64,
}

impl Happened {
    /// What has happened in another fleet as well.
    pub const fn add(&mut self, other: &Self) {
        // Whoever counts something new is made to add it here.
        let Self {
            lost,
            doubled,
            device_crashes,
            server_crashes,
            torn_commits,
            failed_commits,
            clock_jumps,
            wrong_clocks,
            broken_connections,
            check_ins,
            offers,
            bricked,
        } = *other;
        self.lost += lost;
        self.doubled += doubled;
        self.device_crashes += device_crashes;
        self.server_crashes += server_crashes;
        self.torn_commits += torn_commits;
        self.failed_commits += failed_commits;
        self.clock_jumps += clock_jumps;
        self.wrong_clocks += wrong_clocks;
        self.broken_connections += broken_connections;
        self.check_ins += check_ins;
        self.offers += offers;
        self.bricked += bricked;
    }
}

/// How many devices of each kind a fleet has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kinds {
    /// Fast models of native devices.
    pub fast: usize,
    /// Models of devices that speak the original protocol.
    pub original: usize,
    /// Devices with the real engine.
    pub real: usize,
}

/// What the server keeps its records in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// The reference in memory: a crash loses the server, and nothing that was committed.
    InMemory,
    /// redb on a disk that loses what was not synced: a crash may fall into the middle of a commit.
    InRedb,
}
