//! Whether a port can be listened on. A race with others remains between the look and the engine's own bind; then the
//! engine says so in its log, and the reason is recognised there.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

/// Whether `host:port` can be listened on now.
///
/// # Errors
/// Any refusal other than *in use*: no right to the port (below 1024), or an address that is not of this machine.
pub fn is_free(host: IpAddr, port: u16) -> io::Result<bool> {
    match TcpListener::bind(SocketAddr::new(host, port)) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(false),
        Err(error) => Err(error),
    }
}

/// The first loopback port from `from` on that is free and not in `taken` (ports promised to engines that do not listen
/// yet). Absent where none is left up to 65535.
#[must_use]
pub fn first_free(from: u16, taken: &[u16]) -> Option<u16> {
    let host = IpAddr::V4(Ipv4Addr::LOCALHOST);
    (from.max(1)..=u16::MAX).find(|port| !taken.contains(port) && is_free(host, *port).unwrap_or(false))
}

/// The address that a host of a launch stands for: an IP address, or `localhost`.
///
/// # Errors
/// Any other name: engines are launched on addresses, and a name may stand for several.
pub fn address(host: &str) -> Result<IpAddr, std::net::AddrParseError> {
    if host == "localhost" {
        return Ok(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    host.trim_start_matches('[').trim_end_matches(']').parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_with_a_listener_is_taken_and_the_search_goes_past_it() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback listens");
        let taken = listener.local_addr().expect("bound").port();
        let host = address("localhost").expect("known");
        assert!(!is_free(host, taken).expect("loopback answers"));
        let found = first_free(taken, &[]).expect("some port is free");
        assert!(found > taken);
        assert!(first_free(found, &[found]) > Some(found));
    }

    #[test]
    fn hosts_are_addresses() {
        assert_eq!(address("[::1]").expect("an address"), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]));
        assert!(address("0.0.0.0").is_ok());
        assert!(address("example.org").is_err());
        assert!(address("").is_err());
    }

    #[test]
    fn an_address_of_another_machine_is_an_error_and_not_a_taken_port() {
        assert!(is_free(IpAddr::from([192, 0, 2, 1]), 8080).is_err());
    }
}
