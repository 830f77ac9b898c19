//! Who a request is from, and what they may do.
//!
//! ```text
//! connection ──► peer ─┐
//! headers ─────────────┴► way: the user, and how they are known ──► rights ──► handler ──► audit
//! ```
//!
//! A handler gets the [`User`] that this found, and never looks at headers itself. Each way to know a user is a file
//! here.

mod audit;
mod header;
mod lasting;
mod peer;
mod rights;
mod socket;
mod token;
mod user;

use std::{iter, sync::Arc};

use actix_web::{
    HttpMessage,
    body::{EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::header::{HeaderMap, ORIGIN},
    middleware::Next,
    web::Data,
};

pub use self::{
    audit::{Audit, Subjects},
    header::HeaderWay,
    peer::Peer,
    socket::SocketWay,
    token::TokenWay,
    user::{UserFilter, read_flag},
};
use self::{lasting::Admission, rights::Right, token::Caller};
use super::routes;
use crate::{
    api::{Reason, User},
    executor::{Error, Executor},
};

/// The rules of the server about its users.
pub struct Access {
    /// How users are known who come over TCP, unless by a token.
    pub header: HeaderWay,
    /// How they are known by a token; then the header alone does not count.
    pub tokens: Option<TokenWay>,
    /// How users of this machine are known, who come over the socket.
    pub socket: SocketWay,
    /// Those who may act for all users. If none are named, everybody may, but where Kubernetes says so of users with tokens, nobody else.
    pub admins: Vec<User>,
    pub audit: Audit,
}

/// A user, and how the server knows them.
#[derive(Clone, Debug)]
pub struct Known {
    pub user: User,
    pub how: How,
}

/// How the server knows a user.
#[derive(Clone, Debug)]
pub enum How {
    Header,
    Proxy,
    Socket,
    Token(Arc<Caller>),
}

impl How {
    /// A word for the record of changes.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Proxy => "proxy",
            Self::Socket => "socket",
            Self::Token(_) => "token",
        }
    }
}

/// A request that is not admitted.
struct Refusal {
    /// The user, if that is known.
    known: Option<Known>,
    why: Error,
}

impl Access {
    /// Whether everybody who reaches the port of the server can act as anyone.
    pub fn is_open(&self) -> bool {
        self.tokens.is_none() && self.header.is_open()
    }

    /// The user of a request, if they may make it.
    async fn admit(
        &self,
        request: &ServiceRequest,
        right: Right,
        executor: &Executor,
    ) -> Result<Known, Refusal> {
        let of_stranger = |why| Refusal { known: None, why };
        refuse_pages(request).map_err(of_stranger)?;
        let known = self.known(request, executor).await.map_err(of_stranger)?;
        for right in needed(request, right) {
            if let Err(why) = self.require(&known, right, executor).await {
                let known = Some(known);
                return Err(Refusal { known, why });
            }
        }
        Ok(known)
    }

    /// The user of a request.
    async fn known(&self, request: &ServiceRequest, executor: &Executor) -> Result<Known, Error> {
        let (headers, peer) = (request.headers(), Peer::of(request));
        if let Some(Peer::Process { uid }) = peer {
            return self.socket.known(uid, self.header.stated(headers)?).await;
        }
        match &self.tokens {
            Some(tokens) => self.known_by_token(tokens, headers, executor).await,
            None => self.header.known(headers, peer.as_ref()),
        }
    }

    /// The user of a request with a token.
    async fn known_by_token(
        &self,
        tokens: &TokenWay,
        headers: &HeaderMap,
        executor: &Executor,
    ) -> Result<Known, Error> {
        let stated = self.header.stated(headers)?;
        let caller = tokens.known(headers, stated, executor).await?;
        Ok(Known {
            user: caller.user.clone(),
            how: How::Token(caller),
        })
    }

    /// The name that a refused request states, for the record; empty where a name alone would not count.
    fn claimed(&self, request: &ServiceRequest) -> String {
        let peer = Peer::of(request);
        let is_process = matches!(peer, Some(Peer::Process { .. }));
        match is_process || self.tokens.is_some() {
            true => String::new(),
            false => self.header.claimed(request.headers(), peer.as_ref()),
        }
    }

    /// Refuses a user who does not have a right.
    async fn require(&self, known: &Known, right: Right, executor: &Executor) -> Result<(), Error> {
        let message = match &known.how {
            _ if right.is_of_everybody() => return Ok(()),
            How::Token(caller) if caller.may(right, executor).await? => return Ok(()),
            How::Token(_) => format!(
                "{} may not {right} here: an administrator of the cluster can allow it, as in `k8s-cli help security`",
                known.user
            ),
            _ if !right.is_about_all_users() || self.is_admin(&known.user) => return Ok(()),
            _ => "only the administrators of this server may act for all users (`serve --admin`)"
                .to_owned(),
        };
        Err(Error::new(Reason::Forbidden, message))
    }

    fn is_admin(&self, user: &User) -> bool {
        let may_everybody = self.admins.is_empty() && self.tokens.is_none();
        may_everybody || self.admins.contains(user)
    }
}

/// The rights that a request needs on a route that needs `right`.
fn needed(request: &ServiceRequest, right: Right) -> impl Iterator<Item = Right> + use<> {
    let about_all = user::is_about_all_users(request.query_string());
    iter::once(right).chain(about_all.then(|| right.for_all_users()))
}

/// Refuses requests of browser pages. A page can send any user name, and with DNS rebinding it can reach servers in the network of its
/// reader. Browsers send `Origin` with each request that may change something.
fn refuse_pages(request: &ServiceRequest) -> Result<(), Error> {
    if !request.headers().contains_key(ORIGIN) {
        return Ok(());
    }
    let message = "requests of pages in browsers, which have the header Origin, are refused";
    Err(Error::new(Reason::Forbidden, message))
}

/// Finds the user of a request, and refuses it if they may not make it.
pub async fn check<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
    let pattern = routes::pattern(request.request());
    let right = pattern.and_then(|pattern| rights::needed(&pattern, request.method()));
    let access = request.app_data::<Data<Access>>().cloned();
    let executor = request.app_data::<Data<Executor>>().cloned();
    let (Some(right), Some(access), Some(executor)) = (right, access, executor) else {
        return Ok(next.call(request).await?.map_into_left_body());
    };
    let known = match access.admit(&request, right, &executor).await {
        Ok(known) => known,
        Err(Refusal { known, why }) => {
            let (user, how) = match &known {
                Some(known) => (known.user.to_string(), known.how.word()),
                None => (access.claimed(&request), "none"),
            };
            access.audit.refused(right, &request, (&user, how), &why);
            return Ok(request.error_response(why).map_into_right_body());
        }
    };
    let record = access.audit.begin(right, &request, &known);
    let admission = match known.how {
        How::Token(_) => Some(Admission {
            headers: request.headers().clone(),
            rights: needed(&request, right).collect(),
            access: access.clone(),
            executor,
        }),
        _ => None,
    };
    request.extensions_mut().insert(known);
    let answer = next.call(request).await;
    record.end(&answer);
    Ok(match admission {
        Some(admission) => lasting::watch(answer?, admission).map_into_right_body(),
        None => answer?.map_into_left_body(),
    })
}
