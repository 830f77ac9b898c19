//! A Kubernetes that is played: what it answers to each request is up to a test.

use kube::Config;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::Executor;

/// An executor on a server that answers each request with what `play` makes of its first line (``GET /path?query HTTP/1.1``),
/// or with nothing at all, and then closes the connection.
pub async fn executor(mut play: impl FnMut(&str) -> Option<String> + Send + 'static) -> Executor {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let length = connection.read(&mut request).await.unwrap_or_default();
            let request = String::from_utf8_lossy(&request[..length]);
            let Some(body) = play(request.lines().next().unwrap_or_default()) else {
                continue;
            };
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{body}"
            );
            drop(connection.write_all(answer.as_bytes()).await);
        }
    });
    Executor::new(Config::new(url.parse().unwrap()), "default").unwrap()
}
