//! See `fuzz_oracles::answer`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_oracles::answer(data));
