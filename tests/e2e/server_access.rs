//! Tests of the way from the client to the server: proxies and certificates.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::Command,
};

use tokio_rustls::TlsAcceptor;

use crate::harness::{
    Authority, Front, Outcome, Running, Session, TempDir, Tunnel, Verdict, World, front, wait_until,
};

/// Runs a command for another server, with further variables.
fn run(ada: &Session<'_>, url: &str, env: &[(&str, &str)]) -> Outcome {
    let mut command: Command = ada.command(["jobs", "list"]);
    command
        .env("K8S_CLI_API_URL", url)
        .envs(env.iter().copied());
    Running::start(command, "").finish()
}

#[test]
fn a_proxy_leads_to_the_server() {
    let world = World::with(&["--allowed-host", "jump.test"]);
    let ada = world.login("ada");
    let (_, port) = world.url.rsplit_once(':').unwrap();
    let (far, target) = (
        format!("http://jump.test:{port}"),
        format!("jump.test:{port}"),
    );
    let http = Tunnel::http(Some(("ada", "p@ss")));
    let socks = Tunnel::socks5(None);
    let of_http = format!("http://ada:p%40ss@{}", http.address);
    let of_socks = format!("socks5://{}", socks.address);
    run(&ada, &far, &[("HTTP_PROXY", &of_http)]).success();
    run(&ada, &far, &[("http_proxy", &of_http)]).success();
    assert_eq!(http.targets(), [target.as_str(), &target]);
    run(&ada, &far, &[("ALL_PROXY", &of_socks)]).success();
    assert_eq!(socks.targets(), [target.as_str()]);
    for exceptions in ["jump.test", "a, .test", "*", &target] {
        let env = [("HTTP_PROXY", of_http.as_str()), ("NO_PROXY", exceptions)];
        let outcome = run(&ada, &far, &env)
            .code(1)
            .says("cannot reach the server");
        assert!(!outcome.stderr.contains("proxy"), "{}", outcome.stderr);
    }
    // The server on this machine is reached without a proxy.
    run(&ada, &world.url, &[("HTTP_PROXY", "http://127.0.0.1:9")]).success();
}

#[test]
fn a_proxy_that_fails_is_named_without_its_password() {
    let world = World::new();
    let ada = world.login("ada");
    let locked = Tunnel::http(Some(("ada", "right")));
    // A proxy that ends each connection.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mute = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut head = String::new();
            let mut connection = BufReader::new(connection.unwrap());
            while connection
                .read_line(&mut head)
                .is_ok_and(|length| length > 2)
            {}
        }
    });
    for (proxy, code, expected) in [
        (
            format!("http://ada:hush@{mute}"),
            1,
            format!("http://jump.test:1 through the proxy http://{mute}"),
        ),
        (
            "http://ada:hush@127.0.0.1:9".to_owned(),
            1,
            "cannot reach the server at http://jump.test:1 through the proxy http://127.0.0.1:9: connection refused\n"
                .to_owned(),
        ),
        (
            format!("http://ada:hush@{}", locked.address),
            1,
            format!("through the proxy http://{}: it answered 407\n", locked.address),
        ),
        (
            "gopher://ada:hush@proxy".to_owned(),
            2,
            "HTTP_PROXY does not name a proxy".to_owned(),
        ),
    ] {
        let outcome = run(&ada, "http://jump.test:1", &[("HTTP_PROXY", &proxy)]);
        let outcome = outcome.code(code).says(&expected);
        assert!(!outcome.stderr.contains("hush"), "{}", outcome.stderr);
        assert!(!outcome.stderr.contains("k8s-cli serve"), "{}", outcome.stderr);
    }
}

