//! The story of an answer that other processes may have, or want too.

use std::sync::Arc;

use super::follow::{Followed, Follower};
use super::metrics::Part;
use super::{Joined, Record, Remote, Replica};
use crate::cache::{Entry, Freshness, Key, Store, Stored};
use crate::sharing::common::{Common, NotShared};
use crate::sharing::head::variant;
use crate::sharing::lead::{NotTaken, publish};
use crate::sharing::{Failing, Publisher, Storable, Wanted, Work};
use crate::time::Instant;

/// How an answer came to be here.
pub(in crate::sharing) enum Fetched {
    /// By work in this process, of which others may be told what was kept.
    Worked(Storable, Option<Replica>),
    /// From another process, which stores it where it is to be.
    Given,
}

/// Whether the next answer is to be looked for among those that are stored.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LookFor {
    Stored,
    Flights,
}

/// Fetches an answer, from whoever has it.
///
/// # Errors
/// The failure of whoever did the work.
///
/// # Cancel safety
/// The future can be dropped; what was published stays so.
pub(in crate::sharing) async fn fetch<E: Failing>(
    remote: &Remote,
    common: &Common,
    wanted: &Wanted,
    work: Box<dyn Work<E>>,
    to: &Publisher<'_, E>,
) -> Result<Fetched, E> {
    let mut key = to.key();
    let mut look_for = if wanted.policy.looks_up() { LookFor::Stored } else { LookFor::Flights };
    let metrics = &remote.0.metrics;
    loop {
        let flight = remote.flight(&Key::of([key.as_bytes(), &wanted.apart]));
        match remote.join(&flight, Some(&key).filter(|_| look_for == LookFor::Stored)).await {
            Joined::Stored(record) => match take(remote, common, &key, *record, wanted, &*work, to.since()).await {
                Taken::Fresh(entry) => {
                    to.begin_again(&*work);
                    return match publish(to, &entry).await {
                        Ok(()) => Ok(Fetched::Given),
                        Err(not_taken) => Err(work.cut_short(not_taken)),
                    };
                }
                Taken::Under(variant) => key = variant,
                Taken::Nothing => look_for = LookFor::Flights,
            },
            Joined::Leads { token } => {
                metrics.took_part(if to.has_begun() { Part::TookOver } else { Part::Led });
                let replica = Replica::start(remote, flight, token, to.companion());
                return by_work(work, to, Some(replica)).await;
            }
            Joined::Follows { token } => {
                metrics.took_part(Part::Followed);
                to.begin_again(&*work);
                match Follower::new(remote, &flight, &token, to, wanted).follow().await {
                    Followed::Complete { paid } => {
                        to.paid(paid.as_ref().and_then(|paid| work.receipt(paid)));
                        if wanted.policy.stores() {
                            copy(remote, common, &key, wanted, &*work, to.since()).await;
                        }
                        return Ok(Fetched::Given);
                    }
                    Followed::Failed(error) => return Err(error),
                    Followed::NotForUs { is_private } => {
                        if is_private {
                            common.exceptions.put(to.key(), NotShared);
                        }
                        return by_work(work, to, None).await;
                    }
                    Followed::NotTaken(not_taken) => return Err(work.cut_short(not_taken)),
                    // It may have stored its answer before it went.
                    Followed::Lost if wanted.policy.looks_up() => look_for = LookFor::Stored,
                    Followed::Lost => {}
                    Followed::Unavailable => {
                        metrics.took_part(Part::Alone);
                        return by_work(work, to, None).await;
                    }
                }
            }
            Joined::Alone => {
                metrics.took_part(Part::Alone);
                return by_work(work, to, None).await;
            }
        }
    }
}

/// A fresh answer that is stored for all, at once or not at all.
pub(in crate::sharing) async fn fresh<E: Failing>(
    remote: &Remote,
    common: &Common,
    key: &Key,
    wanted: &Wanted,
    work: &dyn Work<E>,
) -> Option<Arc<Entry>> {
    let (mut key, since) = (*key, common.store.generation());
    // An answer varies, or it does not.
    for _ in 0..2 {
        let record = remote.look(&key).await?;
        match take(remote, common, &key, record, wanted, work, since).await {
            Taken::Fresh(entry) => return Some(entry),
            Taken::Under(variant) => key = variant,
            Taken::Nothing => return None,
        }
    }
    None
}

/// This process does the work, to the end of an answer of which readers may have a part.
async fn by_work<E: Failing>(
    work: Box<dyn Work<E>>,
    to: &Publisher<'_, E>,
    replica: Option<Replica>,
) -> Result<Fetched, E> {
    to.begin_again(&*work);
    let differs = work.cut_short(NotTaken::Differs);
    let storable = work.run(to).await?;
    if to.is_behind() {
        return Err(differs);
    }
    Ok(Fetched::Worked(storable, replica))
}

enum Taken {
    Fresh(Arc<Entry>),
    /// There is one answer for each value of some headers; this is the key of ours.
    Under(Key),
    Nothing,
}

/// Keeps a copy of a record, and says what it is good for.
async fn take<E: Failing>(
    remote: &Remote,
    common: &Common,
    key: &Key,
    record: Record,
    wanted: &Wanted,
    work: &dyn Work<E>,
    since: u64,
) -> Taken {
    let receipt = record.paid().and_then(|paid| work.receipt(paid));
    let Some(stored) = remote.stored(record, receipt) else { return Taken::Nothing };
    common.store.put(*key, stored.clone(), since).await;
    match stored {
        Stored::Varies(names) => Taken::Under(variant(&wanted.key, &names, &wanted.headers)),
        Stored::Entry(entry) if entry.freshness(Instant::now(), &wanted.policy) == Freshness::Fresh => {
            Taken::Fresh(entry)
        }
        Stored::Entry(_) => Taken::Nothing,
    }
}

/// Keeps a copy of what another process has just stored.
async fn copy<E: Failing>(
    remote: &Remote,
    common: &Common,
    key: &Key,
    wanted: &Wanted,
    work: &dyn Work<E>,
    since: u64,
) {
    if let Some(record) = remote.look(key).await {
        take(remote, common, key, record, wanted, work, since).await;
    }
}
