use super::*;
use tokio::sync::mpsc;

fn gate(workers: usize, capacity: usize, bulkheads: &[usize]) -> Arc<Admission> {
    let config = Config { workers, capacity, resume_capacity: capacity };
    let gate = Admission::new(config, &Registry::new().unwrap());
    let named: Vec<_> = bulkheads.iter().enumerate().map(|(n, limit)| (format!("/{n}/**"), *limit)).collect();
    let places = gate.reconfigure(config, &named);
    assert_eq!(places, (0..bulkheads.len()).map(Bulkhead).collect::<Vec<_>>());
    gate
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

/// Queues a request that reports `name` when it is admitted and then leaves at once.
async fn queue(gate: &Arc<Admission>, class: Class, name: &'static str, order: &mpsc::UnboundedSender<&'static str>) {
    let (gate2, order) = (Arc::clone(gate), order.clone());
    let before = gate.waiting();
    tokio::spawn(async move {
        let permit = gate2.admit(class, None, soon()).await.unwrap();
        order.send(name).unwrap();
        drop(permit);
    });
    while gate.waiting() == before {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn never_more_requests_run_than_workers_exist() {
    let gate = gate(2, 10, &[]);
    let one = gate.admit(Class::Interactive, None, soon()).await.unwrap();
    let _two = gate.admit(Class::Interactive, None, soon()).await.unwrap();
    let mut third = Box::pin(gate.admit(Class::Interactive, None, soon()));
    assert!(tokio::time::timeout(Duration::from_millis(1), &mut third).await.is_err());
    drop(one);
    third.await.unwrap();
    assert_eq!(gate.busy(), 1);
}

#[tokio::test(start_paused = true)]
async fn resumed_exchanges_go_before_interactive_ones_and_those_before_batch() {
    let gate = gate(1, 10, &[]);
    let running = gate.admit(Class::Interactive, None, soon()).await.unwrap();
    let (order, mut seen) = mpsc::unbounded_channel();
    queue(&gate, Class::Batch, "batch", &order).await;
    queue(&gate, Class::Interactive, "interactive", &order).await;
    queue(&gate, Class::Resume, "older resume", &order).await;
    queue(&gate, Class::Resume, "newer resume", &order).await;
    drop(running);
    for expected in ["older resume", "newer resume", "interactive", "batch"] {
        assert_eq!(seen.recv().await, Some(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn a_wave_of_resumes_leaves_every_fourth_turn_to_interactive_requests_and_none_to_batch() {
    let gate = gate(1, 10, &[]);
    let running = gate.admit(Class::Interactive, None, soon()).await.unwrap();
    let (order, mut seen) = mpsc::unbounded_channel();
    queue(&gate, Class::Batch, "batch", &order).await;
    for name in ["interactive 1", "interactive 2"] {
        queue(&gate, Class::Interactive, name, &order).await;
    }
    for _ in 0..8 {
        queue(&gate, Class::Resume, "resume", &order).await;
    }
    drop(running);
    let expected = [
        [["resume"; 3].as_slice(), &["interactive 1"]].concat(),
        [["resume"; 3].as_slice(), &["interactive 2"]].concat(),
        vec!["resume", "resume", "batch"],
    ]
    .concat();
    for expected in expected {
        assert_eq!(seen.recv().await, Some(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_newcomers_but_not_resumes() {
    let gate = gate(1, 1, &[]);
    let _running = gate.admit(Class::Interactive, None, soon()).await.unwrap();
    let (order, _seen) = mpsc::unbounded_channel();
    queue(&gate, Class::Batch, "takes the place", &order).await;
    let refused = gate.admit(Class::Interactive, None, soon()).await;
    assert!(matches!(refused, Err(Refusal::Full { .. })), "{refused:?}");
    queue(&gate, Class::Resume, "has places of its own", &order).await;
    assert_eq!(gate.waiting(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_at_its_deadline_and_frees_its_place() {
    let gate = gate(1, 1, &[]);
    let _running = gate.admit(Class::Interactive, None, soon()).await.unwrap();
    let refused = gate.admit(Class::Interactive, None, Instant::now() + Duration::from_secs(1)).await;
    assert!(matches!(refused, Err(Refusal::TimedOut { .. })), "{refused:?}");
    assert_eq!(gate.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_cannot_end_in_time_is_refused_at_once() {
    let gate = gate(1, 10, &[]);
    for _ in 0..50 {
        let slow = gate.admit(Class::Interactive, None, soon()).await.unwrap();
        tokio::time::advance(Duration::from_secs(5)).await;
        drop(slow);
    }
    let _running = gate.admit(Class::Interactive, None, soon()).await.unwrap();
    let refused = gate.admit(Class::Interactive, None, Instant::now() + Duration::from_secs(1)).await;
    assert!(matches!(refused, Err(Refusal::Hopeless { .. })), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn nobody_is_refused_for_what_a_cold_start_predicts() {
    let gate = gate(1, 10, &[]);
    let slow = gate.admit(Class::Interactive, None, soon()).await.unwrap();
    tokio::time::advance(Duration::from_secs(5)).await;
    drop(slow);
    let running = gate.admit(Class::Interactive, None, soon()).await.unwrap();
    let mut waiting = Box::pin(gate.admit(Class::Interactive, None, Instant::now() + Duration::from_secs(1)));
    assert!(tokio::time::timeout(Duration::from_millis(1), &mut waiting).await.is_err());
    drop(running);
    waiting.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn leaving_the_queue_frees_the_place_and_leaving_when_granted_frees_the_worker() {
    let gate = gate(1, 10, &[]);
    let running = gate.admit(Class::Interactive, None, soon()).await.unwrap();
    let mut leaver = Box::pin(gate.admit(Class::Interactive, None, soon()));
    assert!(tokio::time::timeout(Duration::from_millis(1), &mut leaver).await.is_err());
    assert_eq!(gate.waiting(), 1);
    drop(running); // grants the leaver, which has not noticed yet
    assert_eq!((gate.waiting(), gate.busy()), (0, 1));
    drop(leaver);
    assert_eq!(gate.busy(), 0);

    let _running = gate.admit(Class::Interactive, None, soon()).await.unwrap();
    let mut leaver = Box::pin(gate.admit(Class::Interactive, None, soon()));
    assert!(tokio::time::timeout(Duration::from_millis(1), &mut leaver).await.is_err());
    drop(leaver);
    assert_eq!((gate.waiting(), gate.busy()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_bulkhead_never_takes_more_than_its_share_and_never_blocks_others() {
    let gate = gate(2, 10, &[1]);
    let capped = Some(Bulkhead(0));
    let first = gate.admit(Class::Interactive, capped, soon()).await.unwrap();
    let mut second = Box::pin(gate.admit(Class::Interactive, capped, soon()));
    assert!(tokio::time::timeout(Duration::from_millis(1), &mut second).await.is_err());
    let free = gate.admit(Class::Batch, None, soon()).await.unwrap();
    assert_eq!(gate.busy(), 2);
    drop(free);
    assert!(tokio::time::timeout(Duration::from_millis(1), &mut second).await.is_err());
    drop(first);
    second.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn newest_goes_first_while_overloaded() {
    let gate = gate(1, 100, &[]);
    let far = || Instant::now() + Duration::from_secs(3600);
    let (order, mut seen) = mpsc::unbounded_channel::<u32>();
    let running = gate.admit(Class::Interactive, None, far()).await.unwrap();
    for n in 0..90 {
        let (gate2, order) = (Arc::clone(&gate), order.clone());
        tokio::spawn(async move {
            let permit = gate2.admit(Class::Interactive, None, far()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
            order.send(n).unwrap();
            drop(permit);
        });
        while gate.waiting() <= n as usize {
            tokio::task::yield_now().await;
        }
    }
    drop(running);
    let mut served = Vec::new();
    for _ in 0..90 {
        served.push(seen.recv().await.unwrap());
    }
    assert_eq!(served[0], 0, "oldest first before overload is established");
    let turn = served.windows(2).position(|pair| pair[1] > pair[0] + 1).expect("turns to newest first");
    assert_eq!(served[turn + 1], 89);
}

#[tokio::test(start_paused = true)]
async fn busy_seconds_are_the_exact_integral_of_busy_workers() {
    let registry = Registry::new().unwrap();
    let config = Config { workers: 2, capacity: 1, resume_capacity: 1 };
    let gate = Admission::new(config, &registry);
    let one = gate.admit(Class::Interactive, None, soon()).await.unwrap();
    tokio::time::advance(Duration::from_secs(3)).await;
    let two = gate.admit(Class::Interactive, None, soon()).await.unwrap();
    tokio::time::advance(Duration::from_secs(2)).await;
    drop(one);
    tokio::time::advance(Duration::from_secs(1)).await;
    gate.observe(Duration::ZERO);
    let text = registry.render().unwrap();
    assert!(text.contains("siding_workers_busy_seconds_total 8\n"), "{text}");
    assert!(text.contains("siding_workers_saturated_seconds_total 2\n"), "{text}");
    assert!(text.contains("siding_workers_busy 1\n"), "{text}");
    drop(two);
}

#[tokio::test(start_paused = true)]
async fn more_workers_take_those_who_wait_and_fewer_let_those_who_run_finish() {
    let gate = gate(1, 10, &[]);
    let first = gate.admit(Class::Interactive, None, soon()).await.unwrap();
    let mut second = Box::pin(gate.admit(Class::Interactive, None, soon()));
    assert!(tokio::time::timeout(Duration::from_millis(1), &mut second).await.is_err());
    gate.resize(2);
    let second = second.await.unwrap();
    gate.resize(1);
    assert_eq!(gate.busy(), 2);
    drop(first);
    let mut third = Box::pin(gate.admit(Class::Interactive, None, soon()));
    assert!(tokio::time::timeout(Duration::from_millis(1), &mut third).await.is_err(), "one runs and one may");
    drop(second);
    third.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_bulkhead_keeps_its_place_while_it_is_named_and_gives_it_up_when_it_is_empty() {
    let gate = gate(10, 10, &[1, 1]);
    let config = Config { workers: 10, capacity: 10, resume_capacity: 10 };
    let named = |names: &[(&str, usize)]| -> Vec<Bulkhead> {
        let named: Vec<_> = names.iter().map(|(name, limit)| ((*name).to_owned(), *limit)).collect();
        gate.reconfigure(config, &named)
    };
    let running = gate.admit(Class::Interactive, Some(Bulkhead(1)), soon()).await.unwrap();
    let mut waiting = Box::pin(gate.admit(Class::Interactive, Some(Bulkhead(1)), soon()));
    assert!(tokio::time::timeout(Duration::from_millis(1), &mut waiting).await.is_err());
    // The other order, and a higher limit: who waits may run, and the place is the same.
    assert_eq!(named(&[("/1/**", 2), ("/0/**", 1)]), [Bulkhead(1), Bulkhead(0)]);
    let waited = waiting.await.unwrap();
    // Gone while requests are in it: nobody else gets its place before they have left.
    assert_eq!(named(&[("/new/**", 1)]), [Bulkhead(0)]);
    assert_eq!(named(&[("/new/**", 1), ("/more/**", 1)]), [Bulkhead(0), Bulkhead(2)]);
    drop((running, waited));
    assert_eq!(named(&[("/new/**", 1), ("/other/**", 1)]), [Bulkhead(0), Bulkhead(1)]);
    assert_eq!(gate.busy(), 0);
}
