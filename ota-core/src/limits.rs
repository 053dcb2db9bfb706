//! Every maximum of the formats and the protocol, in one place.
//!
//! A decoder refuses what exceeds these, an encoder never produces it, and every loop over bytes from outside
//! is bounded by one of them. The relations between them are checked when the crate is compiled.

/// Longest device id, in bytes.
pub const DEVICE_ID_BYTES_MAX: usize = 64;
/// Longest product, package, hardware revision or install target name, in bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// Longest file name including its `/`, in bytes.
pub const FILE_NAME_BYTES_MAX: usize = 64;
/// Most components of a file name.
pub const FILE_NAME_COMPONENTS_MAX: usize = 8;
/// Longest revision text, in bytes.
pub const REVISION_BYTES_MAX: usize = 255;
/// Longest URL of an externally hosted file or of release notes, in bytes.
pub const URL_BYTES_MAX: usize = 512;
/// Longest detail text in a report and reason text in a hint, in bytes.
pub const DETAIL_BYTES_MAX: usize = 128;

/// Most files in one release.
pub const FILES_MAX: usize = 1024;
/// Most hardware revisions listed by one release.
pub const HARDWARE_REVISIONS_MAX: usize = 64;
/// Most requirements of one release.
pub const REQUIREMENTS_MAX: usize = 64;
/// Most URLs of one file.
pub const URLS_MAX: usize = 4;
/// Most integrity strings of one file: one per algorithm.
pub const INTEGRITY_STRINGS_MAX: usize = 7;
/// Longest integrity string as text, in bytes (`sha2-512:` and 128 hex digits).
pub const INTEGRITY_STRING_BYTES_MAX: usize = 137;
/// Longest form of what a signature over a file covers, in bytes; it is written into a buffer of this size.
pub const FILE_STATEMENT_BYTES_MAX: usize = 512;

/// Largest release body, in bytes.
pub const RELEASE_BODY_BYTES_MAX: usize = 256 * 1024;
/// Largest root body, in bytes.
pub const ROOT_BODY_BYTES_MAX: usize = 4096;
/// Largest signed assignment, envelope included, in bytes.
pub const ASSIGNMENT_BYTES_MAX: usize = 512;
/// How far apart the clocks of a fleet's servers may be, in milliseconds: 5 minutes.
pub const CLOCK_SKEW_MS_MAX: u64 = 5 * 60 * 1000;
/// How often a device stores nothing but a later time, in milliseconds: once a day.
pub const TIME_STORED_EVERY_MS: u64 = 24 * 3600 * 1000;
/// Largest envelope of a release or a root, in bytes.
pub const ENVELOPE_BYTES_MAX: usize = 2048;
/// Most signatures in one envelope.
pub const SIGNATURES_MAX: usize = 16;
/// Most keys in one root.
pub const KEYS_MAX: usize = 16;
/// Most keys that one role lists.
pub const ROLE_KEYS_MAX: usize = 8;

/// Deepest nesting of arrays, maps and tags in signed metadata and messages.
pub const NESTING_MAX: usize = 4;

/// Smallest block a device may ask for, in bytes.
pub const BLOCK_BYTES_MIN: u32 = 256;
/// Largest block a device may ask for, in bytes.
pub const BLOCK_BYTES_MAX: u32 = 64 * 1024;
/// Most bytes that one request may ask for.
pub const REQUEST_BYTES_MAX: u32 = 128 * 1024;
/// Most blocks that one request may ask for.
pub const REQUEST_BLOCKS_MAX: u32 = REQUEST_BYTES_MAX / BLOCK_BYTES_MIN;
/// Most bytes that a `Block` message adds to the bytes it carries.
pub const BLOCK_OVERHEAD_BYTES_MAX: usize = 24;
/// Longest grant, in bytes.
pub const GRANT_BYTES_MAX: usize = 64;
/// Longest message that is not a block, in bytes.
pub const CONTROL_MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Longest message of any kind, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024 + BLOCK_OVERHEAD_BYTES_MAX;
/// Longest message to a device that is not a block, in bytes: what a device's buffer for them must hold, unless a
/// newer server adds extensions.
pub const ANSWER_BYTES_MAX: usize = 768;
/// Longest bitmap of wanted blocks, in bytes: one bit for each block that one request may ask for.
pub const WANT_BITMAP_BYTES_MAX: usize = 64;
/// Longest prefix of the topics, in bytes.
pub const TOPIC_PREFIX_BYTES_MAX: usize = 64;
/// Longest topic, in bytes: prefix, `/1/`, device id and `/down`.
pub const TOPIC_BYTES_MAX: usize = TOPIC_PREFIX_BYTES_MAX + DEVICE_ID_BYTES_MAX + 8;
/// Application topics that one broker opens.
pub const APPLICATION_TOPICS_MAX: usize = 64;
/// Bytes in the pattern of an application topic.
pub const TOPIC_PATTERN_BYTES_MAX: usize = 256;
/// Most files that a check-in lists.
pub const INVENTORY_MAX: usize = 1024;

