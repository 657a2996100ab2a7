//! See `fuzz_oracles::response`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_oracles::response(data));
