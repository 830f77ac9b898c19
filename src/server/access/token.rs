//! Users with a token of the cluster: Kubernetes says whose it is (`TokenReview`) and what they may do (`SubjectAccessReview`).
//!
//! Answers are kept for a short time by the hash of the token. The token itself is not kept.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use ring::digest::{SHA256, digest};

use super::rights::Right;
use crate::{
    api::{Reason, TOKEN_HEADER, User},
    executor::{Error, Executor, Identity, Permission},
};

/// The API group of the resources of this program, in the rules of a Role.
const GROUP: &str = "k8s-cli";
/// How long Kubernetes' yes and no are kept.
const YES_AGE: Duration = Duration::from_secs(30);
const NO_AGE: Duration = Duration::from_secs(5);
/// The most tokens of which answers are kept, so that wrong tokens cannot fill the memory.
const MOST: usize = 4096;
/// The longest token.
const MAX_TOKEN: usize = 16 * 1024;

type Hash = [u8; 32];

/// The rules for tokens.
#[derive(Default)]
pub struct TokenWay {
    /// The audience that a token needs; none for that of the API server.
    audience: Option<String>,
    callers: Mutex<HashMap<Hash, Kept<Option<Arc<Caller>>>>>,
}

/// The user behind a token.
#[derive(Debug)]
pub struct Caller {
    pub user: User,
    identity: Identity,
    rights: Mutex<HashMap<Right, Kept<bool>>>,
}

/// An answer of Kubernetes.
#[derive(Clone, Debug)]
struct Kept<T> {
    since: Instant,
    answer: T,
}

impl<T> Kept<T> {
    fn new(answer: T) -> Self {
        Self {
            since: Instant::now(),
            answer,
        }
    }

    /// Whether the answer, which is a yes or a no, still counts.
    fn counts(&self, now: Instant, is_yes: bool) -> bool {
        let most = if is_yes { YES_AGE } else { NO_AGE };
        now.duration_since(self.since) < most
    }
}

impl TokenWay {
    /// The rules for tokens of an audience; an empty one is that of the API server.
    pub fn new(audience: &str) -> Self {
        Self {
            audience: Some(audience.to_owned()).filter(|audience| !audience.is_empty()),
            callers: Mutex::default(),
        }
    }

    /// The user behind the token of a request, who may also be `stated` in the header.
    ///
    /// # Errors
    /// There is no token, or not exactly one, or it is not valid, or the header states another user.
    pub async fn known(
        &self,
        headers: &HeaderMap,
        stated: Option<&str>,
        executor: &Executor,
    ) -> Result<Arc<Caller>, Error> {
        let token = token(headers).map_err(unauthorized)?;
        let hash = hash(token);
        let caller = match self.kept(&hash) {
            Some(caller) => caller,
            None => {
                let audience = self.audience.as_deref();
                let identity = executor.identify(token, audience).await?;
                let caller = identity.map(Caller::new).transpose()?.map(Arc::new);
                self.keep(hash, caller.clone());
                caller
            }
        };
        let caller = caller.ok_or_else(|| {
            let audience = self.audience.as_ref();
            let audience = audience.map_or("the cluster's".to_owned(), |name| format!("`{name}`"));
            unauthorized(format!(
                "the token is wrong or has expired, or is for another audience than {audience}: get a new one, as in `k8s-cli help security`"
            ))
        })?;
        let name = caller.user.as_str();
        match stated.filter(|stated| *stated != name) {
            Some(stated) => Err(unauthorized(format!(
                "the token is that of {name}, who cannot act as {stated:?}"
            ))),
            None => Ok(caller),
        }
    }

    /// What Kubernetes said about a token a short time ago.
    fn kept(&self, hash: &Hash) -> Option<Option<Arc<Caller>>> {
        let callers = lock(&self.callers);
        let kept = callers.get(hash)?;
        let counts = kept.counts(Instant::now(), kept.answer.is_some());
        counts.then(|| kept.answer.clone())
    }

    fn keep(&self, hash: Hash, caller: Option<Arc<Caller>>) {
        let mut callers = lock(&self.callers);
        if callers.len() >= MOST {
            let now = Instant::now();
            callers.retain(|_, kept| kept.counts(now, kept.answer.is_some()));
        }
        if callers.len() >= MOST {
            callers.clear();
        }
        callers.insert(hash, Kept::new(caller));
    }
}

impl Caller {
    fn new(identity: Identity) -> Result<Self, Error> {
        let user = identity.name().parse();
        let user =
            user.map_err(|invalid| unauthorized(format!("the user of the token: {invalid}")))?;
        Ok(Self {
            user,
            identity,
            rights: Mutex::default(),
        })
    }

