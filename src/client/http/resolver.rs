//! Hosts to addresses, as ureq does it, but without a thread where nobody has to be asked.

use ureq::{
    Error,
    config::Config,
    http::Uri,
    unversioned::{
        resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver},
        transport::{NextTimeout, time::Duration},
    },
};

use super::address;

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
