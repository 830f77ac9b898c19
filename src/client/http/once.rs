//! Requests whose answer may get lost: a key lets the server know one that it gets again.

use std::{str::FromStr as _, thread::sleep, time::Duration};

use ureq::http::{HeaderName, HeaderValue, Method};

use super::{ApiClient, READ_TIMEOUT};
use crate::{
    api::{KEY_HEADER, path},
    client::Error,
};

/// The pauses before a request is sent again: long enough for a server that starts anew.
const PAUSES: [u64; 6] = [250, 500, 1000, 2000, 4000, 8000];

/// The key of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestKey {
    value: HeaderValue,
    /// Whether a script has given it, and relies on it.
    pub is_given: bool,
}

impl RequestKey {
    /// A new UUID (RFC 9562, version 4).
    fn random() -> Self {
        const VERSION: u128 = 0x4 << 76 | 0x2 << 62;
        const OTHERS: u128 = !(0xf << 76 | 0x3 << 62);
        let digits = format!("{:032x}", rand::random::<u128>() & OTHERS | VERSION);
        let groups = [0..8, 8..12, 12..16, 16..20, 20..32].map(|group| &digits[group]);
        let value = HeaderValue::from_str(&groups.join("-"));
        Self {
            value: value.expect("digits and hyphens are visible"),
            is_given: false,
        }
    }

    /// The key of a script, else a random one. The server checks it.
    ///
    /// # Errors
    /// No header can have this key.
    pub fn new(given: Option<&str>) -> Result<Self, Error> {
        let Some(text) = given else {
            return Ok(Self::random());
        };
        let value = HeaderValue::from_str(text).map_err(|_| {
            Error::Usage(
                "--idempotency-key: expected visible characters, such as a UUID".to_owned(),
            )
        })?;
        Ok(Self {
            value,
            is_given: true,
        })
    }

    /// As a header.
    pub fn header(&self) -> (HeaderName, HeaderValue) {
        let name = HeaderName::from_str(KEY_HEADER);
        (name.expect("the name is valid"), self.value.clone())
    }
}

impl ApiClient {
    /// Makes a request with a key, and makes it again while its answer gets lost, if the server knows keys.
    pub fn until_answered<T>(
        &self,
        mut attempt: impl FnMut() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut answer = attempt();
        let mut has_acted = false;
        for pause in PAUSES.map(Duration::from_millis) {
            match &answer {
                Err(error) if is_lost(error) => has_acted = true,
                Err(Error::Unreachable { .. }) if has_acted => (),
                _ => break,
            }
            sleep(pause);
            match self.knows_keys() {
                Ok(true) => answer = attempt(),
                Ok(false) => break,
                // It may be starting.
                Err(_) => (),
            }
        }
        answer
    }

    fn knows_keys(&self) -> Result<bool, Error> {
        let request = self.request(Method::GET, path::ROOT, "application/json", ())?;
        let request = self
            .agent
            .configure_request(request)
            .timeout_global(Some(READ_TIMEOUT))
            .build();
        Ok(self.run(request)?.headers().contains_key(KEY_HEADER))
    }
}

/// Whether a server may have got a request whose answer did not arrive.
fn is_lost(error: &Error) -> bool {
    matches!(
        error,
        Error::NoAnswer { is_cut: true, .. }
            // A proxy lost the server, or the request came so slowly that the server did not read it.
            | Error::Api { status: 408 | 502..=504, reason: None, .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_a_proxy_is_none_of_the_server() {
        let api = |status, reason: Option<&str>| Error::Api {
            status,
            detail: String::new(),
            reason: reason.map(str::to_owned),
        };
        for status in [408, 502, 503, 504] {
            assert!(is_lost(&api(status, None)), "{status}");
        }
        assert!(!is_lost(&api(503, Some("Unavailable"))));
        assert!(!is_lost(&api(500, None)));
    }

    #[test]
    fn a_random_key_is_a_uuid() {
        let key = RequestKey::random();
        let text = key.value.to_str().unwrap().to_owned();
        let groups: Vec<_> = text.split('-').map(str::len).collect();
        assert_eq!(groups, [8, 4, 4, 4, 12], "{text}");
        assert!(
            text[14..].starts_with('4') && "89ab".contains(&text[19..20]),
            "{text}"
        );
        assert_ne!(key, RequestKey::random());
    }
}