    /// Whether the user has a right.
    ///
    /// # Errors
    /// When Kubernetes does not answer.
    pub async fn may(&self, right: Right, executor: &Executor) -> Result<bool, Error> {
        let kept = lock(&self.rights).get(&right).cloned();
        if let Some(kept) = kept.filter(|kept| kept.counts(Instant::now(), kept.answer)) {
            return Ok(kept.answer);
        }
        let permission = Permission {
            group: GROUP,
            resource: right.resource,
            verb: right.verb,
        };
        let answer = executor.allows(&self.identity, permission).await?;
        lock(&self.rights).insert(right, Kept::new(answer));
        Ok(answer)
    }
}

/// The token of a request: that of the header of its own, which counts alone, or a bearer token.
fn token(headers: &HeaderMap) -> Result<&str, String> {
    let bearer = AUTHORIZATION.as_str();
    let name = match headers.contains_key(TOKEN_HEADER) {
        true => TOKEN_HEADER,
        false => bearer,
    };
    let mut values = headers.get_all(name);
    let Some(value) = values.next() else {
        return Err(
            "a token is required: store one with `k8s-cli auth login --token-stdin`, or set K8S_CLI_TOKEN"
                .to_owned(),
        );
    };
    if values.next().is_some() {
        return Err(format!("the header {name} is given more than once"));
    }
    let value = value.to_str().unwrap_or_default();
    let token = match name == bearer {
        false => value,
        true => match value.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            _ => return Err(format!("the header {name} holds no bearer token")),
        },
    };
    let is_token = !token.is_empty()
        && token.len() <= MAX_TOKEN
        && token.bytes().all(|byte| byte.is_ascii_graphic());
    match is_token {
        true => Ok(token),
        false => Err(format!("the header {name} holds no token")),
    }
}

fn hash(token: &str) -> Hash {
    let mut hash = Hash::default();
    hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    hash
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unauthorized(message: String) -> Error {
    Error::new(Reason::Unauthorized, message)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn a_request_has_exactly_one_token() {
        const MULTI: &str = "is given more than once";
        let long = "x".repeat(MAX_TOKEN + 1);
        for (headers, expected) in [
            (&[("Authorization", "Bearer abc")][..], Ok("abc")),
            (&[("authorization", "bearer  abc")], Ok("abc")),
            (&[("X-K8s-Cli-Token", "abc")], Ok("abc")),
            (
                &[("Authorization", "Basic eDp5"), ("X-K8s-Cli-Token", "abc")],
                Ok("abc"),
            ),
            (&[], Err("a token is required")),
            (&[("X-User", "ada")], Err("a token is required")),
            (&[("Authorization", "abc")], Err("no bearer token")),
            (&[("Authorization", "Basic abc")], Err("no bearer token")),
            (&[("Authorization", "Bearer")], Err("no bearer token")),
            (&[("Authorization", "Bearer ")], Err("holds no token")),
            (&[("Authorization", "Bearer a b")], Err("holds no token")),
            (
                &[("Authorization", "Bearer a\u{e9}")],
                Err("no bearer token"),
            ),
            (&[("X-K8s-Cli-Token", "")], Err("holds no token")),
            (&[("X-K8s-Cli-Token", &long)], Err("holds no token")),
            (
                &[("Authorization", "Bearer a"), ("Authorization", "Bearer b")],
                Err(MULTI),
            ),
            (
                &[("X-K8s-Cli-Token", "a"), ("x-k8s-cli-token", "a")],
                Err(MULTI),
            ),
            (
                &[("X_K8s_Cli_Token", "a"), ("X-K8s-Cli-Token2", "a")],
                Err("a token is required"),
            ),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                let name: HeaderName = name.parse().unwrap();
                map.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            match (token(&map), expected) {
                (Err(error), Err(expected)) => assert!(error.contains(expected), "{error}"),
                (found, expected) => assert_eq!(found, expected.map_err(str::to_owned)),
            }
        }
    }

    #[test]
    fn a_no_is_kept_for_a_shorter_time_than_a_yes() {
        let kept = Kept::new(());
        let after = |seconds| kept.since + Duration::from_secs(seconds);
        assert!(kept.counts(after(4), false) && !kept.counts(after(5), false));
        assert!(kept.counts(after(29), true) && !kept.counts(after(30), true));
    }

    #[test]
    fn wrong_tokens_do_not_fill_the_memory() {
        let way = TokenWay::new("");
        for number in 0..=MOST {
            way.keep(hash(&number.to_string()), None);
        }
        assert_eq!(lock(&way.callers).len(), 1);
        assert!(way.kept(&hash("0")).is_none());
        assert!(matches!(way.kept(&hash(&MOST.to_string())), Some(None)));
    }
}
