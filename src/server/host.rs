//! Checks the `Host` header of requests that come over loopback.
//!
//! A page in a browser can make its own name resolve to 127.0.0.1 (DNS rebinding), and then read answers. Its requests name that host.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use actix_web::{
    Error,
    body::{EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{header, uri::Authority},
    middleware::Next,
    web::Data,
};

use super::access::Peer;
use crate::{api::Reason, executor};

/// The names by which a server may be called over loopback, besides `localhost` and addresses.
pub struct AllowedHosts {
    checks: Checks,
    names: Vec<String>,
}

/// The requests whose header is checked.
enum Checks {
    All,
    /// Those from programs of this machine. A sidecar proxy has other addresses of loopback.
    Local,
    None,
}

impl AllowedHosts {
    /// The names that the operator allows for a server on `address`.
    ///
    /// `is_open`: whether the server believes who a request says it is from. Otherwise a page of a browser can tell it no user, and
    /// a proxy on this machine may pass on any host, unless the server listens on loopback alone.
    pub fn new(address: Option<IpAddr>, is_open: bool, mut names: Vec<String>) -> Self {
        let checks = match address {
            Some(address) if address.is_loopback() => Checks::All,
            Some(_) if is_open => Checks::Local,
            _ => Checks::None,
        };
        if !matches!(checks, Checks::None) {
            let read = |path| fs::read_to_string(path).unwrap_or_default();
            names.push(read("/proc/sys/kernel/hostname").trim().to_owned());
            names.extend(names_of_loopback(&read("/etc/hosts")));
        }
        Self { checks, names }
    }

    /// Whether a request from this address with this `Host` header may be answered.
    fn allow(&self, peer: IpAddr, host: &str) -> bool {
        let peer = peer.to_canonical();
        let is_checked = match self.checks {
            Checks::All => true,
            Checks::Local => peer == Ipv4Addr::LOCALHOST || peer == Ipv6Addr::LOCALHOST,
            Checks::None => false,
        };
        if !is_checked {
            return true;
        }
        let Ok(authority) = host.parse::<Authority>() else {
            return false;
        };
        if host.contains('@') {
            return false;
        }
        let name = authority.host().trim_end_matches('.').to_ascii_lowercase();
        let address = name.trim_start_matches('[').trim_end_matches(']');
        let is_own = |allowed: &String| allowed.eq_ignore_ascii_case(&name);
        name == "localhost"
            || name.ends_with(".localhost")
            || address.parse::<IpAddr>().is_ok()
            || self.names.iter().any(is_own)
    }
}

/// The names that a file of the form of `/etc/hosts` gives to addresses of loopback.
fn names_of_loopback(hosts: &str) -> Vec<String> {
    let lines = hosts
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default());
    let names = lines.filter_map(|line| {
        let mut words = line.split_whitespace();
        let address: IpAddr = words.next()?.parse().ok()?;
        address.is_loopback().then_some(words)
    });
    names.flatten().map(str::to_owned).collect()
}

/// Refuses a request that names another host.
pub async fn check<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let allowed = request.app_data::<Data<AllowedHosts>>().cloned();
    let host = request.headers().get(header::HOST);
    let host = host.map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned());
    // A request may name its host in its first line. Then the header counts no more (RFC 9112, section 3.2.2).
    let host = request.uri().authority().map(ToString::to_string).or(host);
    // A page reaches no socket.
    let peer = Peer::of(&request).and_then(|peer| peer.address());
    if let (Some(allowed), Some(host), Some(peer)) = (allowed, host, peer)
        && !allowed.allow(peer, &host)
    {
        let message = format!(
            "the server does not know the host {host:?}, by which it was called over loopback: its operator can allow it with `serve --allowed-host`"
        );
        let refusal = executor::Error::new(Reason::Forbidden, message);
        return Ok(request.error_response(refusal).map_into_right_body());
    }
    Ok(next.call(request).await?.map_into_left_body())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn hosts(address: &str, is_open: bool) -> AllowedHosts {
        let names = vec!["jobs.example.com".to_owned()];
        AllowedHosts::new(Some(address.parse().unwrap()), is_open, names)
    }

    #[test]
    fn over_loopback_only_names_of_this_machine_are_allowed() {
        for hosts in [hosts("127.0.0.1", false), hosts("0.0.0.0", true)] {
            for host in [
                "localhost",
                "LOCALHOST:8000",
                "127.0.0.1:8000",
                "[::1]:8000",
                "a.localhost",
                "10.0.0.5",
                "jobs.example.com:8000",
            ] {
                assert!(hosts.allow(LOCAL, host), "{host}");
            }
            for host in [
                "evil.example",
                "localhost.evil.example",
                "127.0.0.1.evil.example:8000",
                "",
                "a b",
                "evil@localhost",
            ] {
                assert!(!hosts.allow(LOCAL, host), "{host}");
            }
        }
    }

    #[test]
    fn other_machines_and_proxies_that_know_users_may_name_any_host() {
        for peer in ["10.0.0.5", "127.0.0.6", "2001:db8::1"] {
            assert!(hosts("0.0.0.0", true).allow(peer.parse().unwrap(), "jobs.example"));
        }
        for peer in ["::1", "::ffff:127.0.0.1"] {
            assert!(!hosts("::", true).allow(peer.parse().unwrap(), "jobs.example"));
        }
        assert!(hosts("0.0.0.0", false).allow(LOCAL, "jobs.example"));
    }

    #[test]
    fn the_machine_has_names_of_its_own() {
        let hosts = "# 127.0.0.1 no\n127.0.0.1 localhost\n127.0.1.1\tjump.example jump # us\n10.0.0.1 other\n::1 ip6\n";
        assert_eq!(
            names_of_loopback(hosts),
            ["localhost", "jump.example", "jump", "ip6"]
        );
    }
}
