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
mod peer;
mod rights;
mod socket;
mod user;

use actix_web::{
    HttpMessage,
    body::{EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::header::ORIGIN,
    middleware::Next,
    web::Data,
};

pub use self::{
    audit::{Audit, Subjects},
    header::HeaderWay,
    peer::Peer,
    socket::SocketWay,
    user::{UserFilter, read_flag},
};
use crate::{
    api::{Reason, User},
    executor::Error,
};

/// The rules of the server about its users.
pub struct Access {
    pub way: HeaderWay,
    /// How users of this machine are known, who come over the socket.
    pub socket: SocketWay,
    /// Those who may act for all users; empty: everybody.
    pub admins: Vec<User>,
    pub audit: Audit,
}

/// A user, and how the server knows them.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    pub user: User,
    /// A word for the record of changes.
    pub how: &'static str,
}

impl Access {
    /// Whether a user may act for all users.
    fn is_admin(&self, user: &User) -> bool {
        self.admins.is_empty() || self.admins.contains(user)
    }

    /// The user of a request, if they may make it.
    async fn admit(&self, request: &ServiceRequest) -> Result<Known, Error> {
        refuse_pages(request)?;
        let known = match Peer::of(request) {
            Some(Peer::Process { uid }) => {
                let stated = self.way.stated(request.headers())?;
                self.socket.known(uid, stated).await?
            }
            peer => self.way.known(request.headers(), peer.as_ref())?,
        };
        let about_all = user::is_about_all_users(request.query_string());
        if about_all && !self.is_admin(&known.user) {
            let message =
                "only the administrators of this server may act for all users (`serve --admin`)";
            return Err(Error::new(Reason::Forbidden, message));
        }
        Ok(known)
    }
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
pub async fn check<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
    let pattern = request.match_pattern();
    let right = pattern.and_then(|pattern| rights::needed(&pattern, request.method()));
    let access = request.app_data::<Data<Access>>().cloned();
    let (Some(right), Some(access)) = (right, access) else {
        return Ok(next.call(request).await?.map_into_left_body());
    };
    let known = match access.admit(&request).await {
        Ok(known) => known,
        Err(refusal) => {
            let user = access.way.claimed(request.headers());
            access.audit.refused(right, &request, &user, &refusal);
            return Ok(request.error_response(refusal).map_into_right_body());
        }
    };
    request.extensions_mut().insert(known.user.clone());
    let record = access.audit.begin(right, &request, known);
    let answer = next.call(request).await;
    record.end(&answer);
    Ok(answer?.map_into_left_body())
}
