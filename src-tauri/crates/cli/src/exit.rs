//! Exit codes. They are stable: scripts rely on them.

use std::io;
use std::process::ExitCode;

use dualgpuopt_core::error::{AppError, Code};

/// Something failed that none of the other codes names.
pub(crate) const FAILED: u8 = 1;
/// Wrong arguments, or a file that is not a model we can read.
pub(crate) const BAD_INPUT: u8 = 2;
/// No GPU source on this machine.
pub(crate) const NO_GPUS: u8 = 3;
/// The plan does not fit.
pub(crate) const DOES_NOT_FIT: u8 = 4;
/// The engine is missing, did not start, or ended by itself.
pub(crate) const ENGINE: u8 = 5;

/// Why a command ended early.
pub(crate) enum Failure {
    /// An error to tell the user.
    App(AppError),
    /// Output could not be written; a closed pipe is no failure at all.
    Output(io::Error),
}

impl From<AppError> for Failure {
    fn from(error: AppError) -> Self {
        Self::App(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl Failure {
    /// Tells the user on stderr, in one line, and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        match self {
            Self::App(error) => {
                crate::output::complain(&error.to_string());
                tracing::debug!("{}", error.detail);
                ExitCode::from(code(error.code))
            }
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Self::Output(error) => {
                crate::output::complain(&format!("The output could not be written: {error}."));
                ExitCode::from(FAILED)
            }
        }
    }
}

fn code(code: Code) -> u8 {
    match code {
        Code::FileUnreadable | Code::ModelInvalid | Code::ModelUnsupported | Code::BadRequest => BAD_INPUT,
        Code::NoGpus => NO_GPUS,
        Code::EngineMissing | Code::EngineFailed => ENGINE,
        Code::NoSession | Code::Store | Code::Internal => FAILED,
    }
}
