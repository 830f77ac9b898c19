//! A server for tests that answers each request from a script.

use kube::Config;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::cluster::Cluster;

/// Starts a server that passes the first line of each request (``GET /path?query HTTP/1.1``) to `script`, sends the text that `script`
/// returns, if any, and closes the connection. Returns a handle on the server.
pub async fn cluster(mut script: impl FnMut(&str) -> Option<String> + Send + 'static) -> Cluster {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let length = connection.read(&mut request).await.unwrap_or_default();
            let request = String::from_utf8_lossy(&request[..length]);
            let Some(body) = script(request.lines().next().unwrap_or_default()) else {
                continue;
            };
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{body}"
            );
            drop(connection.write_all(answer.as_bytes()).await);
        }
    });
    Cluster::new(Config::new(url.parse().unwrap()), "default").unwrap()
}