#[test]
fn the_cas_of_the_system_are_trusted_and_those_of_ssl_cert_file() {
    let world = World::new();
    let ada = world.login("ada");
    let authority = Authority::new();
    let (file, folder) = (ada.home.join("ca.pem"), ada.home.join("cas"));
    fs::write(&file, authority.pem()).unwrap();
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("0123abcd.0"), authority.pem()).unwrap();
    let target = world.url.strip_prefix("http://").unwrap().parse().unwrap();
    let front = |host: &str| {
        let tls = authority.identity(host).server;
        let front = Front::start(target, Some(tls), |head| Verdict::Forward(head.to_owned()));
        format!("https://{}", front.address)
    };
    let url = front("127.0.0.1");
    for (name, path) in [
        ("SSL_CERT_FILE", &file),
        ("SSL_CERT_DIR", &folder),
        ("K8S_CLI_CA_FILE", &file),
    ] {
        run(&ada, &url, &[(name, path.to_str().unwrap())]).success();
    }
    let hint = "hint: --ca-file or K8S_CLI_CA_FILE name a file with the CAs to trust, SSL_CERT_DIR a folder of them\n";
    run(&ada, &url, &[]).code(1).stderr(&format!(
        "k8s-cli: cannot trust the server at {url}: its certificate is signed by an unknown issuer, which is none of the \
         trusted CAs\n{hint}"
    ));
    let other = front("elsewhere.test");
    let trusting = [("SSL_CERT_FILE", file.to_str().unwrap())];
    run(&ada, &other, &trusting).code(1).stderr(&format!(
        "k8s-cli: cannot trust the server at {other}: its certificate is for another name\n"
    ));
    run(&ada, &url, &[("SSL_CERT_FILE", "/missing")])
        .code(1)
        .says("SSL_CERT_FILE: cannot read `/missing`");
    // A certificate that is named is trusted, whoever has signed it.
    for identity in [
        authority.identity("127.0.0.1"),
        Authority::itself("127.0.0.1"),
    ] {
        let named = ada.home.join("server.pem");
        fs::write(&named, &identity.pem).unwrap();
        let front = Front::start(target, Some(identity.server), |head| {
            Verdict::Forward(head.to_owned())
        });
        let url = format!("https://{}", front.address);
        for name in ["SSL_CERT_FILE", "K8S_CLI_CA_FILE"] {
            run(&ada, &url, &[(name, named.to_str().unwrap())]).success();
        }
        run(&ada, &url, &[]).code(1).says("cannot trust the server");
    }
    // It answers what is not TLS with an alert; others close the connection.
    let tls = TlsAcceptor::from(authority.identity("127.0.0.1").server);
    let silent = front::serve(move |connection| {
        let tls = tls.clone();
        async move {
            let mut first = [0];
            connection.peek(&mut first).await.ok();
            // The type of a handshake.
            if first == [22] {
                tls.accept(connection).await.ok();
            }
        }
    });
    for url in [&url, &format!("https://{silent}")] {
        let plain = url.replace("https", "http");
        run(&ada, &plain, &[]).code(1).stderr(&format!(
            "k8s-cli: the server at {plain} does not speak plain http\nhint: type --api-url {url}\n"
        ));
    }
}

#[test]
fn the_server_speaks_tls_with_the_newest_certificate() {
    let dir = TempDir::new();
    let (chain, key) = (dir.path().join("chain.pem"), dir.path().join("key.pem"));
    let (first, second) = (Authority::new(), Authority::new());
    let install = |authority: &Authority| {
        let identity = authority.identity("127.0.0.1");
        for (path, pem) in [(&key, identity.key), (&chain, identity.pem)] {
            fs::write(path.with_extension("next"), pem).unwrap();
            fs::rename(path.with_extension("next"), path).unwrap();
        }
    };
    install(&first);
    let files = [chain.to_str().unwrap(), key.to_str().unwrap()];
    let world = World::with(&[
        "--tls-cert",
        files[0],
        "--tls-key",
        files[1],
        "--trusted-proxy",
        "127.0.0.1",
    ]);
    assert!(world.url.starts_with("https://127.0.0.1:"), "{}", world.url);
    let ada = world.login("ada");
    let ca = |name: &str, authority: &Authority| {
        let path = ada.home.join(name);
        fs::write(&path, authority.pem()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (old, new) = (ca("old.pem", &first), ca("new.pem", &second));
    let submit = ada.file("run: echo over TLS");
    let outcome = ada
        .run(["jobs", "submit", "--ca-file", &old, &submit])
        .success();
    assert!(outcome.stdout.ends_with("over TLS\n"), "{}", outcome.stdout);
    ada.run(["jobs", "list"])
        .code(1)
        .says("signed by an unknown issuer");
    ada.run(["jobs", "list", "--ca-file", "/missing"])
        .code(1)
        .says("cannot read `/missing`: no such file or directory");
    ada.run(["jobs", "list", "--ca-file", &submit])
        .code(2)
        .says("holds no certificate in PEM");
    let plain = world.url.replace("https", "http");
    ada.start_at(&plain, ["jobs", "list"]).finish().code(1);
    install(&second);
    wait_until("the new certificate is used", || {
        run(&ada, &world.url, &[("K8S_CLI_CA_FILE", &new)]).code == Some(0)
    });
    run(&ada, &world.url, &[("K8S_CLI_CA_FILE", &old)]).code(1);
    // Files that do not belong together are not used.
    fs::write(&key, Authority::new().identity("127.0.0.1").key).unwrap();
    wait_until("the server says so", || {
        run(&ada, &world.url, &[("K8S_CLI_CA_FILE", &new)]).success();
        world.log().contains("the old certificate is used")
    });
}
