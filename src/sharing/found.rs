//! How a request that did no work of its own shows in its trace: as a span since it asked, with a link to the span of
//! whoever did the work, which belongs to another trace.

use super::Answer;
use crate::cache::CacheStatus;
use crate::time::SystemTime;
use crate::trace::{Kind, Span, SpanContext, Tracer};

impl<E> Answer<E> {
    /// The span below `asker` of an answer that was stored, or that another fetched. Of one's own work there is none:
    /// that has spans itself.
    pub fn found(&self, tracer: &Tracer, asker: &SpanContext, since: SystemTime) -> Span {
        let (name, leader) = match self {
            Self::Stored { .. } => ("cached answer", SpanContext::NONE),
            Self::Live { head, status: CacheStatus::Miss { collapsed: true }, .. } => ("shared answer", head.leader),
            Self::Live { .. } => return Span::NONE,
        };
        let (Self::Stored { status, .. } | Self::Live { status, .. }) = self;
        let span = tracer.child_since(asker, name, Kind::Internal, since);
        span.set("siding.cache.result", status.as_str());
        span.link(leader);
        span
    }
}
