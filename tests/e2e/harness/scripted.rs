//! A server that answers each request from a script.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    thread,
};

/// Starts a server; returns its URL. `answer` gets the method with the path, and the body. It returns the answer behind `HTTP/1.1 `:
/// the status, the headers without an end, and the body behind an empty line.
pub fn serve(mut answer: impl FnMut(&str, &str) -> String + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = BufReader::new(connection.unwrap());
            let (mut first, mut length) = (None, 0);
            let mut line = String::new();
            while connection
                .read_line(&mut line)
                .is_ok_and(|length| length > 2)
            {
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                first.get_or_insert_with(|| line.clone());
                line.clear();
            }
            let mut body = vec![0; length];
            connection.read_exact(&mut body).unwrap();
            let Some(first) = first else { continue };
            let first: Vec<_> = first.split(' ').take(2).collect();
            let answer = answer(&first.join(" "), &String::from_utf8(body).unwrap());
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            let answer = format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n{body}");
            // The client may have closed the connection.
            drop(connection.get_mut().write_all(answer.as_bytes()));
        }
    });
    url
}
