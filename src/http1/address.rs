//! Where a server listens: TCP or a Unix socket.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// `host:port` or `unix:/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A host name or IP address with a port. Names are resolved for each connection.
    Tcp(String),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

/// An address that is neither form.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("write host:port, such as 127.0.0.1:8000, or unix:/path/to/socket")]
pub struct NotAnAddress;

impl FromStr for Address {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            return if path.is_absolute() { Ok(Self::Unix(path)) } else { Err(NotAnAddress) };
        }
        let (host, port) = text.rsplit_once(':').ok_or(NotAnAddress)?;
        let host_is_plain = !host.is_empty() && !host.contains('/') && (!host.contains(':') || host.starts_with('['));
        match port.parse::<u16>() {
            Ok(port) if host_is_plain && port > 0 => Ok(Self::Tcp(text.to_owned())),
            _ => Err(NotAnAddress),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_everything_else_is_refused() {
        assert_eq!("127.0.0.1:8000".parse(), Ok(Address::Tcp("127.0.0.1:8000".into())));
        assert_eq!("[::1]:80".parse(), Ok(Address::Tcp("[::1]:80".into())));
        assert_eq!("unix:/run/app.sock".parse(), Ok(Address::Unix("/run/app.sock".into())));
        for bad in ["", "8000", "host", ":80", "::1:80", "http://a:80", "unix:app.sock", "a:0", "a:70000"] {
            assert_eq!(bad.parse::<Address>(), Err(NotAnAddress), "{bad}");
        }
    }
}
