//! The target `assignment_body`, driven by libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ota_fuzz::trust::assignment_body(data));
