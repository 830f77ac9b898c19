//! The name of a user.

use std::{error::Error, fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The most bytes of a user name. It has to fit into an annotation, a log line and a header.
const MAX_LENGTH: usize = 256;

/// A user's name, exactly as given: not blank, printable, at most 256 bytes.
///
/// The server builds it from the `X-User` header, the client from the login file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct User(String);

impl User {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The label value of a user's name, unless more than an `@` keeps it from being one: that of the Python predecessor.
pub fn username_label(name: &str) -> String {
    name.replace('@', "-")
}

/// A user's name for people and labels: accounts of the cluster without the beginning that all of them have.
pub fn short_username(name: &str) -> &str {
    name.strip_prefix("system:serviceaccount:").unwrap_or(name)
}

/// The answer to `GET /whoami`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Whoami {
    pub username: String,
    /// How the server knows the user: `header`, `proxy`, `socket` or `token`.
    pub how: String,
}

/// The reason why a user name is invalid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum InvalidUser {
    Blank,
    NotPrintable,
    TooLong,
}

impl fmt::Display for InvalidUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank => f.write_str("a user name must not be blank"),
            Self::NotPrintable => f.write_str(
                "a user name must not hold control characters, or white space at its ends",
            ),
            Self::TooLong => write!(f, "a user name must not be longer than {MAX_LENGTH} bytes"),
        }
    }
}

impl Error for InvalidUser {}

impl FromStr for User {
    type Err = InvalidUser;

    fn from_str(text: &str) -> Result<Self, InvalidUser> {
        match text {
            _ if text.trim().is_empty() => Err(InvalidUser::Blank),
            _ if text.len() > MAX_LENGTH => Err(InvalidUser::TooLong),
            // HTTP strips white space at the ends of a header, so the server would get another name.
            _ if text.chars().any(char::is_control) || text.trim() != text => {
                Err(InvalidUser::NotPrintable)
            }
            _ => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_of_the_cluster_is_short() {
        for (name, expected) in [
            ("system:serviceaccount:team:ci", "team:ci"),
            ("system:admin", "system:admin"),
            ("ada@example.com", "ada@example.com"),
        ] {
            assert_eq!(short_username(name), expected);
        }
    }

    #[test]
    fn a_name_is_kept_as_given_or_refused() {
        for name in [
            "ada",
            "ada@example.com",
            "Ada Lovelace",
            "阿達",
            &"x".repeat(256),
        ] {
            assert_eq!(
                name.parse::<User>().map(|user| user.to_string()),
                Ok(name.to_owned())
            );
        }
        for (name, error) in [
            ("", InvalidUser::Blank),
            ("  \t", InvalidUser::Blank),
            ("a\nb", InvalidUser::NotPrintable),
            ("a\x1b[2Jb", InvalidUser::NotPrintable),
            (" ada", InvalidUser::NotPrintable),
            (&"x".repeat(257), InvalidUser::TooLong),
        ] {
            assert_eq!(name.parse::<User>(), Err(error), "{name:?}");
        }
    }
}
