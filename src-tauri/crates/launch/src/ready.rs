//! Whether an engine is ready, by its own word: 200 from its health endpoint. llama-server says 503 while it loads.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use dualgpuopt_core::command::LaunchSpec;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};

use crate::port;

/// Pause between two questions, at first and at most.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// How long a connection and a whole answer may take. The endpoint is on this machine and answers from memory.
const CONNECT_MAX: Duration = Duration::from_secs(1);
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// The address to ask. An engine that listens on all addresses is asked on loopback.
fn health_url(spec: &LaunchSpec) -> Option<Url> {
    let host = match port::address(&spec.host).ok()? {
        IpAddr::V4(address) if address.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(address) if address.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        address => address,
    };
    let path = spec.health_path.trim_start_matches('/');
    Url::parse(&format!("http://{}/{path}", SocketAddr::new(host, spec.port))).ok()
}

/// Asks until the answer is yes. Never gives up by itself: a large model from a slow disk takes many minutes, and the end
/// of the process ends the question. No proxy, no redirect, and the answer's body is not read.
///
/// # Errors
/// The address cannot be made, or no client can; in words.
pub(crate) async fn ready(spec: &LaunchSpec) -> Result<(), String> {
    let url = health_url(spec).ok_or_else(|| format!("{} is not an address to ask", spec.url()))?;
    let client = Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .connect_timeout(CONNECT_MAX)
        .timeout(ANSWER_MAX)
        .pool_max_idle_per_host(0)
        .build()
        .map_err(|error| error.to_string())?;
    let mut pause = PAUSE_MIN;
    loop {
        let answer = client.get(url.clone()).send().await;
        if answer.is_ok_and(|answer| answer.status() == StatusCode::OK) {
            return Ok(());
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(PAUSE_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_on_all_addresses_is_asked_on_loopback() {
        for (host, want) in [
            ("127.0.0.1", "http://127.0.0.1:8080/health"),
            ("localhost", "http://127.0.0.1:8080/health"),
            ("0.0.0.0", "http://127.0.0.1:8080/health"),
            ("::", "http://[::1]:8080/health"),
            ("192.168.1.9", "http://192.168.1.9:8080/health"),
        ] {
            let spec = LaunchSpec {
                title: String::new(),
                program: String::new(),
                args: Vec::new(),
                env: Vec::new(),
                host: host.into(),
                port: 8080,
                health_path: "/health".into(),
            };
            assert_eq!(health_url(&spec).map(String::from).as_deref(), Some(want));
        }
    }
}
