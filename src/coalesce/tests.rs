use super::*;
use bytes::Bytes;
use futures_util::FutureExt;
use proptest::prelude::*;

type All = Flights<&'static str, u16, &'static str>;

const ROOMY: usize = 1 << 20;

fn lead(flights: &All) -> (Leader<&'static str, u16, &'static str>, Reader<u16, &'static str>) {
    match flights.join(&"key", ROOMY) {
        Joined::Leads(leader, reader) => (leader, reader),
        other => panic!("not the first: {other:?}"),
    }
}

fn follow(flights: &All) -> Reader<u16, &'static str> {
    match flights.join(&"key", ROOMY) {
        Joined::Follows(reader) => reader,
        other => panic!("no flight to follow: {other:?}"),
    }
}

async fn rest(reader: &mut Reader<u16, &'static str>) -> (Vec<u8>, End<&'static str>) {
    let mut all = Vec::new();
    loop {
        match reader.next().await {
            Ok(bytes) => all.extend_from_slice(&bytes),
            Err(end) => return (all, end),
        }
    }
}

#[tokio::test]
async fn whoever_joins_late_reads_from_byte_0_and_then_live() {
    let flights = All::new(10);
    let (leader, mut first) = lead(&flights);
    leader.begin(200);
    leader.push(Bytes::from_static(b"ab")).await;
    assert_eq!(first.next().await, Ok(Bytes::from_static(b"ab")));
    leader.push(Bytes::from_static(b"cd")).await;
    let mut late = follow(&flights);
    assert_eq!(late.head().await, Ok(200));
    assert_eq!(late.next().await, Ok(Bytes::from_static(b"abcd")));
    let mut waiting = Box::pin(late.next());
    assert!(waiting.as_mut().now_or_never().is_none());
    leader.push(Bytes::from_static(b"ef")).await;
    assert_eq!(waiting.await, Ok(Bytes::from_static(b"ef")));
    leader.finish(End::Complete);
    assert_eq!(rest(&mut late).await, (vec![], End::Complete));
    assert_eq!(rest(&mut first).await, (b"cdef".to_vec(), End::Complete));
    assert!(flights.is_empty());
}

#[tokio::test]
async fn the_first_may_leave_and_the_others_get_everything() {
    let flights = All::new(10);
    let (leader, first) = lead(&flights);
    let mut second = follow(&flights);
    drop(first);
    assert!(leader.unwanted().now_or_never().is_none());
    leader.push(Bytes::from_static(b"all")).await;
    leader.finish(End::Complete);
    assert_eq!(rest(&mut second).await, (b"all".to_vec(), End::Complete));
}

#[tokio::test]
async fn work_that_nobody_wants_any_more_learns_it_and_the_next_starts_anew() {
    let flights = All::new(10);
    let (leader, first) = lead(&flights);
    let mut unwanted = Box::pin(leader.unwanted());
    assert!(unwanted.as_mut().now_or_never().is_none());
    drop(first);
    unwanted.await;
    let (_next, _reader) = lead(&flights);
    drop(leader);
    assert_eq!(flights.len(), 1, "the old flight's end leaves the new one in its place");
}

#[tokio::test]
async fn a_leader_that_vanishes_has_abandoned_its_readers() {
    let flights = All::new(10);
    let (leader, mut reader) = lead(&flights);
    leader.push(Bytes::from_static(b"half")).await;
    drop(leader);
    assert_eq!(reader.head().await, Err(End::Abandoned));
    assert_eq!(rest(&mut reader).await, (b"half".to_vec(), End::Abandoned));
    assert!(flights.is_empty());
}

#[tokio::test]
async fn a_failed_try_has_two_successors_while_others_wait_and_nothing_was_published() {
    let flights = All::new(10);
    let (leader, mut first) = lead(&flights);
    assert!(!leader.elect_successor(), "nobody else waits");
    let second = follow(&flights);
    assert!(leader.elect_successor());
    assert!(leader.elect_successor());
    assert!(!leader.elect_successor(), "two are enough");
    leader.finish(End::Failed("down"));
    assert_eq!(rest(&mut first).await.1, End::Failed("down"));
    drop(second);

    let (leader, _first) = lead(&flights);
    let _second = follow(&flights);
    leader.begin(200);
    assert!(!leader.elect_successor(), "something was published");
}

#[tokio::test]
async fn readers_are_capped_and_a_closed_flight_is_nobodys() {
    let flights = All::new(2);
    let (leader, _first) = lead(&flights);
    let _second = follow(&flights);
    assert!(matches!(flights.join(&"key", ROOMY), Joined::Full));
    leader.close();
    assert!(matches!(flights.join(&"key", ROOMY), Joined::Leads(..)));
}

