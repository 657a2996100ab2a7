//! The kernel's accept queue of the app, and what it dropped, from `/proc/net`: visible from any process in the same
//! network namespace, so from a sidecar.

use procfs::net::{TcpNetEntry, TcpState};

use super::Unseen;
use super::metrics::Metrics;
use crate::http1::Address;

/// Counters of TCP beyond the standard's.
const NETSTAT: &str = "/proc/net/netstat";

/// The port of an app on this machine. One elsewhere has its queue elsewhere, too.
pub(super) fn port(address: &Address) -> Option<u16> {
    let Address::Tcp(address) = address else { return None };
    let (host, port) = address.rsplit_once(':')?;
    let is_here = host == "localhost"
        || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    port.parse().ok().filter(|_| is_here)
}

pub(super) fn look(port: u16, metrics: &Metrics) -> Result<(), Unseen> {
    let waiting: Vec<u32> = listeners(port)?.iter().map(|listener| listener.rx_queue).collect();
    if !waiting.is_empty() {
        metrics.backlog(waiting.iter().sum());
    }
    if let Some(total) = std::fs::read_to_string(NETSTAT).ok().and_then(|text| overflows(&text)) {
        metrics.overflows(total);
    }
    Ok(())
}

/// Who listens on a port.
pub(super) fn listeners(port: u16) -> Result<Vec<TcpNetEntry>, Unseen> {
    let failed = |error: procfs::ProcError| Unseen::Failed(error.to_string());
    let mut entries = procfs::net::tcp().map_err(failed)?;
    entries.extend(procfs::net::tcp6().unwrap_or_default()); // there may be no IPv6
    entries.retain(|entry| entry.state == TcpState::Listen && entry.local_address.port() == port);
    Ok(entries)
}

/// `ListenOverflows`: each prefix has a line of names and one of values.
fn overflows(netstat: &str) -> Option<u64> {
    let mut lines = netstat.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let position = names.split_whitespace().position(|name| name == "ListenOverflows")?;
    values.split_whitespace().nth(position)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_app_on_this_machine_has_its_queue_here() {
        let port_of = |text: &str| port(&text.parse().unwrap());
        assert_eq!(port_of("127.0.0.1:8000"), Some(8000));
        assert_eq!(port_of("localhost:8000"), Some(8000));
        assert_eq!(port_of("[::1]:8000"), Some(8000));
        assert_eq!(port_of("app.example:8000"), None);
        assert_eq!(port_of("10.0.0.7:8000"), None);
        assert_eq!(port_of("unix:/run/app.sock"), None);
    }

    #[test]
    fn a_counter_is_found_by_its_name() {
        let text = "TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 1 22 3\nIpExt: InMcast\nIpExt: 9\n";
        assert_eq!(overflows(text), Some(22));
        assert_eq!(overflows("TcpExt: SyncookiesSent\nTcpExt: 1\n"), None);
        assert_eq!(overflows(""), None);
    }

    #[test]
    fn connections_that_nobody_accepts_are_counted() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let _waiting: Vec<_> = (0..3).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        let found: u32 = listeners(address.port()).unwrap().iter().map(|listener| listener.rx_queue).sum();
        assert_eq!(found, 3);
    }
}
