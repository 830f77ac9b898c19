//! Who the server is to Kubernetes: a token or a certificate, fixed, from a file or from a plugin.
//!
//! All connections of the server share one [`Credentials`], so a plugin is asked once for all of them. It is asked again when its
//! answer expires, and when Kubernetes refuses it with 401: then the request is sent once more.

use std::{
    fmt, fs,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, PoisonError, RwLock},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderValue, Request, Response, StatusCode, header::AUTHORIZATION};
use kube::client::{AuthError, Body};
use rustls::{SignatureScheme, client::ResolvesClientCert, sign::CertifiedKey};
use tokio::sync::Mutex;
use tower::{BoxError, Layer, Service, ServiceExt};

use super::plugin::{Answer, Plugin};

/// How long the token of a file is used before the file is read again.
const FRESH: Duration = Duration::from_secs(60);

/// Where the credentials come from.
#[derive(Clone, Debug)]
pub enum Source {
    None,
    Token(String),
    Basic {
        user: String,
        password: String,
    },
    /// A file with a token, and the token to use while the file cannot be read.
    File(PathBuf, Option<String>),
    Plugin(Box<Plugin>),
}

/// The credentials of the server.
pub struct Credentials {
    source: Source,
    /// A client certificate of the kubeconfig.
    certificate: Option<Arc<CertifiedKey>>,
    current: RwLock<Current>,
    /// Held while the source is asked, so that it is asked once for all requests that wait.
    asking: Mutex<()>,
}

/// The last answer of the source.
#[derive(Clone, Default)]
struct Current {
    header: Option<HeaderValue>,
    /// The client certificate of a plugin, for new connections.
    identity: Option<Arc<CertifiedKey>>,
    /// When the source must be asked again; none for never.
    expires: Option<Instant>,
    /// The number of answers of the source so far.
    version: u64,
}

impl Credentials {
    pub fn new(source: Source, certificate: Option<Arc<CertifiedKey>>) -> Arc<Self> {
        Arc::new(Self {
            source,
            certificate,
            current: RwLock::default(),
            asking: Mutex::default(),
        })
    }

    /// Whether Kubernetes may accept a second try of what it refused.
    fn can_change(&self) -> bool {
        matches!(self.source, Source::File(..) | Source::Plugin(_))
    }

    /// The header for a request, and the version of the credentials in it.
    ///
    /// # Errors
    /// The source has no answer.
    pub async fn header(self: &Arc<Self>) -> Result<(Option<HeaderValue>, u64), String> {
        self.header_after(None).await
    }

    /// The same, with credentials other than those of the version `refused`.
    async fn header_after(
        self: &Arc<Self>,
        refused: Option<u64>,
    ) -> Result<(Option<HeaderValue>, u64), String> {
        let usable = move |current: Current| {
            let is_usable = current.version > 0
                && refused != Some(current.version)
                && current.expires.is_none_or(|end| Instant::now() < end);
            is_usable.then_some((current.header, current.version))
        };
        if let Some(usable) = usable(self.current()) {
            return Ok(usable);
        }
        // The request may end before the plugin does. The next request needs its answer too.
        let credentials = self.clone();
        let asking = tokio::spawn(async move {
            let _asking = credentials.asking.lock().await;
            if let Some(usable) = usable(credentials.current()) {
                return Ok(usable);
            }
            let next = credentials.ask(credentials.current()).await?;
            let answer = (next.header.clone(), next.version);
            *(credentials.current.write()).unwrap_or_else(PoisonError::into_inner) = next;
            Ok(answer)
        });
        asking.await.map_err(|error| error.to_string())?
    }

    fn current(&self) -> Current {
        let current = self.current.read();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks the source, after its answer `current`.
    async fn ask(&self, current: Current) -> Result<Current, String> {
        let bearer = |token: String| format!("Bearer {token}");
        let mut of_plugin = None;
        let (text, expires) = match &self.source {
            Source::None => (None, None),
            Source::Token(token) => (Some(bearer(token.trim().to_owned())), None),
            Source::Basic { user, password } => {
                let login = STANDARD.encode(format!("{user}:{password}"));
                (Some(format!("Basic {login}")), None)
            }
            Source::File(path, otherwise) => {
                let read = fs::read_to_string(path).map(|text| text.trim().to_owned());
                let token = match (read, otherwise) {
                    (Ok(token), _) if !token.is_empty() => Some(bearer(token)),
                    (_, Some(token)) => Some(bearer(token.trim().to_owned())),
                    // The token that was read last may be valid for longer than its file exists.
                    (Err(error), None) if current.header.is_some() => {
                        log::warn!("the token stays as it was: cannot read {path:?}: {error}");
                        None
                    }
                    (Err(error), None) => {
                        let path = path.display();
                        return Err(format!("cannot read the token file `{path}`: {error}"));
                    }
                    (Ok(_), None) => {
                        return Err(format!("the token file `{}` is empty", path.display()));
                    }
                };
                let Some(token) = token else {
                    let expires = Some(Instant::now() + FRESH);
                    return Ok(Current { expires, ..current });
                };
                (Some(token), Some(Instant::now() + FRESH))
            }
            Source::Plugin(plugin) => {
                let Answer {
                    token,
                    identity,
                    expires,
                } = plugin.ask().await?;
                of_plugin = identity;
                (token.map(bearer), expires)
            }
        };
        let header = text.map(HeaderValue::try_from).transpose();
        let mut header = header.map_err(|_| "the token holds a character that cannot be sent")?;
        if let Some(header) = &mut header {
            header.set_sensitive(true);
        }
        Ok(Current {
            header,
            identity: of_plugin,
            expires,
            version: current.version + 1,
        })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

impl ResolvesClientCert for Credentials {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.current().identity.or_else(|| self.certificate.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Adds the credentials to each request.
#[derive(Clone)]
pub struct WithCredentials(pub Arc<Credentials>);

impl<S> Layer<S> for WithCredentials {
    type Service = Authenticated<S>;

    fn layer(&self, inner: S) -> Authenticated<S> {
        Authenticated {
            inner,
            credentials: self.0.clone(),
        }
    }
}

#[derive(Clone)]
pub struct Authenticated<S> {
    inner: S,
    credentials: Arc<Credentials>,
}

type Answering<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

impl<S, B> Service<Request<Body>> for Authenticated<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Send,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = Answering<Response<B>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let unready = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, unready);
        let credentials = self.credentials.clone();
        Box::pin(async move {
            let refuse = |problem| Box::new(kube::Error::Auth(AuthError::AuthExec(problem)));
            let again = credentials.can_change().then(|| copy(&request)).flatten();
            let (header, version) = credentials.header().await.map_err(refuse)?;
            authorize(&mut request, header);
            let answer = inner.call(request).await.map_err(Into::into)?;
            let Some(mut again) = again.filter(|_| answer.status() == StatusCode::UNAUTHORIZED)
            else {
                return Ok(answer);
            };
            let (header, _) = (credentials.header_after(Some(version)).await).map_err(refuse)?;
            authorize(&mut again, header);
            let inner = inner.ready().await.map_err(Into::into)?;
            inner.call(again).await.map_err(Into::into)
        })
    }
}

fn authorize(request: &mut Request<Body>, header: Option<HeaderValue>) {
    if let Some(header) = header {
        request.headers_mut().insert(AUTHORIZATION, header);
    }
}

/// A copy of a request, if its body is not a stream.
fn copy(request: &Request<Body>) -> Option<Request<Body>> {
    let mut copy = Request::new(request.body().try_clone()?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}
