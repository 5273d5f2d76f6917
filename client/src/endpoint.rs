//! The one server a client talks to.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Scheme, host and port of the gateway. A client never sends anything anywhere else.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    secure: bool,
    host: String,
    port: u16,
}

/// Why a text is no usable endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Not of the form `https://host[:port]`.
    #[error("`{0}` is not an endpoint: write https://HOST or https://HOST:PORT")]
    Malformed(String),
    /// Credentials and data would cross a network in the clear.
    #[error(
        "`{0}` is not encrypted: http:// is accepted for this machine only (localhost, 127.0.0.1, \
         [::1]); use https://"
    )]
    Plaintext(String),
}

impl Endpoint {
    /// Whether the endpoint is reached over TLS.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Host name or address, IPv6 without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// TCP and UDP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether `uri` leads to this endpoint.
    pub(crate) fn serves(&self, uri: &http::Uri) -> bool {
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return false,
        };
        secure == self.secure
            && uri.host().is_some_and(|host| bare_host(host).eq_ignore_ascii_case(&self.host))
            && uri.port_u16().unwrap_or(default_port(secure)) == self.port
    }
}

/// Whether `host` can only be this machine.
fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn bare_host(host: &str) -> &str {
    host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host)
}

fn default_port(secure: bool) -> u16 {
    if secure { 443 } else { 80 }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let malformed = || EndpointError::Malformed(text.to_owned());
        let uri: http::Uri = text.parse().map_err(|_| malformed())?;
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(malformed()),
        };
        let authority = uri.authority().ok_or_else(malformed)?;
        if uri.path() != "/" || uri.query().is_some() || authority.as_str().contains('@') {
            return Err(malformed());
        }
        let host = bare_host(authority.host()).to_ascii_lowercase();
        if host.is_empty() {
            return Err(malformed());
        }
        if !secure && !is_loopback(&host) {
            return Err(EndpointError::Plaintext(text.to_owned()));
        }
        let port = match authority.port_u16() {
            Some(port) => port,
            // A port that is not a number of 16 bits would otherwise pass for no port at all.
            None if authority.as_str().len() > authority.host().len() => return Err(malformed()),
            None => default_port(secure),
        };
        Ok(Self { secure, host, port })
    }
}

impl fmt::Display for Endpoint {
    /// The canonical URL: no trailing slash, the scheme's default port left out. The signature of
    /// a request covers the host in this form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]", self.host)?;
        } else {
            write!(f, "{scheme}://{}", self.host)?;
        }
        if self.port != default_port(self.secure) {
            write!(f, ":{}", self.port)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_form() {
        for (text, canonical) in [
            ("https://store.example", "https://store.example"),
            ("https://Store.Example:443/", "https://store.example"),
            ("https://127.0.0.1:9000", "https://127.0.0.1:9000"),
            ("https://[::1]:9000", "https://[::1]:9000"),
            ("http://localhost:9000", "http://localhost:9000"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), canonical);
        }
    }

    #[test]
    fn plain_http_stays_on_this_machine() {
        assert!("http://127.0.0.1:1".parse::<Endpoint>().is_ok());
        assert!("http://[::1]:1".parse::<Endpoint>().is_ok());
        for text in
            ["http://10.0.0.1:9000", "http://store.example", "http://127.0.0.1.evil.example"]
        {
            assert_eq!(text.parse::<Endpoint>(), Err(EndpointError::Plaintext(text.to_owned())));
        }
    }

    #[test]
    fn refuses_paths_users_and_other_schemes() {
        for text in [
            "store.example",
            "ftp://a",
            "https://a/b",
            "https://a?b",
            "https://u:p@a",
            "https://a:70000",
            "",
        ] {
            assert_eq!(text.parse::<Endpoint>(), Err(EndpointError::Malformed(text.to_owned())));
        }
    }

    #[test]
    fn serves_only_its_own_origin() {
        let endpoint: Endpoint = "https://a:9000".parse().unwrap();
        assert!(endpoint.serves(&"https://A:9000/b/k".parse().unwrap()));
        for other in ["https://b:9000/", "https://a/", "http://a:9000/", "/k"] {
            assert!(!endpoint.serves(&other.parse().unwrap()), "{other}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_accepted_reads_back_as_it_prints(
            text in "(https?://)?([a-z]{0,8}|\\[[0-9a-f:]{0,12}\\]|[0-9.]{0,15})(:[0-9]{0,6})?/?|\\PC*",
        ) {
            if let Ok(endpoint) = text.parse::<Endpoint>() {
                proptest::prop_assert_eq!(endpoint.to_string().parse::<Endpoint>(), Ok(endpoint));
            }
        }
    }
}
