//! What Redis does in one step. Whatever changes a flight looks at its lease first.

use std::fmt;

use super::Flight;
use super::notes::{Entries, Note, read_notes};
use crate::redis::{Redis, Script, Unavailable};
use crate::time::Duration;

/// Notes that are read at once.
const AT_ONCE: usize = 256;

/// KEYS: lease. ARGV: token, time.
const JOIN: &str = "
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return '' end
return redis.call('GET', KEYS[1])
";

/// KEYS: lease, waiting. ARGV: token, time. Whether the lease is still held, and whether somebody follows.
const RENEW: &str = "
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {0, 0} end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {1, redis.call('EXISTS', KEYS[2])}
";

/// KEYS: lease, stream. ARGV: token, time of the lease, time of the stream, channel, whether it is the end,
/// then identity, kind and value of each note. A note that is there already was written by a command of which only the
/// answer was lost.
const APPEND: &str = "
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
for i = 6, #ARGV, 3 do
    local added = redis.pcall('XADD', KEYS[2], ARGV[i], 'k', ARGV[i + 1], 'v', ARGV[i + 2])
    if type(added) == 'table' and added.err and not string.find(added.err, 'equal or smaller') then return added end
end
redis.call('PEXPIRE', KEYS[2], ARGV[3])
if ARGV[5] == '1' then redis.call('DEL', KEYS[1]) else redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
redis.call('PUBLISH', ARGV[4], '')
return 1
";

/// KEYS: lease, stream, waiting. ARGV: token, the last note that was read, time of the wait, notes at once.
const LOOK: &str = "
redis.call('SET', KEYS[3], '', 'PX', ARGV[3])
local held = 0
if redis.call('GET', KEYS[1]) == ARGV[1] then held = 1 end
return {held, redis.call('XRANGE', KEYS[2], '(' .. ARGV[2], '+', 'COUNT', ARGV[4])}
";

pub(super) struct Scripts {
    join: Script,
    renew: Script,
    append: Script,
    look: Script,
}

pub(super) enum JoinReply {
    Leads,
    Follows(String),
}

/// What a leader learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Renewed {
    pub(super) is_held: bool,
    pub(super) is_followed: bool,
}

/// What a follower sees.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) is_held: bool,
    pub(super) notes: Vec<Note>,
}

impl fmt::Debug for Scripts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scripts")
    }
}

impl Scripts {
    pub(super) fn new() -> Self {
        let [join, renew, append, look] = [JOIN, RENEW, APPEND, LOOK].map(Script::new);
        Self { join, renew, append, look }
    }

    pub(super) async fn join(
        &self,
        redis: &Redis,
        flight: &Flight,
        token: &str,
        lease: Duration,
    ) -> Result<JoinReply, Unavailable> {
        // No lease runs out within a script.
        let holder: String = redis.invoke(self.join.key(&flight.lease).arg(token).arg(millis(lease))).await?;
        Ok(if holder.is_empty() { JoinReply::Leads } else { JoinReply::Follows(holder) })
    }

    pub(super) async fn renew(
        &self,
        redis: &Redis,
        flight: &Flight,
        token: &str,
        lease: Duration,
    ) -> Result<Renewed, Unavailable> {
        let mut call = self.renew.key(&flight.lease);
        call.key(&flight.waiting).arg(token).arg(millis(lease));
        let (held, followed): (u8, u8) = redis.invoke(&call).await?;
        Ok(Renewed { is_held: held == 1, is_followed: followed == 1 })
    }

    /// Whether the lease is still held; nothing was written otherwise.
    pub(super) async fn append(
        &self,
        redis: &Redis,
        flight: &Flight,
        token: &str,
        lease: Duration,
        notes: &[Note],
    ) -> Result<bool, Unavailable> {
        let is_end = notes.last().is_some_and(Note::is_end);
        let mut call = self.append.key(&flight.lease);
        call.key(flight.stream(redis, token)).arg(token).arg(millis(lease));
        // Long enough for the slowest look, and for a leader that pauses for almost a lease.
        call.arg(millis(lease * 3)).arg(&flight.channel).arg(u8::from(is_end));
        for note in notes {
            call.arg(note.identity()).arg(note.kind()).arg(note.value());
        }
        let held: u8 = redis.invoke(&call).await?;
        Ok(held == 1)
    }

    pub(super) async fn look(
        &self,
        redis: &Redis,
        flight: &Flight,
        token: &str,
        after: &str,
        lease: Duration,
    ) -> Result<Seen, Unavailable> {
        let mut call = self.look.key(&flight.lease);
        call.key(flight.stream(redis, token)).key(&flight.waiting);
        call.arg(token).arg(after).arg(millis(lease)).arg(AT_ONCE);
        let (held, entries): (u8, Entries) = redis.invoke(&call).await?;
        Ok(Seen { is_held: held == 1, notes: read_notes(entries)? })
    }
}

fn millis(period: Duration) -> u64 {
    u64::try_from(period.as_millis()).unwrap_or(u64::MAX).max(1)
}
