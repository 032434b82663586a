//! What can be known to be wrong with a launch before anything is started. The model file is the planner's business.

use std::fs;
use std::path::Path;

use dualgpuopt_core::command::LaunchSpec;

use crate::error::LaunchError;
use crate::port;

/// Checks program, strings and port, in that order. `taken` are ports promised to engines that may not listen yet.
///
/// # Errors
/// The first thing that is wrong.
pub(crate) fn check(spec: &LaunchSpec, taken: &[u16]) -> Result<(), LaunchError> {
    check_program(&spec.program)?;
    check_texts(spec)?;
    check_port(spec, taken)
}

/// Whether a program could be started as an engine.
///
/// # Errors
/// What is wrong with it: relative, missing, no file, not executable.
pub fn check_program(program: &str) -> Result<(), LaunchError> {
    let named = || program.to_owned();
    if program.contains('\0') {
        return Err(LaunchError::BadText { what: "The program's path".into(), why: "it contains a NUL byte" });
    }
    let path = Path::new(program);
    if !path.is_absolute() {
        return Err(LaunchError::ProgramNotAbsolute { program: named() });
    }
    let file = fs::metadata(path).map_err(|source| LaunchError::ProgramMissing { program: named(), source })?;
    if !file.is_file() {
        return Err(LaunchError::ProgramNotFile { program: named() });
    }
    if !executable(path, &file) {
        return Err(LaunchError::ProgramNotExecutable { program: named() });
    }
    Ok(())
}

#[cfg(unix)]
fn executable(path: &Path, file: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    // The mode as well: to root everything is accessible, but a file without any x bit is not executable even then.
    file.permissions().mode() & 0o111 != 0 && nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok()
}

#[cfg(not(unix))]
fn executable(_: &Path, _: &fs::Metadata) -> bool {
    true
}

fn check_texts(spec: &LaunchSpec) -> Result<(), LaunchError> {
    let bad = |what: String, why| Err(LaunchError::BadText { what, why });
    if let Some(index) = spec.args.iter().position(|arg| arg.contains('\0')) {
        return bad(format!("Argument {}", index + 1), "it contains a NUL byte");
    }
    for var in &spec.env {
        if var.name.is_empty() || var.name.contains(['=', '\0']) {
            return bad(format!("The variable {:?}", var.name), "its name is empty or contains = or a NUL byte");
        }
        if var.value.contains('\0') {
            return bad(format!("The variable {}", var.name), "its value contains a NUL byte");
        }
    }
    Ok(())
}

fn check_port(spec: &LaunchSpec, taken: &[u16]) -> Result<(), LaunchError> {
    let (host, port) = (spec.host.clone(), spec.port);
    let address = port::address(&host).map_err(|_| LaunchError::BadHost { host: host.clone() })?;
    match port::is_free(address, port) {
        Ok(true) if !taken.contains(&port) => Ok(()),
        Ok(_) => {
            let free = port::first_free(port.saturating_add(1), taken);
            Err(LaunchError::PortTaken { host, port, free })
        }
        Err(source) => Err(LaunchError::PortRefused { host, port, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dualgpuopt_core::command::EnvVar;

    fn spec(program: &str) -> LaunchSpec {
        LaunchSpec {
            title: "test".into(),
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            host: "127.0.0.1".into(),
            port: port::first_free(20_000, &[]).expect("some port is free"),
            health_path: "/health".into(),
        }
    }

    fn refusal(spec: &LaunchSpec) -> String {
        check(spec, &[]).expect_err("it is wrong").to_string()
    }

    #[test]
    fn programs_that_cannot_run_are_named_with_the_reason() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = tempfile::NamedTempFile::new_in(&folder).expect("a temporary file");
        let (folder, file) = (folder.path().display().to_string(), file.path().display().to_string());
        assert_eq!(
            refusal(&spec("llama-server")),
            "The engine's program must be an absolute path, and \"llama-server\" is not."
        );
        assert_eq!(
            refusal(&spec(&format!("{folder}/no"))),
            format!("The engine's program {folder}/no cannot be found: No such file or directory (os error 2).")
        );
        assert_eq!(refusal(&spec(&folder)), format!("The engine's program {folder} is not a file."));
        assert_eq!(
            refusal(&spec(&file)),
            format!("The engine's program {file} is not executable; `chmod +x` makes it so.")
        );
        assert!(refusal(&spec("/bin/a\0b")).contains("NUL byte"));
    }

    #[test]
    fn strings_that_no_process_can_be_given_are_refused() {
        let mut with = spec("/bin/sh");
        with.args = vec!["ok".into(), "a\0b".into()];
        assert_eq!(refusal(&with), "Argument 2 cannot be passed to a program: it contains a NUL byte.");
        for (name, value) in [("", ""), ("A=B", ""), ("A\0", ""), ("A", "\0")] {
            let mut with = spec("/bin/sh");
            with.env = vec![EnvVar { name: name.into(), value: value.into() }];
            assert!(refusal(&with).contains("The variable"), "{name:?}={value:?}");
        }
    }

    #[test]
    fn a_taken_port_comes_with_a_free_one() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback listens");
        let mut taken = spec("/bin/sh");
        taken.port = listener.local_addr().expect("bound").port();
        let text = refusal(&taken);
        assert!(text.starts_with(&format!("Port {} on 127.0.0.1 is already in use; ", taken.port)), "{text}");
        let promised = spec("/bin/sh");
        assert!(check(&promised, &[promised.port]).is_err());
        assert!(check(&promised, &[]).is_ok());
        let mut named = spec("/bin/sh");
        named.host = "example.org".into();
        assert!(refusal(&named).contains("an IP address such as 127.0.0.1"));
    }
}
