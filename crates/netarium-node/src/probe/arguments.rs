//! The probe's arguments: words in a fixed order and `--name value` pairs in any.

use std::ffi::OsString;
use std::str::FromStr;
use std::time::Duration;

use super::token::Token;

/// What is wrong with the arguments.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UsageError {
    /// A word that does not belong there.
    #[error("there is no use for {0}")]
    Unknown(String),
    /// Something is not there.
    #[error("wanted: {0}")]
    Missing(String),
    /// A value is not what is wanted.
    #[error("{value} is no {wanted}")]
    Value { value: String, wanted: &'static str },
    /// The kernel takes any bytes, we do not.
    #[error("{0} is not UTF-8")]
    Text(String),
}

/// The arguments not yet used.
pub(crate) struct Arguments {
    words: Vec<String>,
    options: Vec<(String, String)>,
}

impl Arguments {
    /// Tells words and options apart.
    ///
    /// # Errors
    /// If an option has no value or a word is not UTF-8.
    pub(crate) fn new(all: &[OsString]) -> Result<Self, UsageError> {
        let mut words = Vec::new();
        let mut options = Vec::new();
        let mut rest = all.iter();
        let text = |word: &OsString| {
            let lossy = || UsageError::Text(word.to_string_lossy().into_owned());
            word.to_str().map(str::to_owned).ok_or_else(lossy)
        };
        while let Some(word) = rest.next() {
            let word = text(word)?;
            match word.strip_prefix("--") {
                Some("help") => words.insert(0, word),
                Some(option) => {
                    let (name, value) = match option.split_once('=') {
                        Some((name, value)) => (name.to_owned(), value.to_owned()),
                        None => {
                            let missing = || UsageError::Missing(format!("a value for {word}"));
                            (option.to_owned(), text(rest.next().ok_or_else(missing)?)?)
                        }
                    };
                    options.push((name, value));
                }
                None => words.push(word),
            }
        }
        words.reverse();
        Ok(Self { words, options })
    }

    /// The next word.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn next(&mut self, wanted: &str) -> Result<String, UsageError> {
        self.words.pop().ok_or_else(|| UsageError::Missing(wanted.to_owned()))
    }

    /// The next word as a value.
    ///
    /// # Errors
    /// If there is none or it is not what is wanted.
    pub(crate) fn next_value<T: FromStr>(&mut self, wanted: &'static str) -> Result<T, UsageError> {
        let word = self.next(wanted)?;
        word.parse().map_err(|_| UsageError::Value { value: word, wanted })
    }

    /// The value of an option, if it is there.
    pub(crate) fn option(&mut self, name: &str) -> Option<String> {
        let place = self.options.iter().rposition(|(other, _)| other == name)?;
        Some(self.options.swap_remove(place).1)
    }

    /// The value of an option, or this one if it is not there.
    ///
    /// # Errors
    /// If it is not what is wanted.
    pub(crate) fn option_or<T: FromStr>(
        &mut self,
        name: &str,
        default: T,
        wanted: &'static str,
    ) -> Result<T, UsageError> {
        match self.option(name) {
            None => Ok(default),
            Some(value) => value.parse().map_err(|_| UsageError::Value { value, wanted }),
        }
    }

    /// The value of an option that must be there.
    ///
    /// # Errors
    /// If it is not, or is not what is wanted.
    pub(crate) fn required<T: FromStr>(
        &mut self,
        name: &str,
        wanted: &'static str,
    ) -> Result<T, UsageError> {
        let missing = || UsageError::Missing(format!("--{name} with a value: {wanted}"));
        let value = self.option(name).ok_or_else(missing)?;
        value.parse().map_err(|_| UsageError::Value { value, wanted })
    }

    /// How long a probe waits.
    ///
    /// # Errors
    /// If it is not a number.
    pub(crate) fn timeout(&mut self) -> Result<Duration, UsageError> {
        let millis: u32 = self.option_or("timeout-ms", 2000, "number of milliseconds")?;
        Ok(Duration::from_millis(millis.into()))
    }

    /// The mark that requests bear, if they are to bear a certain one.
    ///
    /// # Errors
    /// If it is none.
    pub(crate) fn token(&mut self) -> Result<Option<Token>, UsageError> {
        let Some(value) = self.option("token") else { return Ok(None) };
        let token = value.parse();
        let wanted = "token of sixteen hexadecimal digits";
        token.map(Some).map_err(|()| UsageError::Value { value, wanted })
    }

    /// Sees that nothing is left.
    ///
    /// # Errors
    /// If something is.
    pub(crate) fn end(&mut self) -> Result<(), UsageError> {
        let option = self.options.pop().map(|(name, _)| format!("--{name}"));
        match self.words.pop().or(option) {
            Some(left) => Err(UsageError::Unknown(left)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(text: &str) -> Arguments {
        Arguments::new(&text.split(' ').map(OsString::from).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn words_and_options_may_be_mixed() {
        let mut all = arguments("tcp --timeout-ms 5 10.0.0.1 --name=x 80");
        assert_eq!(all.next("a command"), Ok("tcp".to_owned()));
        assert_eq!(all.next("an address"), Ok("10.0.0.1".to_owned()));
        assert_eq!(all.next_value::<u16>("port"), Ok(80));
        assert_eq!(all.timeout(), Ok(Duration::from_millis(5)));
        assert_eq!(all.option("name"), Some("x".to_owned()));
        assert_eq!(all.end(), Ok(()));
    }

    #[test]
    fn what_nobody_wants_is_told() {
        let mut all = arguments("ping --color red");
        all.next("a command").unwrap();
        assert_eq!(all.end(), Err(UsageError::Unknown("--color".to_owned())));
        let missing = Arguments::new(&["--port".into()]).err();
        assert_eq!(missing, Some(UsageError::Missing("a value for --port".to_owned())));
    }
}
