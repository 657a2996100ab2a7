//! `Cache-Status` (RFC 9211): how this cache handled a request.

use http::{HeaderName, HeaderValue};

use crate::time::Duration;

/// The header's name.
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// How a request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheStatus {
    /// From what was stored. `ttl` is how long it stays fresh; nothing left of it when it is stale.
    Hit {
        /// How long it stays fresh.
        ttl: Duration,
        /// How long it has been stale.
        stale: Duration,
    },
    /// By asking; nothing usable was stored.
    Miss {
        /// Another request had asked already.
        collapsed: bool,
    },
    /// By asking, because the request or its route said so.
    Bypass,
}

impl CacheStatus {
    /// The word for traces.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit { stale, .. } if stale.is_zero() => "hit",
            Self::Hit { .. } => "stale",
            Self::Miss { collapsed: false } => "miss",
            Self::Miss { collapsed: true } => "collapsed",
            Self::Bypass => "bypass",
        }
    }

    /// The header's value. `detail` says more about an unusual way; it must be a token.
    pub fn value(self, detail: Option<&'static str>) -> HeaderValue {
        let said = match self {
            Self::Hit { ttl, stale } if stale.is_zero() => format!("siding; hit; ttl={}", ttl.as_secs()),
            Self::Hit { stale, .. } => format!("siding; hit; ttl=-{}", stale.as_secs()),
            Self::Miss { collapsed: false } => "siding; fwd=miss".to_owned(),
            Self::Miss { collapsed: true } => "siding; fwd=miss; collapsed".to_owned(),
            Self::Bypass => "siding; fwd=bypass".to_owned(),
        };
        let said = detail.map_or(said.clone(), |detail| format!("{said}; detail={detail}"));
        HeaderValue::from_str(&said).expect("tokens and numbers are valid in a header")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_has_its_words() {
        let second = Duration::from_secs(1);
        let hit = CacheStatus::Hit { ttl: second * 7, stale: Duration::ZERO };
        assert_eq!(hit.value(None), "siding; hit; ttl=7");
        assert_eq!(CacheStatus::Hit { ttl: Duration::ZERO, stale: second }.value(None), "siding; hit; ttl=-1");
        assert_eq!(CacheStatus::Miss { collapsed: true }.value(None), "siding; fwd=miss; collapsed");
        assert_eq!(CacheStatus::Bypass.value(Some("range")), "siding; fwd=bypass; detail=range");
    }
}
