//! The target `verify_assignment`, driven by libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ota_fuzz::trust::verify_assignment(data));
