//! Where the servers are, as one line: `redis://host:6379/0`, `rediss://` with TLS, `redis+unix:///path`, and with
//! several servers `redis+sentinel://host:26379,other:26379/service/0` and `redis+cluster://host:6379,other:6379`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use ::redis::ConnectionAddr;

const REDIS: u16 = 6379;
const SENTINEL: u16 = 26379;

/// Servers, and how to find the one to ask.
#[derive(Clone, PartialEq, Eq)]
pub struct Servers {
    pub(super) kind: Kind,
    pub(super) is_tls: bool,
    /// The user's name; its password is no part of this.
    pub user: Option<String>,
    pub(super) database: i64,
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    One,
    Sentinel { service: String },
    Cluster,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Tcp(String, u16),
    Unix(PathBuf),
}

/// Why a text names no servers. It never says the text, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    /// The beginning.
    #[error(
        "write redis://host:6379/0, rediss:// for TLS, redis+unix:///path, redis+sentinel://host:26379,host/service/0 \
         or redis+cluster://host:6379,host:6379"
    )]
    Scheme,
    /// A secret where it does not belong.
    #[error("a password does not belong here: name the environment variable that holds it in redis.password_env")]
    Password,
    /// A server.
    #[error("each server is a name or an address, and a port behind a colon where it is another than the usual one")]
    Host,
    /// A database.
    #[error("the database is a number, and a cluster has only 0")]
    Database,
    /// A service.
    #[error("behind the sentinels comes the name of the service that they watch: redis+sentinel://host:26379/service")]
    Service,
}

impl Servers {
    pub(super) fn addresses(&self, _own_trust: bool) -> Vec<ConnectionAddr> {
        let address = |node: &Node| match node {
            Node::Unix(path) => ConnectionAddr::Unix(path.clone()),
            Node::Tcp(host, port) if self.is_tls => {
                ConnectionAddr::TcpTls { host: host.clone(), port: *port, insecure: false, tls_params: None }
            }
            Node::Tcp(host, port) => ConnectionAddr::Tcp(host.clone(), *port),
        };
        self.nodes.iter().map(address).collect()
    }
}

impl FromStr for Servers {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        let (scheme, rest) = text.split_once("://").ok_or(BadUrl::Scheme)?;
        let (is_tls, plain) = match scheme.strip_prefix("rediss") {
            Some(rest) => (true, rest),
            None => (false, scheme.strip_prefix("redis").ok_or(BadUrl::Scheme)?),
        };
        let (user, rest) = match rest.split_once('@') {
            Some((user, _)) if user.contains(':') => return Err(BadUrl::Password),
            Some((user, rest)) => (Some(user.to_owned()).filter(|user| !user.is_empty()), rest),
            None => (None, rest),
        };
        if plain == "+unix" {
            let nodes = vec![Node::Unix(PathBuf::from(rest))];
            let is_path = !is_tls && rest.starts_with('/');
            return if is_path {
                Ok(Self { kind: Kind::One, is_tls, user, database: 0, nodes })
            } else {
                Err(BadUrl::Host)
            };
        }
        let mut parts = rest.trim_end_matches('/').split('/');
        let hosts = parts.next().unwrap_or_default();
        let (kind, port) = match plain {
            "" => (Kind::One, REDIS),
            "+cluster" => (Kind::Cluster, REDIS),
            "+sentinel" => {
                let service = parts.next().filter(|service| !service.is_empty()).ok_or(BadUrl::Service)?.to_owned();
                (Kind::Sentinel { service }, SENTINEL)
            }
            _ => return Err(BadUrl::Scheme),
        };
        let database = parts.next().map_or(Ok(0), str::parse::<u16>).map_err(|_| BadUrl::Database)?.into();
        let nodes = hosts.split(',').map(|host| node(host, port)).collect::<Result<Vec<_>, _>>()?;
        match (&kind, nodes.len(), database) {
            (Kind::One, 2.., _) => return Err(BadUrl::Scheme),
            (Kind::Cluster, _, 1..) => return Err(BadUrl::Database),
            _ if parts.next().is_some() => return Err(BadUrl::Database),
            _ => {}
        }
        Ok(Self { kind, is_tls, user, database, nodes })
    }
}

fn node(text: &str, usual: u16) -> Result<Node, BadUrl> {
    let (host, port) = match text.rsplit_once(':') {
        // A colon within brackets is the address's.
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| BadUrl::Host)?),
        _ => (text, usual),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_name = !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || ".-_:".contains(c));
    if is_name { Ok(Node::Tcp(host.to_owned(), port)) } else { Err(BadUrl::Host) }
}

impl fmt::Display for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, node) in self.nodes.iter().enumerate() {
            f.write_str(if number > 0 { "," } else { "" })?;
            match node {
                Node::Tcp(host, port) => write!(f, "{host}:{port}")?,
                Node::Unix(path) => write!(f, "{}", path.display())?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Servers({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(Kind, bool, i64, String), BadUrl> {
        let servers: Servers = text.parse()?;
        Ok((servers.kind.clone(), servers.is_tls, servers.database, servers.to_string()))
    }

    #[test]
    fn servers_are_read_with_the_usual_ports() {
        let service = || Kind::Sentinel { service: "main".into() };
        for (text, expected) in [
            ("redis://cache", (Kind::One, false, 0, "cache:6379")),
            ("rediss://app@cache:7000/3", (Kind::One, true, 3, "cache:7000")),
            ("redis://[::1]:7000/", (Kind::One, false, 0, "::1:7000")),
            ("redis+unix:///run/redis.sock", (Kind::One, false, 0, "/run/redis.sock")),
            ("redis+sentinel://a,b:7/main/2", (service(), false, 2, "a:26379,b:7")),
            ("rediss+cluster://a,b", (Kind::Cluster, true, 0, "a:6379,b:6379")),
        ] {
            let (kind, is_tls, database, shown) = expected;
            assert_eq!(read(text), Ok((kind, is_tls, database, shown.to_owned())), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_the_text() {
        for (text, why) in [
            ("cache:6379", BadUrl::Scheme),
            ("http://cache", BadUrl::Scheme),
            ("redis+ring://cache", BadUrl::Scheme),
            ("redis://a,b", BadUrl::Scheme),
            ("redis://user:hunter2@cache", BadUrl::Password),
            ("redis://", BadUrl::Host),
            ("redis://cache:port", BadUrl::Host),
            ("redis://ca che", BadUrl::Host),
            ("redis+unix://path", BadUrl::Host),
            ("redis://cache/x", BadUrl::Database),
            ("redis+cluster://a/1", BadUrl::Database),
            ("redis://cache/1/2", BadUrl::Database),
            ("redis+sentinel://a", BadUrl::Service),
        ] {
            assert_eq!(read(text), Err(why), "{text}");
            assert!(!why.to_string().contains("hunter2"));
        }
    }
}
