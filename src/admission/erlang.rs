//! What a pool of workers should do under a load, by queueing theory: pure functions of numbers. Loads are in Erlangs,
//! the mean number of workers that are busy.

/// The most workers that are tried when a number of them is looked for.
const MOST_WORKERS: usize = 1_000_000;

/// Erlang B: the share of arrivals that find all of `workers` busy where nobody waits. By the recursion over the number of
/// workers, which is stable for any of them (Angus, "An introduction to Erlang B and Erlang C", 2001).
fn erlang_b(workers: usize, load: f64) -> f64 {
    (1..=workers).fold(1.0, |blocked, n| {
        let offered = load * blocked;
        offered / (n as f64 + offered)
    })
}

/// Erlang C: the share of arrivals that must wait for one of `workers`, all waiting patiently. 1 where more comes than
/// they can do.
pub(super) fn erlang_c(workers: usize, load: f64) -> f64 {
    waiting_share(erlang_b(workers, load), workers, load)
}

fn waiting_share(blocked: f64, workers: usize, load: f64) -> f64 {
    let utilisation = load / workers as f64;
    if utilisation >= 1.0 { 1.0 } else { blocked / (1.0 - utilisation * (1.0 - blocked)) }
}

/// The mean wait, in units of the mean service time, of arrivals at random (Poisson) at `workers` workers whose service
/// times have the squared coefficient of variation `variation`: 0 where all take equally long, 1 for the exponential.
/// `None` where more comes than they can do.
///
/// Between the two it is a mean of both (Cosmetatos, "Some approximate equilibrium results for the multi-server queue
/// (M/G/r)", 1976); above 1 the exponential's wait grows with the variation (Allen and Cunneen).
pub(super) fn wait(workers: usize, load: f64, variation: f64) -> Option<f64> {
    let free = workers as f64 - load;
    if free <= 0.0 {
        return None;
    }
    let exponential = erlang_c(workers, load) / free;
    let constant = exponential / 2.0 * constant_service(workers, load);
    let variation = variation.max(0.0);
    Some(match variation {
        0.0..1.0 => variation * exponential + (1.0 - variation) * constant,
        _ => exponential * (1.0 + variation) / 2.0,
    })
}

/// By how much the wait with equal service times is more than half that with exponential ones (Cosmetatos, as above).
fn constant_service(workers: usize, load: f64) -> f64 {
    let servers = workers as f64;
    let utilisation = load / servers;
    if load <= 0.0 {
        return 1.0;
    }
    let term = (1.0 - utilisation) * (servers - 1.0) * ((4.0 + 5.0 * servers).sqrt() - 2.0) / (16.0 * servers);
    // The approximation grows without bound in light traffic, where nobody waits anyway.
    1.0 + (term / utilisation).min(1.0)
}

/// The fewest workers at which no more than `share` of the arrivals of a load wait.
pub(super) fn workers_needed(load: f64, share: f64) -> usize {
    if load <= 0.0 {
        return 0;
    }
    let mut blocked = 1.0;
    for workers in 1..=MOST_WORKERS {
        let offered = load * blocked;
        blocked = offered / (workers as f64 + offered);
        if waiting_share(blocked, workers, load) <= share {
            return workers;
        }
    }
    MOST_WORKERS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, expected: f64, tolerance: f64) -> bool {
        (found / expected - 1.0).abs() <= tolerance
    }

    /// From the closed formula, summed by hand.
    fn erlang_c_by_sum(workers: usize, load: f64) -> f64 {
        let mut term = 1.0;
        let mut sum = 0.0;
        for n in 0..workers {
            sum += term;
            term *= load / (n as f64 + 1.0);
        }
        let last = term * workers as f64 / (workers as f64 - load);
        last / (sum + last)
    }

    #[test]
    fn the_share_that_waits_is_that_of_the_tables() {
        assert!(near(erlang_c(10, 8.0), 0.4092, 0.001), "{}", erlang_c(10, 8.0));
        assert!(near(erlang_c(1, 0.5), 0.5, 1e-12), "with one worker it is the utilisation");
        assert!(near(erlang_c(2, 1.0), 1.0 / 3.0, 1e-12));
        for (workers, load) in [(4, 2.8), (4, 3.4), (16, 12.0), (100, 90.0)] {
            assert!(near(erlang_c(workers, load), erlang_c_by_sum(workers, load), 1e-9), "{workers} {load}");
        }
        assert_eq!(erlang_c(4, 5.0), 1.0);
    }

    #[test]
    fn thousands_of_workers_are_no_trouble() {
        let share = erlang_c(5_000, 4_900.0);
        assert!((0.0..1.0).contains(&share), "{share}");
        assert_eq!(erlang_c(5_000, 0.0), 0.0);
    }

    #[test]
    fn the_wait_with_one_worker_is_that_of_pollaczek_and_khinchine() {
        for variation in [0.0, 0.25, 0.5, 1.0, 4.0] {
            let (load, expected) = (0.8, 0.8 / 0.2 * (1.0 + variation) / 2.0);
            assert!(near(wait(1, load, variation).unwrap(), expected, 1e-9), "{variation}");
        }
    }

    #[test]
    fn the_wait_with_equal_service_times_is_that_of_the_exact_tables() {
        // M/D/c, exact by Crommelin's Markov chain, mean waits in service times.
        for (workers, utilisation, expected) in
            [(2, 0.5, 0.1767), (2, 0.8, 0.9034), (2, 0.9, 2.1468), (4, 0.7, 0.1897), (5, 0.8, 0.2891)]
        {
            let found = wait(workers, utilisation * workers as f64, 0.0).unwrap();
            assert!(near(found, expected, 0.03), "{workers} at {utilisation}: {found}, not {expected}");
        }
    }

    #[test]
    fn what_cannot_be_done_has_no_mean_wait() {
        assert_eq!(wait(4, 4.0, 1.0), None);
        assert_eq!(wait(4, 9.0, 0.0), None);
        assert_eq!(wait(4, 0.0, 0.0), Some(0.0));
    }

    #[test]
    fn the_workers_needed_are_the_fewest_that_do() {
        for load in [0.1, 1.0, 7.5, 300.0] {
            let needed = workers_needed(load, 0.05);
            assert!(erlang_c(needed, load) <= 0.05);
            assert!(erlang_c(needed - 1, load) > 0.05, "{load}");
        }
        assert_eq!(workers_needed(0.0, 0.05), 0);
    }
}
