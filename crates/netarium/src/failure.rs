//! A failure as it travels from the process where it happened to the person who reads it.

use std::error::Error;
use std::fmt;

use serde::{Deserialize, Serialize};

/// What was tried, why it failed, what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What was tried.
    pub what: String,
    /// Why it failed, the nearest cause first.
    pub causes: Vec<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Failure {
    /// The failure that `error` tells of, with its causes.
    pub fn of(error: &dyn Error) -> Self {
        let mut causes = Vec::new();
        let mut next = error.source();
        while let Some(cause) = next {
            causes.push(cause.to_string());
            next = cause.source();
        }
        Self { what: error.to_string(), causes, hint: None }
    }

    /// The same while doing `what`.
    #[must_use]
    pub fn while_doing(mut self, what: String) -> Self {
        self.causes.insert(0, std::mem::replace(&mut self.what, what));
        self
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint.or(self.hint);
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        self.causes.iter().try_for_each(|cause| write!(f, ": {cause}"))
    }
}

impl Error for Failure {}
