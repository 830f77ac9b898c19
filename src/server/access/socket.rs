//! Users of this machine, who come over its socket: the kernel says who they are.
//!
//! The system has the names (`getent`, so those of LDAP too); they are kept for a minute.

use std::{
    collections::HashMap,
    process::Stdio,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::process::Command;

use super::{How, Known};
use crate::{
    api::{Reason, User},
    executor::Error,
};

/// How long a name is kept.
const MAX_AGE: Duration = Duration::from_secs(60);
/// `nobody`: the kernel shows it for a user of another user namespace.
const NOBODY: u32 = 65534;

/// The rules for users of this machine.
#[derive(Debug, Default)]
pub struct SocketWay {
    /// The domain of their names.
    domain: Option<String>,
    names: Mutex<HashMap<u32, (Instant, Option<String>)>>,
}

impl SocketWay {
    pub fn new(domain: Option<String>) -> Self {
        Self {
            domain,
            names: Mutex::default(),
        }
    }

    /// The user behind a uid, who may also be `stated` in the header.
    ///
    /// # Errors
    /// The system has no name for the uid, or the header states another user.
    pub async fn known(&self, uid: u32, stated: Option<&str>) -> Result<Known, Error> {
        let unauthorized = |message: String| Error::new(Reason::Unauthorized, message);
        if uid == NOBODY {
            let message =
                format!("your user {uid} is that of nobody on this machine, and has no tasks");
            return Err(unauthorized(message));
        }
        let name = self.name(uid).await;
        let name = name
            .ok_or_else(|| unauthorized(format!("this machine has no name for your user {uid}")))?;
        let name = match &self.domain {
            Some(domain) => format!("{name}@{domain}"),
            None => name,
        };
        if let Some(stated) = stated.filter(|stated| *stated != name) {
            return Err(unauthorized(format!(
                "you are {name} on this machine, and cannot act as {stated:?}"
            )));
        }
        let user: User = name
            .parse()
            .map_err(|invalid| unauthorized(format!("your name on this machine: {invalid}")))?;
        Ok(Known {
            user,
            how: How::Socket,
        })
    }

    async fn name(&self, uid: u32) -> Option<String> {
        if let Some(name) = self.kept(uid) {
            return name;
        }
        let name = ask(uid).await;
        let now = Instant::now();
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.retain(|_, (since, _)| now.duration_since(*since) < MAX_AGE);
        names.insert(uid, (now, name.clone()));
        name
    }

    /// What the system said about a uid a short time ago.
    fn kept(&self, uid: u32) -> Option<Option<String>> {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, name) = names.get(&uid)?;
        (since.elapsed() < MAX_AGE).then(|| name.clone())
    }
}

/// Asks the system for the name of a uid.
async fn ask(uid: u32) -> Option<String> {
    let mut getent = Command::new("getent");
    getent
        .args(["passwd", &uid.to_string()])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = match getent.output().await {
        Ok(output) => output,
        Err(error) => {
            log::error!("cannot run getent, so no user of this machine is known: {error}");
            return None;
        }
    };
    let line = String::from_utf8(output.stdout).ok()?;
    let mut fields = line.lines().next()?.split(':');
    let name = fields.next().filter(|name| !name.is_empty())?;
    // The line is about the uid itself.
    (fields.nth(1)? == uid.to_string()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn known(way: &SocketWay, uid: u32, stated: Option<&str>) -> Result<String, String> {
        let known = way.known(uid, stated).await;
        known
            .map(|known| known.user.to_string())
            .map_err(|error| error.to_string())
    }

    #[actix_rt::test]
    async fn the_system_names_the_user() {
        let way = SocketWay::default();
        assert_eq!(known(&way, 0, None).await.unwrap(), "root");
        assert_eq!(known(&way, 0, Some("root")).await.unwrap(), "root");
        let refused = known(&way, 0, Some("ada")).await.unwrap_err();
        assert_eq!(
            refused,
            "you are root on this machine, and cannot act as \"ada\""
        );
        for (uid, why) in [
            (NOBODY, "your user 65534 is that of nobody"),
            (3_999_999_999, "this machine has no name"),
        ] {
            let refused = known(&way, uid, None).await.unwrap_err();
            assert!(refused.starts_with(why), "{refused}");
        }
        let way = SocketWay::new(Some("example.com".to_owned()));
        assert_eq!(known(&way, 0, None).await.unwrap(), "root@example.com");
        assert!(known(&way, 0, Some("root")).await.is_err());
    }
}
