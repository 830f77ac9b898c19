//! Checks the `Host` header of requests to a server on loopback.
//!
//! A page in a browser can make its own name resolve to 127.0.0.1 (DNS rebinding), and then read answers. Its requests name that host.

use std::net::IpAddr;

use actix_web::{
    Error,
    body::{EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{header, uri::Authority},
    middleware::Next,
    web::Data,
};

use crate::{api::Reason, executor};

/// The names by which a server on loopback may be called, besides `localhost` and addresses.
pub struct AllowedHosts {
    /// Whether the header is checked at all.
    pub is_loopback: bool,
    pub names: Vec<String>,
}

impl AllowedHosts {
    /// Whether a request with this `Host` header may be answered.
    fn allow(&self, host: &str) -> bool {
        if !self.is_loopback {
            return true;
        }
        let Ok(authority) = host.parse::<Authority>() else {
            return false;
        };
        let name = authority.host().trim_end_matches('.').to_ascii_lowercase();
        let address = name.trim_start_matches('[').trim_end_matches(']');
        let is_own = |allowed: &String| allowed.eq_ignore_ascii_case(&name);
        name == "localhost"
            || name.ends_with(".localhost")
            || address.parse::<IpAddr>().is_ok()
            || self.names.iter().any(is_own)
    }
}

/// Refuses a request that names another host.
pub async fn check<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let allowed = request.app_data::<Data<AllowedHosts>>().cloned();
    let host = request.headers().get(header::HOST);
    let host = host.map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned());
    if let (Some(allowed), Some(host)) = (allowed, host)
        && !allowed.allow(&host)
    {
        let message = format!(
            "the server listens on loopback, and does not know the host {host:?}: its operator can allow it with `serve --allowed-host`"
        );
        let refusal = executor::Error::new(Reason::Forbidden, message);
        return Ok(request.error_response(refusal).map_into_right_body());
    }
    Ok(next.call(request).await?.map_into_left_body())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_allowed() {
        let hosts = AllowedHosts {
            is_loopback: true,
            names: vec!["jobs.example.com".to_owned()],
        };
        for host in [
            "localhost",
            "LOCALHOST:8000",
            "127.0.0.1:8000",
            "[::1]:8000",
            "a.localhost",
            "10.0.0.5",
            "jobs.example.com:8000",
        ] {
            assert!(hosts.allow(host), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:8000",
            "",
            "a b",
        ] {
            assert!(!hosts.allow(host), "{host}");
        }
        let everywhere = AllowedHosts {
            is_loopback: false,
            names: Vec::new(),
        };
        assert!(everywhere.allow("evil.example"));
    }
}
