//! How many descriptors this process may have: each client takes one, and each call to a provider one more.

/// More than any machine needs, so that nothing that counts by the limit takes for ever.
const ENOUGH: u64 = 1 << 20;
/// What is taken for granted where the limit cannot be read.
const USUAL: u64 = 1024;

/// Raises the limit as far as the system lets this process, and says what it is then.
pub(super) fn raise() -> u64 {
    rlimit::increase_nofile_limit(ENOUGH).unwrap_or(USUAL)
}