#[tokio::test]
async fn above_its_bound_a_flight_takes_nobody_on_and_keeps_pace_with_the_slowest() {
    let flights = All::new(10);
    let Joined::Leads(leader, mut fast) = flights.join(&"key", 4) else { panic!() };
    let mut slow = follow(&flights);
    leader.push(Bytes::from_static(b"abcd")).await;
    assert_eq!(leader.whole(), Some(Bytes::from_static(b"abcd")));
    let mut pushing = Box::pin(leader.push(Bytes::from_static(b"e")));
    assert!(pushing.as_mut().now_or_never().is_none(), "no room");
    assert!(matches!(flights.join(&"key", 4), Joined::Leads(..)), "nobody joins any more");
    assert_eq!(fast.next().await, Ok(Bytes::from_static(b"abcde")));
    assert!(pushing.as_mut().now_or_never().is_none(), "the slow one needs it still");
    assert_eq!(slow.next().await, Ok(Bytes::from_static(b"abcde")));
    pushing.await;
    assert_eq!(leader.whole(), None, "the beginning is gone");
    leader.finish(End::Complete);
    assert_eq!(rest(&mut slow).await, (vec![], End::Complete));
}

#[tokio::test]
async fn a_slow_reader_that_leaves_makes_room() {
    let flights = All::new(10);
    let Joined::Leads(leader, mut fast) = flights.join(&"key", 1) else { panic!() };
    let slow = follow(&flights);
    let mut pushing = Box::pin(leader.push(Bytes::from_static(b"abc")));
    assert!(pushing.as_mut().now_or_never().is_none());
    assert_eq!(fast.next().await, Ok(Bytes::from_static(b"abc")));
    drop(slow);
    pushing.await;
}

/// What happens to a flight, in any order.
#[derive(Clone, Copy, Debug)]
enum Step {
    Push(u8),
    Join,
    Read(usize),
    Leave(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        any::<u8>().prop_map(Step::Push),
        Just(Step::Join),
        (0..6usize).prop_map(Step::Read),
        (0..6usize).prop_map(Step::Leave),
    ];
    proptest::collection::vec(step, 0..60)
}

proptest! {
    #[test]
    fn every_reader_reads_all_bytes_in_order_whenever_it_joins_and_however_it_reads(steps in steps()) {
        let flights = All::new(100);
        let (leader, first) = lead(&flights);
        let mut published = Vec::new();
        let mut readers = vec![(first, Vec::new())];
        for step in steps {
            match step {
                Step::Push(byte) => {
                    leader.push(Bytes::from(vec![byte])).now_or_never().unwrap();
                    published.push(byte);
                }
                Step::Join => readers.push((follow(&flights), Vec::new())),
                Step::Read(which) => {
                    let which = which % readers.len();
                    let (reader, seen) = &mut readers[which];
                    if let Some(Ok(bytes)) = reader.next().now_or_never() {
                        seen.extend_from_slice(&bytes);
                    }
                }
                Step::Leave(which) => {
                    if readers.len() > 1 {
                        readers.remove(which % readers.len());
                    }
                }
            }
        }
        leader.finish(End::Complete);
        for (mut reader, mut seen) in readers {
            let (more, end) = rest(&mut reader).now_or_never().unwrap();
            seen.extend(more);
            prop_assert_eq!(&seen, &published);
            prop_assert_eq!(end, End::Complete);
        }
        prop_assert!(flights.is_empty());
    }
}

#[tokio::test]
async fn a_leaders_companion_reads_along_and_learns_when_it_is_alone() {
    let flights = All::new(1);
    let (leader, first) = lead(&flights);
    let mut companion = leader.companion();
    assert!(!leader.elect_successor(), "nobody else waits");
    leader.begin(200);
    assert_eq!(companion.head_unless_alone().await, Some(Ok(200)));
    leader.push(Bytes::from_static(b"ab")).await;
    assert_eq!(companion.next_unless_alone().await, Some(Ok(Bytes::from_static(b"ab"))));
    let mut waiting = Box::pin(companion.next_unless_alone());
    assert!(waiting.as_mut().now_or_never().is_none());
    drop(first);
    assert_eq!(waiting.await, None);
    assert!(leader.unwanted().now_or_never().is_none(), "others may read by the companion");
    leader.push(Bytes::from_static(b"cd")).await;
    assert_eq!(companion.next_unless_alone().await, Some(Ok(Bytes::from_static(b"cd"))), "what is ready goes first");
    drop(companion);
    leader.unwanted().await;
}
