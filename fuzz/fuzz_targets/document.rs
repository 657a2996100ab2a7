//! See `fuzz_oracles::document`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_oracles::document(data));
