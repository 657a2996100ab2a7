//! Which new traces are sampled: as a share of all, and by the trace's identity, so that others who go by the same rule
//! come to the same verdict (OpenTelemetry's `TraceIdRatioBased`).

use super::context::TraceId;

/// A share of all traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ratio {
    /// Identities whose lower 63 bits are below this.
    below: u64,
}

impl Ratio {
    /// Of a share from 0 to 1.
    pub(super) fn new(share: f64) -> Self {
        #[expect(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "it lies within 0 and 2^63")]
        let below = (share.clamp(0.0, 1.0) * (1_u64 << 63) as f64) as u64;
        Self { below }
    }

    pub(super) fn samples(self, trace: &TraceId) -> bool {
        let [.., a, b, c, d, e, f, g, h] = *trace.as_bytes();
        u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1 < self.below
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::SpanContext;

    fn sampled(share: f64) -> usize {
        fastrand::seed(7);
        let ratio = Ratio::new(share);
        (0..10_000).filter(|_| SpanContext::begin(|trace| ratio.samples(trace)).is_sampled()).count()
    }

    #[test]
    fn about_the_share_is_sampled_and_at_the_ends_none_or_all() {
        assert_eq!((sampled(0.0), sampled(1.0)), (0, 10_000));
        let tenth = sampled(0.1);
        assert!((900..1100).contains(&tenth), "{tenth}");
    }

    #[test]
    fn a_trace_that_a_small_share_samples_a_larger_one_samples_too() {
        let (small, large) = (Ratio::new(0.1), Ratio::new(0.5));
        for _ in 0..1000 {
            let trace = SpanContext::begin(|_| true).trace;
            assert!(!small.samples(&trace) || large.samples(&trace));
        }
    }
}
