//! A server for tests that answers each request from a script.

use std::io;

use kube::core::Status;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

use super::cluster::Cluster;

/// Starts a server that passes the first line of each request (``GET /path?query HTTP/1.1``) to `script`, sends the text that `script`
/// returns, if any, and closes the connection. A text may begin with a header `Warning` or `Date`, and an empty line. Returns a handle on the server.
pub async fn cluster(mut script: impl FnMut(&str) -> Option<String> + Send + 'static) -> Cluster {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let mut connection = BufReader::new(connection);
            let request = read(&mut connection).await.unwrap_or_default();
            let Some(body) = script(request.lines().next().unwrap_or_default()) else {
                continue;
            };
            let (header, body) = match body.split_once("\n\n") {
                Some((header, body))
                    if header.starts_with("Warning: ") || header.starts_with("Date: ") =>
                {
                    (header, body)
                }
                _ => ("Warning: 299 - \"\"", &*body),
            };
            // A `Status` has the code of its answer.
            let status: Option<Status> = serde_json::from_str(body).ok();
            let code = status.map_or(200, |status| status.code.max(200));
            let answer = format!(
                "HTTP/1.1 {code} -\r\nContent-Type: application/json\r\nConnection: close\r\n{header}\r\n\r\n{body}"
            );
            drop(connection.write_all(answer.as_bytes()).await);
        }
    });
    Cluster::at(&url, "default").unwrap()
}

/// The method of a request, and the last name in its path.
pub fn method_and_name(request: &str) -> (&str, &str) {
    let (method, path) = request.split_once(' ').unwrap();
    let path = path.split([' ', '?']).next().unwrap();
    (method, path.rsplit('/').next().unwrap())
}

/// Reads a whole request, since a connection that is closed with unread data is reset; returns its head.
async fn read(connection: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && connection.read_line(&mut head).await? > 0 {}
    let length = head.to_ascii_lowercase();
    let length = length
        .split_once("content-length: ")
        .map_or("0", |(_, rest)| rest);
    let length = length.lines().next().and_then(|length| length.parse().ok());
    connection
        .read_exact(&mut vec![0; length.unwrap_or(0)])
        .await?;
    Ok(head)
}
