//! The connections of the client: timeouts, buffers, the trusted CAs and the proxy.

use std::time::Duration;

use ureq::{
    Agent, ProxyProtocol,
    http::Uri,
    unversioned::{
        resolver::DefaultResolver,
        transport::{ConnectProxyConnector, Connector, SocksConnector, TcpConnector},
    },
};

use super::{
    socket::{NoAddress, Route, SocketConnector},
    tls::TlsConnector,
};
use crate::{
    certificate::Trust,
    client::config::Env,
    proxy::{InvalidProxy, Protocol, Proxy, Target, of_environment},
};

pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The input buffer holds as much as the server sends at once; the output buffer holds most requests. ureq's defaults are
/// 128 KiB each, and it fills its buffers with zeros before it uses them.
const INPUT_BUFFER: usize = 64 * 1024;
const OUTPUT_BUFFER: usize = 8 * 1024;

/// An agent that connects through `proxy` or over a `route`, and reports each status as an answer.
pub fn agent(
    proxy: Option<&Proxy>,
    route: Option<Route>,
    trust: Trust,
) -> Result<Agent, ureq::Error> {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        // A redirect turns a POST into a GET, so only some commands would work.
        .max_redirects(0)
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .input_buffer_size(INPUT_BUFFER)
        .output_buffer_size(OUTPUT_BUFFER)
        // ureq's own list of exceptions knows neither ports nor networks.
        .proxy(proxy.map(for_ureq).transpose()?)
        .user_agent(concat!(
            env!("CARGO_PKG_NAME"),
            "/",
            env!("CARGO_PKG_VERSION")
        ));
    Ok(match route {
        Some(route) => Agent::with_parts(config.build(), SocketConnector(route), NoAddress),
        None => {
            let connector =
                ().chain(SocksConnector::default())
                    .chain(ConnectProxyConnector::default())
                    .chain(TcpConnector::default())
                    .chain(TlsConnector::new(trust));
            Agent::with_parts(config.build(), connector, DefaultResolver::default())
        }
    })
}

/// The proxy that the environment names for a URL. Like curl, and unlike kubectl, the client knows `ALL_PROXY`.
pub fn proxy(url: &str, env: Env<'_>) -> Result<Option<Proxy>, InvalidProxy> {
    let uri: Uri = url.parse().unwrap_or_default();
    let is_https = uri.scheme_str() == Some("https");
    let target = Target {
        is_https,
        host: uri.host().unwrap_or_default(),
        port: uri.port_u16().unwrap_or(if is_https { 443 } else { 80 }),
    };
    let variables = |name: &str| env(name).map(|value| value.to_string_lossy().into_owned());
    of_environment(&variables, target, &["ALL_PROXY", "all_proxy"])
}

fn for_ureq(proxy: &Proxy) -> Result<ureq::Proxy, ureq::Error> {
    let protocol = match proxy.protocol {
        Protocol::Http => ProxyProtocol::Http,
        Protocol::Https => ProxyProtocol::Https,
        Protocol::Socks5 => ProxyProtocol::Socks5h,
    };
    let mut made = ureq::Proxy::builder(protocol)
        .host(&proxy.host)
        .port(proxy.port);
    if let Some((user, password)) = &proxy.login {
        made = made.username(user).password(password);
    }
    made.build()
}
