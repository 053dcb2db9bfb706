//! What is asked of every decoder, whatever bytes come: one function per target, with the same name as its program and
//! its corpus. Besides "no panic" each of them holds the decoder to something it promises, so that a wrong answer is
//! found as well as a crash.

pub mod block_map;
pub mod cbor;
pub mod integrity;
pub mod sft;
pub mod topic;
pub mod trust;
pub mod wire;

/// A target: it panics when a promise is broken.
pub type Target = fn(&[u8]);

/// All targets by the name of their program and their corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("cbor", cbor::cbor),
    ("wire_up", wire::up),
    ("wire_down", wire::down),
    ("wire_made", wire::made),
    ("evidence", wire::evidence),
    ("sft_up", sft::up),
    ("sft_down", sft::down),
    ("integrity_text", integrity::text),
    ("integrity_cbor", integrity::cbor),
    ("release_body", trust::release_body),
    ("root_body", trust::root_body),
    ("assignment_body", trust::assignment_body),
    ("verify_release", trust::verify_release),
    ("verify_root", trust::verify_root),
    ("verify_assignment", trust::verify_assignment),
    ("block_map", block_map::block_map),
    ("topic", topic::topic),
];
