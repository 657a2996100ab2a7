//! What must hold in whatever order a flight's parts run.

use std::pin::pin;

use bytes::Bytes;
use coalesce_model::coalesce::{End, Flights, Joined, Leader, Reader};
use futures_util::FutureExt;
use futures_util::future::{Either, select};
use shuttle::future::{JoinHandle, block_on, spawn};

type All = Flights<u8, u16, u8>;

/// Schedules that each test tries with each scheduler.
const SCHEDULES: usize = 1_000;
/// Bytes of a result.
const RESULT: &[u8] = b"abc";

/// Checks with random schedules and with ones that reorder few steps, which find other faults.
fn check(test: impl Fn() + Send + Sync + Clone + 'static) {
    shuttle::check_random(test.clone(), SCHEDULES);
    shuttle::check_pct(test, SCHEDULES, 3);
}

/// Publishes the result byte by byte, unless nobody wants it any more. `true` when it was published whole.
async fn work(leader: Leader<u8, u16, u8>) -> bool {
    let published = {
        let unwanted = pin!(leader.unwanted());
        let publishing = pin!(async {
            leader.begin(200);
            for byte in RESULT {
                leader.push(Bytes::from(vec![*byte])).await;
                shuttle::future::yield_now().await;
            }
        });
        matches!(select(unwanted, publishing).await, Either::Right(_))
    };
    if published {
        leader.finish(End::Complete);
    }
    published
}

async fn read(mut reader: Reader<u16, u8>) -> (Vec<u8>, End<u8>) {
    let mut seen = Vec::new();
    loop {
        match reader.next().await {
            Ok(bytes) => seen.extend_from_slice(&bytes),
            Err(end) => return (seen, end),
        }
    }
}

/// Asks for the result as a request does: leading in a task of its own, or following.
async fn ask(flights: &All) -> (Vec<u8>, End<u8>) {
    match flights.join(&1, 100) {
        Joined::Leads(leader, reader) => {
            spawn(work(leader));
            read(reader).await
        }
        Joined::Follows(reader) => read(reader).await,
        Joined::Full => panic!("there is room"),
    }
}

fn asking(flights: &All) -> JoinHandle<(Vec<u8>, End<u8>)> {
    let flights = flights.clone();
    spawn(async move { ask(&flights).await })
}

/// A flight with its leader and two who read it.
type Scene = (Leader<u8, u16, u8>, Reader<u16, u8>, Reader<u16, u8>);

fn two_readers(flights: &All, bound: usize) -> Scene {
    let Joined::Leads(leader, first) = flights.join(&1, bound) else { panic!("the first leads") };
    let Joined::Follows(second) = flights.join(&1, bound) else { panic!("the second follows") };
    (leader, first, second)
}

#[test]
fn whoever_asks_reads_the_whole_result_in_every_order() {
    check(|| {
        let flights = All::new(10);
        let all: Vec<_> = (0..3).map(|_| asking(&flights)).collect();
        block_on(async {
            for asked in all {
                assert_eq!(asked.await.unwrap(), (RESULT.to_vec(), End::Complete));
            }
        });
    });
}

#[test]
fn a_newcomer_never_follows_work_that_was_given_up_for_want_of_readers() {
    check(|| {
        let flights = All::new(10);
        let Joined::Leads(leader, first) = flights.join(&1, 100) else { panic!("the first leads") };
        let working = spawn(work(leader));
        let leaving = spawn(async move { drop(first) });
        let newcomer = asking(&flights);
        block_on(async {
            assert_eq!(newcomer.await.unwrap(), (RESULT.to_vec(), End::Complete));
            leaving.await.unwrap();
            working.await.unwrap();
        });
    });
}

#[test]
fn a_reader_that_leaves_while_it_waits_takes_nobody_elses_wake_with_it() {
    check(|| {
        let flights = All::new(10);
        let (leader, first, mut leaving) = two_readers(&flights, 100);
        let gone = spawn(async move {
            let _registered_to_be_woken = leaving.next().now_or_never();
        });
        let newcomer = asking(&flights);
        let working = spawn(work(leader));
        block_on(async {
            gone.await.unwrap();
            assert_eq!(read(first).await, (RESULT.to_vec(), End::Complete));
            assert_eq!(newcomer.await.unwrap(), (RESULT.to_vec(), End::Complete));
            assert!(working.await.unwrap());
        });
    });
}

#[test]
fn a_leader_that_waits_for_room_goes_on_whoever_reads_or_leaves_last() {
    check(|| {
        let flights = All::new(10);
        let (leader, first, mut leaving) = two_readers(&flights, 1);
        let gone = spawn(async move {
            let _first_bytes = leaving.next().await;
        });
        let working = spawn(work(leader));
        block_on(async {
            assert_eq!(read(first).await, (RESULT.to_vec(), End::Complete));
            gone.await.unwrap();
            assert!(working.await.unwrap());
        });
    });
}
