//! The target `block_map`, driven by libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ota_fuzz::block_map::block_map(data));
