//! The target `wire_made`, driven by libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ota_fuzz::wire::made(data));
