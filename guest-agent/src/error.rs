// SPDX-License-Identifier: Apache-2.0

//! A failure that says which step failed and what the kernel answered.

use std::fmt;

use rustix::io::Errno;

/// "mounting /dev/vda: Invalid argument (os error 22)".
#[derive(Debug)]
pub(crate) struct StepError {
    pub(crate) step: String,
    pub(crate) errno: Errno,
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, std::io::Error::from(self.errno))
    }
}

impl std::error::Error for StepError {}

/// Names the step that a result belongs to.
pub(crate) trait Step<T> {
    fn step(self, name: impl FnOnce() -> String) -> Result<T, StepError>;
}

impl<T> Step<T> for rustix::io::Result<T> {
    fn step(self, name: impl FnOnce() -> String) -> Result<T, StepError> {
        self.map_err(|errno| StepError { step: name(), errno })
    }
}

impl<T> Step<T> for std::io::Result<T> {
    fn step(self, name: impl FnOnce() -> String) -> Result<T, StepError> {
        self.map_err(|error| StepError { step: name(), errno: Errno::from_io_error(&error).unwrap_or(Errno::IO) })
    }
}
