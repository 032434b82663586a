//! Whether a window can be opened: a display is named, and somebody answers there. A name alone is often left over from
//! a session that has ended, and a toolkit that finds nobody there ends the program.

use std::path::Path;

use crate::environment::lookup;

/// Whether this process can open a window. Always true on systems whose windows need no display server of their own.
#[must_use]
pub fn can_open() -> bool {
    if !cfg!(target_os = "linux") {
        return true;
    }
    let wayland = lookup("WAYLAND_DISPLAY").is_some_and(|name| {
        let folder = lookup("XDG_RUNTIME_DIR").unwrap_or_default();
        // An absolute name stands for itself.
        answers(&Path::new(&folder).join(name))
    });
    wayland || lookup("DISPLAY").is_some_and(|name| x_answers(&name))
}

/// Whether an X server answers at `:N`, `:N.S` or `HOST:N`. A remote one is believed: asking it could take long.
fn x_answers(display: &str) -> bool {
    let Some((host, rest)) = display.rsplit_once(':') else { return false };
    let number = rest.split('.').next().unwrap_or_default();
    if number.parse::<u16>().is_err() {
        return false;
    }
    let socket = format!("/tmp/.X11-unix/X{number}");
    !matches!(host, "" | "unix") || answers(Path::new(&socket)) || answers_abstract(&socket)
}

#[cfg(unix)]
fn answers(socket: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(socket).is_ok()
}

#[cfg(target_os = "linux")]
fn answers_abstract(name: &str) -> bool {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixStream};
    SocketAddr::from_abstract_name(name).and_then(|address| UnixStream::connect_addr(&address)).is_ok()
}

#[cfg(not(unix))]
fn answers(_socket: &Path) -> bool {
    false
}

#[cfg(not(target_os = "linux"))]
fn answers_abstract(_name: &str) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_server_is_no_display() {
        for name in ["", "nonsense", ":", ":x", ":65000", "unix:65000", ":65000.0"] {
            assert!(!x_answers(name), "{name:?}");
        }
        assert!(x_answers("host.example:10.0"), "a forwarded display is believed");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_server_that_listens_is_found() {
        use std::os::linux::net::SocketAddrExt as _;
        use std::os::unix::net::{SocketAddr, UnixListener};
        // A number that no real server has.
        let address = SocketAddr::from_abstract_name("/tmp/.X11-unix/X64321").expect("a short name");
        let _server = UnixListener::bind_addr(&address).expect("the name is free");
        assert!(x_answers(":64321"));
        assert!(x_answers(":64321.0"));
    }
}
