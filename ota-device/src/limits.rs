//! Maxima of the engine itself. Those of formats and messages live in [`ota_core::limits`].
//!
//! Every loop, retry and table of the engine is bounded by one of them; the relations are checked by the compiler.

use ota_core::limits::{REQUEST_BLOCKS_MAX, UNIT_BYTES_MAX};
use ota_core::time::Millis;

/// Most blocks that are asked for and not yet stored.
pub const WINDOW_BLOCKS_MAX: u16 = 256;
/// Most cells (pieces that are checked and written at once) that wait in the block buffer.
pub const CELLS_MAX: usize = 16;
/// Requests of which the time of sending is remembered.
pub const REQUESTS_TIMED_MAX: usize = 8;
/// Most bytes that are hashed in one turn, and most that are read and written in one, but for a block or a unit that is
/// larger.
pub const PIECE_BYTES_MAX: usize = 4096;
/// Small steps that are taken in one poll before others have their turn.
pub const TURN_STEPS_MAX: u32 = 64;
/// Longest record that the engine writes, in bytes.
pub const RECORD_BYTES_MAX: usize = 272;
/// Events that wait to be told. Further ones replace the newest.
pub const EVENTS_MAX: usize = 4;

/// How often a file is fetched anew when its bytes do not match, before the attempt fails.
pub const FILE_TRIES_MAX: u8 = 3;
/// Units with wrong bytes in one file before the attempt fails.
pub const BAD_UNITS_MAX: u8 = 16;
/// Time-outs in a row without a block before the device checks in again.
pub const TIMEOUTS_IN_A_ROW_MAX: u8 = 6;
/// Most journal records per file: progress is written down at least every unit and at most this often.
pub const JOURNAL_RECORDS_PER_FILE_MAX: u64 = 256;

/// How long a file's bytes may fail to come from where they are hosted, before blocks are asked for instead.
pub const EXTERNAL_SILENCE_MAX: Millis = Millis(120_000);

/// Shortest and longest time-out for blocks.
pub const BLOCK_TIMEOUT_MIN: Millis = Millis(200);
/// Longest time-out for blocks.
pub const BLOCK_TIMEOUT_MAX: Millis = Millis(60_000);
/// Time-out for blocks before a round trip has been measured.
pub const BLOCK_TIMEOUT_FIRST: Millis = Millis(2_000);

const _: () = {
    assert!(REQUEST_BLOCKS_MAX >= 256 && WINDOW_BLOCKS_MAX == 256);
    assert!(RECORD_BYTES_MAX <= ota_core::limits::RECORD_BYTES_MAX);
    assert!(BLOCK_TIMEOUT_MIN.0 < BLOCK_TIMEOUT_FIRST.0 && BLOCK_TIMEOUT_FIRST.0 < BLOCK_TIMEOUT_MAX.0);
    assert!(UNIT_BYTES_MAX >= 4096);
};
