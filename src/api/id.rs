//! The ids of tasks, groups and volumes: eight characters that are safe in a path, a label and a selector.

use std::{error::Error, fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use super::schema;

/// The error for a text that is not an id.
#[derive(Clone, Debug, PartialEq)]
pub struct InvalidId {
    what: &'static str,
    text: String,
}

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, text } = self;
        write!(
            f,
            "{text:?} is not a {what} id: expected 8 characters of a-z and 0-9"
        )
    }
}

impl Error for InvalidId {}

/// The form of an id, for the OpenAPI document.
const ID_PATTERN: &str = "^[a-z0-9]{8}$";

fn checked(text: &str, what: &'static str) -> Result<[u8; 8], InvalidId> {
    let is_id_byte = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if let Ok(bytes) = <[u8; 8]>::try_from(text.as_bytes())
        && bytes.iter().all(is_id_byte)
    {
        return Ok(bytes);
    }
    // The message shows the id, shortened, since it comes from outside.
    let text = text.chars().take(40).collect();
    Err(InvalidId { what, text })
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; 8]);

        impl $name {
            pub fn as_str(&self) -> &str {
                std::str::from_utf8(&self.0).expect("an id is ASCII")
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                checked(text, $what).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.as_str().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let doc = concat!("The id of a ", $what, ".");
                schema::text(doc, ID_PATTERN, "ab12cd34")
            }
        }

        impl ToSchema for $name {}

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.as_str())
            }
        }
    };
}

id! {
    /// The id of a task.
    TaskId, "task"
}

id! {
    /// The id of a group of tasks.
    GroupId, "group"
}

id! {
    /// The id of a volume.
    VolumeId, "volume"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_eight_lower_case_letters_and_digits_are_an_id() {
        assert_eq!(
            "ab12cd34".parse::<TaskId>().map(String::from),
            Ok("ab12cd34".to_owned())
        );
        for text in [
            "",
            "ab12cd3",
            "ab12cd345",
            "AB12CD34",
            "ab12cd3/",
            "../../..",
            "ab12cd3é",
            "a,b=c d8",
        ] {
            assert!(text.parse::<VolumeId>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_message_quotes_the_text_shortened() {
        let error = "\x1b[31m"
            .repeat(1000)
            .parse::<TaskId>()
            .unwrap_err()
            .to_string();
        assert!(error.len() < 300, "{error}");
        assert!(!error.contains('\x1b'), "{error}");
        assert!(
            error.ends_with("is not a task id: expected 8 characters of a-z and 0-9"),
            "{error}"
        );
    }
}
