//! A proxy of HTTP (`CONNECT`) or SOCKS 5, which resolves each name to this machine.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy_bidirectional},
    net::TcpStream,
};

use super::front::serve;

/// A running proxy. It ends with the process.
#[must_use]
pub struct Tunnel {
    pub address: SocketAddr,
    targets: Arc<Mutex<Vec<String>>>,
}

/// The user and the password that a proxy demands.
pub type Login = Option<(&'static str, &'static str)>;

impl Tunnel {
    /// Starts a proxy for `CONNECT`.
    pub fn http(login: Login) -> Self {
        Self::start(async move |connection, targets| connect(connection, login, &targets).await)
    }

    /// Starts a proxy for SOCKS 5.
    pub fn socks5(login: Login) -> Self {
        Self::start(async move |connection, targets| socks(connection, login, &targets).await)
    }

    fn start<H>(handle: H) -> Self
    where
        H: AsyncFn(BufReader<TcpStream>, Targets) -> io::Result<()> + Clone + Send + 'static,
    {
        let targets = Targets::default();
        let seen = targets.clone();
        let address = serve(move |connection| {
            let (handle, seen) = (handle.clone(), seen.clone());
            async move {
                // Either end may close the connection.
                drop(handle(BufReader::new(connection), seen).await);
            }
        });
        Self { address, targets }
    }

    /// `host:port` of each connection so far.
    pub fn targets(&self) -> Vec<String> {
        self.targets.lock().unwrap().clone()
    }
}

type Targets = Arc<Mutex<Vec<String>>>;

async fn connect(
    mut client: BufReader<TcpStream>,
    login: Login,
    targets: &Targets,
) -> io::Result<()> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && client.read_line(&mut head).await? > 0 {}
    let target = head
        .strip_prefix("CONNECT ")
        .and_then(|rest| rest.split(' ').next());
    let Some(target) = target else {
        return client
            .write_all(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
            .await;
    };
    let demanded = login.map(|(user, password)| {
        let login = STANDARD.encode(format!("{user}:{password}"));
        format!("proxy-authorization: basic {}", login.to_lowercase())
    });
    if demanded.is_some_and(|demanded| !head.to_lowercase().contains(&demanded)) {
        let refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
        return client.write_all(refusal).await;
    }
    targets.lock().unwrap().push(target.to_owned());
    let port = target.rsplit(':').next().and_then(|port| port.parse().ok());
    let mut server = TcpStream::connect(("127.0.0.1", port.unwrap_or(0))).await?;
    client
        .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
        .await?;
    copy_bidirectional(&mut client, &mut server).await.map(drop)
}

async fn socks(
    mut client: BufReader<TcpStream>,
    login: Login,
    targets: &Targets,
) -> io::Result<()> {
    let [_version, methods] = read(&mut client).await?;
    let mut offered = vec![0; methods.into()];
    client.read_exact(&mut offered).await?;
    // 2 is the method of a user and a password (RFC 1929).
    let method = if login.is_some() { 2 } else { 0 };
    if !offered.contains(&method) {
        return client.write_all(&[5, 0xff]).await;
    }
    client.write_all(&[5, method]).await?;
    if let Some((user, password)) = login {
        let [_version] = read(&mut client).await?;
        let given = (text(&mut client).await?, text(&mut client).await?);
        let is_right = (given.0.as_str(), given.1.as_str()) == (user, password);
        client.write_all(&[1, u8::from(!is_right)]).await?;
        if !is_right {
            return Ok(());
        }
    }
    let [_version, _connect, _reserved, kind] = read(&mut client).await?;
    let host = match kind {
        1 => {
            let address: [u8; 4] = read(&mut client).await?;
            std::net::Ipv4Addr::from(address).to_string()
        }
        _ => text(&mut client).await?,
    };
    let port = u16::from_be_bytes(read(&mut client).await?);
    targets.lock().unwrap().push(format!("{host}:{port}"));
    let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
    client.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 0]).await?;
    copy_bidirectional(&mut client, &mut server).await.map(drop)
}

async fn read<const N: usize>(client: &mut BufReader<TcpStream>) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    client.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// A text behind its length.
async fn text(client: &mut BufReader<TcpStream>) -> io::Result<String> {
    let [length] = read(client).await?;
    let mut bytes = vec![0; length.into()];
    client.read_exact(&mut bytes).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
