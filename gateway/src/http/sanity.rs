//! Requests that no client sends by mistake, and that two readers could understand differently.

use super::failure::Failure;
use http::header::HOST;
use http::{Request, StatusCode, Version};

const HOSTS: Failure =
    Failure(StatusCode::BAD_REQUEST, "InvalidRequest", "A request must have exactly one Host.");
const ESCAPES: Failure =
    Failure(StatusCode::BAD_REQUEST, "InvalidURI", "Couldn't parse the specified URI.");

/// What is wrong with the head of a request, if anything is.
pub(super) fn problem<B>(request: &Request<B>) -> Option<Failure> {
    let hosts = request.headers().get_all(HOST).iter().count();
    // RFC 9112, section 3.2. Later versions of HTTP may say it by `:authority` only.
    if hosts > 1 || (hosts == 0 && request.version() == Version::HTTP_11) {
        return Some(HOSTS);
    }
    (!has_sound_escapes(request.uri().path())).then_some(ESCAPES)
}

/// Whether every percent sign begins an escape. `s3s` takes others for themselves, so that
/// `/b/50%` and `/b/50%25` would be the same object for us, but not for whoever stands before us.
fn has_sound_escapes(path: &str) -> bool {
    path.split('%').skip(1).all(|rest| {
        rest.get(..2).is_some_and(|escape| escape.bytes().all(|c| c.is_ascii_hexdigit()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_percent_sign_begins_an_escape() {
        for sound in ["/", "/b/a%2Fb", "/b/%c3%A9", "/b/%252e", "/b/%25"] {
            assert!(has_sound_escapes(sound), "{sound}");
        }
        for broken in ["/b/50%", "/b/%2", "/b/%zz", "/b/%%20", "/b/%é", "/b/%2é"] {
            assert!(!has_sound_escapes(broken), "{broken}");
        }
    }

    #[test]
    fn there_is_one_host() {
        let request = |version: Version, hosts: &[&str]| {
            let mut request = Request::builder().version(version).uri("/b/k");
            for host in hosts {
                request = request.header(HOST, *host);
            }
            problem(&request.body(()).unwrap())
        };
        assert_eq!(request(Version::HTTP_11, &["a"]), None);
        assert_eq!(request(Version::HTTP_10, &[]), None);
        assert_eq!(request(Version::HTTP_2, &[]), None);
        assert_eq!(request(Version::HTTP_11, &[]), Some(HOSTS));
        assert_eq!(request(Version::HTTP_11, &["a", "b"]), Some(HOSTS));
        assert_eq!(request(Version::HTTP_2, &["a", "a"]), Some(HOSTS));
    }
}
