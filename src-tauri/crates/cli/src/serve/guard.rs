//! Who may speak to the bridge: holders of the token, from this machine's own name.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::Bridge;

/// Bytes of randomness in a token.
const TOKEN_BYTES: usize = 32;

/// The token of this run, and the names under which the bridge may be reached.
pub(super) struct Guard {
    token: String,
    hosts: [String; 2],
}

impl Guard {
    /// A fresh token from the system's random numbers.
    pub(super) fn new(port: u16) -> std::io::Result<Self> {
        let mut bytes = [0_u8; TOKEN_BYTES];
        getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
        let token = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { token, hosts: [format!("127.0.0.1:{port}"), format!("localhost:{port}")] })
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// Compares in a time that does not depend on how much agrees.
    pub(super) fn admits(&self, token: &str) -> bool {
        token.len() == self.token.len()
            && token.bytes().zip(self.token.bytes()).fold(0_u8, |differs, (a, b)| differs | (a ^ b)) == 0
    }

    /// Whether the request is addressed to this machine, and comes from our own page if it comes from any.
    fn local(&self, headers: &HeaderMap) -> bool {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let host_ok = text(header::HOST).is_some_and(|host| self.hosts.iter().any(|known| known == host));
        let origin_ok = text(header::ORIGIN).is_none_or(|origin| {
            origin.strip_prefix("http://").is_some_and(|host| self.hosts.iter().any(|known| known == host))
        });
        host_ok && origin_ok
    }
}

/// Turns away requests under a foreign name (DNS rebinding) or from a foreign page.
pub(super) async fn check_host(State(bridge): State<Bridge>, request: Request, next: Next) -> Response {
    if bridge.guard.local(request.headers()) {
        next.run(request).await
    } else {
        (StatusCode::FORBIDDEN, "This address serves its own page on this machine only.\n").into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_is_admitted() {
        let guard = Guard::new(1).expect("the system has random numbers");
        let token = guard.token().to_owned();
        assert_eq!(token.len(), 2 * TOKEN_BYTES);
        assert!(guard.admits(&token));
        assert!(!guard.admits(""));
        assert!(!guard.admits(&token[1..]));
        assert!(!guard.admits(&token.replace(token.chars().next().expect("not empty"), "z")));
        assert_ne!(Guard::new(1).expect("random").token(), token);
    }

    #[test]
    fn foreign_names_and_pages_are_turned_away() {
        let guard = Guard::new(7).expect("the system has random numbers");
        let local = |host: &str, origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().expect("valid"));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().expect("valid"));
            }
            guard.local(&headers)
        };
        assert!(local("127.0.0.1:7", None));
        assert!(local("localhost:7", Some("http://localhost:7")));
        assert!(!local("evil.example:7", None));
        assert!(!local("127.0.0.1:8", None));
        assert!(!local("127.0.0.1:7", Some("http://evil.example")));
        assert!(!local("127.0.0.1:7", Some("null")));
        assert!(!guard.local(&HeaderMap::new()));
    }
}
