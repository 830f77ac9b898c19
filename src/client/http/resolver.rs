//! Hosts to addresses, as ureq does it, but without a thread where nobody has to be asked; and which hosts are this machine.

use std::net::IpAddr;

use ureq::{
    Error,
    config::Config,
    http::Uri,
    unversioned::{
        resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver},
        transport::{NextTimeout, time::Duration},
    },
};

/// ureq's own resolver, which can give up after a time because it asks on a thread of its own. To start that is a tenth of what a
/// command takes, and an address and `localhost` are known without.
#[derive(Debug, Default)]
pub struct LocalFirst(DefaultResolver);

impl Resolver for LocalFirst {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        mut timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let host = uri.host().unwrap_or_default();
        if host == "localhost" || address(host).is_some() {
            timeout.after = Duration::NotHappening;
        }
        self.0.resolve(uri, config, timeout)
    }
}

/// Whether a URL is one of this machine.
pub fn is_loopback(url: &str) -> bool {
    let uri: Option<Uri> = url.parse().ok();
    let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
    host == "localhost" || address(host).is_some_and(|address| address.is_loopback())
}

/// The address that stands for a host, if it is none that has to be looked up.
fn address(host: &str) -> Option<IpAddr> {
    host.trim_matches(['[', ']']).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loopback() {
        for url in [
            "http://localhost:8000",
            "http://127.0.0.1",
            "http://127.8.0.1:1/base",
            "https://[::1]:8000",
        ] {
            assert!(is_loopback(url), "{url}");
        }
        for url in [
            "http://jump:8000",
            "http://10.0.0.1",
            "http://localhost.evil.org",
        ] {
            assert!(!is_loopback(url), "{url}");
        }
    }
}
