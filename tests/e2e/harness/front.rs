//! A server in front of another one: it speaks TLS, examines the head of each request, and may answer it, hold it up or swallow it.

use std::{
    net::SocketAddr,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use serde_json::json;
use tokio::{
    io::{
        AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, copy, copy_bidirectional,
        sink,
    },
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

/// What becomes of a request: its head as it is sent on, or the answer.
pub enum Verdict {
    Forward(String),
    /// The same, after a time.
    Delay(Duration, String),
    Answer(String),
    /// The request is sent on with this head, and its answer is lost.
    Lose(String),
    /// The connection stays open, and nothing comes.
    Silence,
}

/// Kubernetes refuses the request.
pub fn refusal(code: u16, reason: &str, message: &str) -> Verdict {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": reason, "message": message, "code": code,
    });
    let body = body.to_string();
    let length = body.len();
    let retry = if code == 429 {
        "Retry-After: 1\r\n"
    } else {
        ""
    };
    Verdict::Answer(format!(
        "HTTP/1.1 {code} Refused\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{retry}Connection: close\r\n\r\n{body}"
    ))
}

/// A running server. It ends with the process.
#[must_use]
pub struct Front {
    pub address: SocketAddr,
}

impl Front {
    /// Starts the server. `judge` gets the head of each request. A connection carries one request.
    pub fn start(
        target: SocketAddr,
        tls: Option<Arc<ServerConfig>>,
        judge: impl Fn(&str) -> Verdict + Send + Sync + 'static,
    ) -> Self {
        let judge = Arc::new(judge);
        let address = serve(move |connection| {
            let (judge, tls) = (judge.clone(), tls.clone());
            async move {
                // A client that does not trust the certificate ends the connection.
                match tls {
                    None => forward(connection, target, &*judge).await,
                    Some(tls) => match TlsAcceptor::from(tls).accept(connection).await {
                        Ok(connection) => forward(connection, target, &*judge).await,
                        Err(_) => Ok(()),
                    },
                }
                .ok();
            }
        });
        Self { address }
    }
}

/// Accepts connections on loopback, on a thread of its own; returns the address.
pub fn serve<F: Future<Output = ()> + 'static>(
    mut accept: impl FnMut(TcpStream) -> F + Send + 'static,
) -> SocketAddr {
    let (ready, address) = mpsc::channel();
    thread::spawn(move || {
        actix_rt::System::new().block_on(async {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            ready.send(listener.local_addr().unwrap()).unwrap();
            while let Ok((connection, _)) = listener.accept().await {
                actix_rt::spawn(accept(connection));
            }
        });
    });
    address.recv().unwrap()
}

async fn forward(
    connection: impl AsyncRead + AsyncWrite + Unpin,
    target: SocketAddr,
    judge: &impl Fn(&str) -> Verdict,
) -> std::io::Result<()> {
    let mut connection = BufReader::new(connection);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if connection.read_line(&mut head).await? == 0 {
            return Ok(());
        }
    }
    match judge(&head) {
        Verdict::Answer(answer) => {
            connection.write_all(answer.as_bytes()).await?;
            connection.shutdown().await
        }
        Verdict::Forward(head) => pass_on(connection, target, &head).await,
        Verdict::Delay(time, head) => {
            sleep(time).await;
            pass_on(connection, target, &head).await
        }
        Verdict::Lose(head) => {
            let (mut answer, mut server) = TcpStream::connect(target).await?.into_split();
            server.write_all(head.as_bytes()).await?;
            let mut nowhere = sink();
            tokio::select! {
                sent = copy(&mut connection, &mut server) => sent.map(drop),
                // The server has read the request when it has answered.
                lost = copy(&mut answer, &mut nowhere) => lost.map(drop),
            }
        }
        Verdict::Silence => {
            // The body of the request, and then the end of the connection.
            copy(&mut connection, &mut sink()).await.map(drop)
        }
    }
}

async fn pass_on(
    mut connection: impl AsyncRead + AsyncWrite + Unpin,
    target: SocketAddr,
    head: &str,
) -> std::io::Result<()> {
    let mut server = TcpStream::connect(target).await?;
    server.write_all(head.as_bytes()).await?;
    copy_bidirectional(&mut connection, &mut server).await?;
    Ok(())
}

/// The head with these headers instead of its own, and with the end of the connection after the answer.
pub fn with_headers(head: &str, headers: &[(&str, &str)]) -> String {
    let replaced = |line: &str| {
        let name = line.split(':').next().unwrap_or_default();
        name.eq_ignore_ascii_case("connection")
            || headers
                .iter()
                .any(|(other, _)| name.eq_ignore_ascii_case(other))
    };
    let mut lines: Vec<String> = (head.trim_end().lines().enumerate())
        .filter(|(number, line)| *number == 0 || !replaced(line))
        .map(|(_, line)| line.to_owned())
        .collect();
    lines.extend(
        headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}")),
    );
    format!("{}\r\nConnection: close\r\n\r\n", lines.join("\r\n"))
}
