//! The target `wire_up`, driven by libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ota_fuzz::wire::up(data));
