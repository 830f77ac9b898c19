//! Tests of the client with other programs at the server's address.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    thread,
};

use crate::harness::World;

/// Starts a server that answers every request with this head; returns its URL.
fn answering(head: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = BufReader::new(connection.unwrap());
            let mut line = String::new();
            while connection
                .read_line(&mut line)
                .is_ok_and(|length| length > 2)
            {
                line.clear();
            }
            let answer = format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n<html>log in</html>");
            // The client may have closed the connection.
            drop(connection.get_mut().write_all(answer.as_bytes()));
        }
    });
    url
}

#[test]
fn no_command_follows_a_redirect() {
    let world = World::new();
    let ada = world.login("ada");
    let file = ada.file("run: 'true'");
    for head in [
        "301 Moved Permanently\r\nLocation: https://jump/tasks",
        "302 Found\r\nLocation: https://jump/tasks",
        "308 Permanent Redirect\r\nLocation: https://jump/tasks",
    ] {
        let url = answering(head);
        for args in [
            &["jobs", "list"][..],
            &["jobs", "submit", "--detach", &file],
            &["jobs", "stop", "ab12cd34"],
            &["jobs", "logs", "ab12cd34"],
            &["volumes", "delete", "ab12cd34", "--force"],
        ] {
            ada.start_at(&url, args)
                .finish()
                .code(1)
                .stdout("")
                .stderr(&format!(
                    "k8s-cli: the server at {url} redirects to https://jump/tasks\n\
                     hint: --api-url or K8S_CLI_API_URL set the URL of the server\n"
                ));
        }
    }
}

#[test]
fn an_html_page_is_not_printed_as_a_log() {
    let world = World::new();
    let ada = world.login("ada");
    let url = answering("200 OK\r\nContent-Type: text/html");
    ada.start_at(&url, ["jobs", "logs", "ab12cd34"])
        .finish()
        .code(1)
        .stdout("")
        .says("did not answer as a k8s-cli server (its log is text/html)");
}
