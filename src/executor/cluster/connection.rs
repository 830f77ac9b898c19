//! Connections to Kubernetes: directly or through a proxy, with TLS and the server's credentials.

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderValue, Uri};
use hyper::rt::{Read, Write};
use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder};
use hyper_timeout::TimeoutConnector;
use hyper_util::{
    client::legacy::{
        Client as HttpClient,
        connect::{
            Connection, HttpConnector,
            proxy::{SocksV5, Tunnel},
        },
    },
    rt::{TokioExecutor, TokioTimer},
};
use kube::{
    Client, Config,
    client::{Body, ConfigExt, retry::RetryPolicy},
};
use rustls::{ClientConfig, pki_types::ServerName};
use tower::{BoxError, Service, ServiceBuilder, retry::RetryLayer};

use super::{
    DEADLINE,
    calls::Calls,
    credentials::{Credentials, WithCredentials},
};
use crate::proxy::{Protocol, Proxy};

/// How long Kubernetes or the proxy may take nothing of a request.
const WRITE_TIMEOUT: Duration = Duration::from_secs(295);

/// How long a connection may be idle. They are looked at this often, so one ends after at most 90 s, as in Go's clients.
const IDLE: Duration = Duration::from_secs(45);

/// All that a connection needs. Clones share the credentials and the TLS sessions.
#[derive(Clone)]
pub struct Access {
    /// The URL, and the headers of impersonation. Its credentials, certificates and proxy are not used.
    pub config: Config,
    pub proxy: Option<Proxy>,
    pub tls: Arc<ClientConfig>,
    /// The name in the certificate of the API server, if it is not that in the URL.
    pub server_name: Option<ServerName<'static>>,
    pub credentials: Arc<Credentials>,
}

impl Access {
    /// A client with connections of its own, whose requests are counted. Nothing is sent.
    ///
    /// # Errors
    /// A part of the configuration cannot be sent.
    pub fn client(&self, calls: &Calls) -> kube::Result<Client> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        let Some(proxy) = &self.proxy else {
            return self.over(tcp, calls);
        };
        let url = |scheme: &str| {
            let url = format!("{scheme}://{}", proxy.authority());
            url.parse::<Uri>()
                .map_err(|error| kube::Error::HttpError(error.into()))
        };
        match proxy.protocol {
            Protocol::Socks5 => {
                let mut socks = SocksV5::new(url("socks5")?, tcp);
                if let Some((user, password)) = proxy.login.clone() {
                    socks = socks.with_auth(user, password);
                }
                self.over(socks, calls)
            }
            Protocol::Http => self.over(with_login(Tunnel::new(url("http")?, tcp), proxy)?, calls),
            Protocol::Https => {
                // Like Go, with the CAs of the cluster.
                let tls = HttpsConnectorBuilder::new().with_tls_config((*self.tls).clone());
                let tls = tls.https_only().enable_http1().wrap_connector(tcp);
                self.over(with_login(Tunnel::new(url("https")?, tls), proxy)?, calls)
            }
        }
    }

    /// A client whose connections `connector` makes.
    fn over<C>(&self, connector: C, calls: &Calls) -> kube::Result<Client>
    where
        C: Service<Uri> + Clone + Send + Sync + 'static,
        C::Response: Connection + Read + Write + Send + Unpin + 'static,
        C::Future: Send + 'static,
        C::Error: Into<BoxError>,
    {
        let config = &self.config;
        let mut tls = HttpsConnectorBuilder::new()
            .with_tls_config((*self.tls).clone())
            .https_or_http();
        if let Some(name) = self.server_name.clone() {
            tls = tls.with_server_name_resolver(FixedServerNameResolver::new(name));
        }
        let connector = tls.enable_http1().wrap_connector(connector);
        let mut connector = TimeoutConnector::new(connector);
        // The time for the proxy, for TCP and for TLS together.
        connector.set_connect_timeout(Some(DEADLINE / 2));
        connector.set_write_timeout(Some(WRITE_TIMEOUT));
        let service = ServiceBuilder::new()
            .layer(config.base_uri_layer())
            .layer(RetryLayer::new(RetryPolicy::server_retry()))
            .layer(WithCredentials(self.credentials.clone()))
            .layer(config.extra_headers_layer()?)
            .layer(calls.clone())
            .map_err(BoxError::from)
            .service(
                HttpClient::builder(TokioExecutor::new())
                    // Without a timer, those of the busiest moment would stay open for ever.
                    .pool_timer(TokioTimer::new())
                    .pool_idle_timeout(IDLE)
                    .build::<_, Body>(connector),
            );
        Ok(Client::new(service, config.default_namespace.clone()))
    }
}

fn with_login<C>(tunnel: Tunnel<C>, proxy: &Proxy) -> kube::Result<Tunnel<C>> {
    let Some((user, password)) = &proxy.login else {
        return Ok(tunnel);
    };
    let login = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
    let login =
        HeaderValue::try_from(login).map_err(|error| kube::Error::HttpError(error.into()))?;
    Ok(tunnel.with_auth(login))
}