/// Longest file name and revision of the original protocol together, in bytes.
pub const SFT_NAME_AND_REVISION_BYTES_MAX: usize = 999;
/// Longest chunk of the original protocol, in bytes: with more its clients' length wraps.
pub const SFT_CHUNK_BYTES_MAX: u32 = 65_535;
/// Most entries of a list of the original protocol.
pub const SFT_FILES_MAX: usize = 64;
/// Longest message of the original protocol, in bytes: a chunk, its file's names and the rest.
pub const SFT_MESSAGE_BYTES_MAX: usize = 65_535 + SFT_NAME_AND_REVISION_BYTES_MAX + 64;

/// Smallest unit of a block map, in bytes.
pub const UNIT_BYTES_MIN: u32 = 256;
/// Unit of a block map unless said otherwise, in bytes.
pub const UNIT_BYTES_DEFAULT: u32 = 4096;
/// Largest unit of a block map, in bytes.
pub const UNIT_BYTES_MAX: u32 = 1024 * 1024;
/// Largest block map, in bytes: 1 TiB in the largest units, or 4 GiB in units of 4 KiB.
pub const BLOCK_MAP_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Longest record of a device's log, in bytes.
pub const RECORD_BYTES_MAX: usize = 1024;
/// Records of a device's log that are always kept, newest first.
pub const RECORDS_KEPT_MIN: u32 = 4;

/// Longest key of a record of the fleet, in bytes.
pub const RECORD_KEY_BYTES_MAX: usize = 512;
/// Longest place of a record in an index, in bytes.
pub const INDEX_PLACE_BYTES_MAX: usize = 512;
/// Longest record of the fleet in its stored form, in bytes.
pub const STORED_RECORD_BYTES_MAX: usize = 1024 * 1024;
/// Longest texts of one audit entry together, in bytes.
pub const AUDIT_ENTRY_BYTES_MAX: usize = 64 * 1024;
/// Most expected records, counter changes and audit entries (of each) in one unit of a commit.
pub const UNIT_PARTS_MAX: usize = 4096;
/// Most units in one commit.
pub const COMMIT_UNITS_MAX: usize = 16 * 1024;

/// Longest time for which a server's unsigned hint can delay a device, in milliseconds: 7 days.
pub const HINT_DELAY_MS_MAX: u64 = 7 * 24 * 3600 * 1000;
/// Longest life of a grant, in milliseconds: one hour.
pub const GRANT_LIFE_MS_MAX: u64 = 3600 * 1000;

const _: () = {
    assert!(BLOCK_BYTES_MIN < BLOCK_BYTES_MAX);
    assert!(BLOCK_BYTES_MAX <= REQUEST_BYTES_MAX);
    assert!(REQUEST_BLOCKS_MAX == 512);
    assert!(UNIT_BYTES_MIN <= UNIT_BYTES_DEFAULT && UNIT_BYTES_DEFAULT <= UNIT_BYTES_MAX);
    assert!(CONTROL_MESSAGE_BYTES_MAX <= MESSAGE_BYTES_MAX);
    assert!(ASSIGNMENT_BYTES_MAX < ANSWER_BYTES_MAX && ANSWER_BYTES_MAX < CONTROL_MESSAGE_BYTES_MAX);
    assert!(WANT_BITMAP_BYTES_MAX * 8 == 512);
    assert!(ROLE_KEYS_MAX <= KEYS_MAX && KEYS_MAX <= SIGNATURES_MAX);
    assert!(INVENTORY_MAX >= FILES_MAX);
    assert!(FILE_NAME_BYTES_MAX <= NAME_BYTES_MAX);
    assert!(CLOCK_SKEW_MS_MAX < TIME_STORED_EVERY_MS);
    assert!(NAME_BYTES_MAX + 1 + DEVICE_ID_BYTES_MAX <= RECORD_KEY_BYTES_MAX);
    assert!(RELEASE_BODY_BYTES_MAX + ENVELOPE_BYTES_MAX < STORED_RECORD_BYTES_MAX);
    // Array head, domain, product, package, file name, revision, size and SHA-256, each with its own head.
    assert!(
        1 + 12 + 2 * (2 + NAME_BYTES_MAX) + (2 + FILE_NAME_BYTES_MAX) + (2 + REVISION_BYTES_MAX) + 9 + 34
            <= FILE_STATEMENT_BYTES_MAX
    );
};
