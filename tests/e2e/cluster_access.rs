//! Tests of the way to the cluster: proxies, kubeconfigs, certificates, credential plugins and namespaces.

use std::{
    ffi::OsStr,
    fs::{self, OpenOptions},
    io::Write,
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use kube::config::Kubeconfig;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::harness::{
    Authority, Front, Outcome, Running, Server, TempDir, Tunnel, Verdict, World, k8s_cli,
    wait_until, with_headers,
};

/// A sandbox, and a folder for kubeconfigs of other ways to it.
struct Cluster {
    world: World,
    address: SocketAddr,
    token: String,
    dir: TempDir,
}

impl Cluster {
    fn new() -> Self {
        let world = World::sandbox(&[]);
        let file = Kubeconfig::read_from(&world.kubeconfig).unwrap();
        let url = file.clusters[0].cluster.as_ref().unwrap().server.as_ref();
        let address = url.unwrap().strip_prefix("http://").unwrap();
        let user = file.auth_infos[0].auth_info.as_ref().unwrap();
        Self {
            // The path holds the token once more, for kubectl.
            address: address.split('/').next().unwrap().parse().unwrap(),
            token: user.token.as_ref().unwrap().expose_secret().to_owned(),
            world,
            dir: TempDir::new(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Writes a script that can be run.
    fn script(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        let mut file = (OpenOptions::new().write(true).create_new(true))
            .mode(0o700)
            .open(&path)
            .unwrap();
        write!(file, "#!/bin/sh\n{text}\n").unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Writes a kubeconfig for a URL.
    fn kubeconfig(&self, url: &str, cluster: &Value, user: &Value) -> PathBuf {
        let mut cluster = cluster.clone();
        cluster["server"] = json!(url);
        let file = json!({
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": user}],
        });
        let name = format!("kubeconfig-{:016x}", rand::random::<u64>());
        self.write(&name, &file.to_string()).into()
    }

    /// A kubeconfig for a name that only the test's proxies know.
    fn far(&self, cluster: &Value) -> PathBuf {
        let url = format!("http://kubernetes.test:{}", self.address.port());
        self.kubeconfig(&url, cluster, &json!({"token": self.token}))
    }

    fn serve(&self, kubeconfig: &Path, env: &[(&str, &str)]) -> Server {
        let kubeconfig = [("KUBECONFIG", kubeconfig.as_os_str())];
        let env = env.iter().map(|(name, value)| (*name, OsStr::new(*value)));
        let env: Vec<_> = kubeconfig.into_iter().chain(env).collect();
        Server::start(&["--host", "127.0.0.1"], self.dir.path(), &env)
    }

    /// Starts a server that has to work.
    fn works(&self, kubeconfig: &Path, env: &[(&str, &str)]) -> Server {
        let server = self.serve(kubeconfig, env);
        self.submits(&server);
        server
    }

    fn submits(&self, server: &Server) {
        let ada = self.world.login("ada");
        let file = ada.file("run: 'true'");
        ada.start_at(&server.url, ["jobs", "submit", "--detach", &file])
            .finish()
            .success();
    }

    /// The outcome of a server that must not start.
    #[track_caller]
    fn refused(&self, kubeconfig: impl AsRef<OsStr>, env: &[(&str, &str)]) -> Outcome {
        let mut command = k8s_cli();
        command
            .args(["serve", "--check"])
            .env("HOME", self.dir.path())
            .env("KUBECONFIG", kubeconfig)
            .envs(env.iter().copied());
        Running::start(command, "").finish().code(1).stdout("")
    }
}

#[test]
fn a_proxy_of_the_environment_leads_to_the_cluster() {
    let cluster = Cluster::new();
    let proxy = Tunnel::http(Some(("ada", "p@ss")));
    let url = format!("http://ada:p%40ss@{}", proxy.address);
    let far = cluster.far(&json!({}));
    let server = cluster.works(&far, &[("HTTP_PROXY", &url)]);
    let target = format!("kubernetes.test:{}", cluster.address.port());
    assert!(proxy.targets().iter().all(|seen| *seen == target));
    assert!(!proxy.targets().is_empty());
    let log = server.log();
    let expected = format!("through the proxy http://{}", proxy.address);
    assert!(log.contains(&expected), "{log}");
    assert!(!log.contains("p@ss") && !log.contains("p%40ss"), "{log}");

    // The host is named with its port; without a proxy it has no address.
    let direct = [
        ("HTTP_PROXY", url.as_str()),
        ("NO_PROXY", "example.org, .test"),
    ];
    let refusal = cluster.refused(&far, &direct).stderr;
    assert!(!refusal.contains("proxy"), "{refusal}");
    // The loopback address is reached without a proxy.
    let _server = cluster.works(
        &cluster.world.kubeconfig,
        &[("HTTP_PROXY", "http://127.0.0.1:9")],
    );
}

#[test]
fn the_proxy_of_a_kubeconfig_leads_to_the_cluster() {
    let cluster = Cluster::new();
    let (http, socks) = (Tunnel::http(None), Tunnel::socks5(None));
    let login = Tunnel::socks5(Some(("ada", "secret")));
    let dead = [("HTTP_PROXY", "http://127.0.0.1:9"), ("NO_PROXY", "*")];
    for (url, proxy) in [
        (format!("http://{}", http.address), &http),
        (format!("socks5://{}", socks.address), &socks),
        (format!("socks5h://ada:secret@{}", login.address), &login),
    ] {
        drop(cluster.works(&cluster.far(&json!({"proxy-url": url})), &dead));
        let target = format!("kubernetes.test:{}", cluster.address.port());
        assert!(proxy.targets().contains(&target), "{url}");
    }
}

#[test]
fn a_proxy_that_fails_is_named_without_its_password() {
    let cluster = Cluster::new();
    let far = cluster.far(&json!({}));
    let locked = Tunnel::http(Some(("ada", "right")));
    for (proxy, expected) in [
        (
            "http://ada:hush@127.0.0.1:9".to_owned(),
            "through the proxy http://127.0.0.1:9: Kubernetes cannot be reached: Connection refused",
        ),
        (
            format!("http://ada:hush@{}", locked.address),
            "Kubernetes cannot be reached: tunnel error: proxy authorization required",
        ),
        (
            "gopher://ada:hush@127.0.0.1:9".to_owned(),
            "HTTP_PROXY does not name a proxy",
        ),
    ] {
        let outcome = cluster.refused(&far, &[("HTTP_PROXY", &proxy)]);
        let outcome = outcome.says(expected);
        assert!(!outcome.stderr.contains("hush"), "{}", outcome.stderr);
        assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
    }
}

#[test]
fn kubeconfigs_that_do_not_exist_are_skipped() {
    let cluster = Cluster::new();
    let good = cluster.world.kubeconfig.display();
    let list = format!("/missing:{good}::/missing-too");
    drop(cluster.works(Path::new(&list), &[]));
    cluster.refused("/missing", &[]).stderr(
        "k8s-cli: cannot use the kubeconfig `/missing` (KUBECONFIG): there is no such file; \
         `serve --sandbox` needs no cluster\n",
    );
    let text = fs::read_to_string(&cluster.world.kubeconfig).unwrap();
    let broken = text.replace("\"current-context\": \"", "\"current-context\": \"not-");
    assert_ne!(broken, text);
    let broken = cluster.write("broken", &broken);
    let outcome = cluster.refused(&broken, &[]);
    outcome
        .says(&format!(
            "cannot use the kubeconfig `{broken}`: there is no context `not-"
        ))
        .says("; its contexts are `");
}

#[test]
fn the_token_of_a_file_may_end_with_a_newline() {
    let cluster = Cluster::new();
    let url = format!("http://{}", cluster.address);
    let token = cluster.write("token", &format!("{}\n", cluster.token));
    let user = json!({"tokenFile": token, "token": "stale"});
    drop(cluster.works(&cluster.kubeconfig(&url, &json!({}), &user), &[]));
    // As for kubectl, the token is used while the file cannot be read.
    let user = json!({"tokenFile": "/missing", "token": cluster.token});
    drop(cluster.works(&cluster.kubeconfig(&url, &json!({}), &user), &[]));
    let user = json!({"tokenFile": "/missing"});
    let refused = cluster.refused(cluster.kubeconfig(&url, &json!({}), &user), &[]);
    refused.stderr(
        "k8s-cli: cannot read the token file `/missing`: No such file or directory (os error 2)\n",
    );
}

/// A front that knows the tokens in a file, one a line, and answers 401 to others.
fn guard(cluster: &Cluster, tokens: &str) -> Front {
    let (tokens, real) = (PathBuf::from(tokens), cluster.token.clone());
    Front::start(cluster.address, None, move |head| {
        let valid = fs::read_to_string(&tokens).unwrap();
        let given = head.lines().find_map(|line| {
            let (name, token) = line.split_once(": Bearer ")?;
            name.eq_ignore_ascii_case("authorization").then_some(token)
        });
        if given.is_some_and(|given| valid.lines().any(|token| token == given)) {
            let real = format!("Bearer {real}");
            return Verdict::Forward(with_headers(head, &[("Authorization", &real)]));
        }
        let body = r#"{"kind":"Status","status":"Failure","message":"Unauthorized","reason":"Unauthorized","code":401}"#;
        Verdict::Answer(format!(
            "HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        ))
    })
}

#[test]
fn a_plugin_is_asked_once_and_again_after_a_401() {
    let cluster = Cluster::new();
    let (valid, current) = (
        cluster.write("valid", "one"),
        cluster.write("current", "one"),
    );
    let asked = cluster.path("asked");
    let plugin = cluster.script(
        "plugin",
        &format!(
            "echo \"$SECRET$1$KUBERNETES_EXEC_INFO\" >> {}\n\
             echo '{{\"kind\": \"ExecCredential\", \"status\": {{\"token\": \"'$(cat {current})'\"}}}}'",
            asked.display()
        ),
    );
    let front = guard(&cluster, &valid);
    let user = json!({"exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "command": plugin, "args": ["-x"],
        "env": [{"name": "SECRET", "value": "s3cret"}], "interactiveMode": "IfAvailable", "provideClusterInfo": true,
    }});
    let url = format!("http://{}", front.address);
    let server = cluster.works(&cluster.kubeconfig(&url, &json!({}), &user), &[]);
    let times = || fs::read_to_string(&asked).unwrap().lines().count();
    assert_eq!(times(), 1);
    let info = fs::read_to_string(&asked).unwrap();
    let info: Value = serde_json::from_str(info.strip_prefix("s3cret-x").unwrap()).unwrap();
    assert_eq!(info["kind"], "ExecCredential");
    assert_eq!(info["spec"]["interactive"], false);
    assert_eq!(info["spec"]["cluster"]["server"], url);

    cluster.write("current", "two");
    cluster.write("valid", "two");
    cluster.submits(&server);
    cluster.submits(&server);
    assert_eq!(times(), 2);
    // A token that Kubernetes refuses again is an error of the server.
    cluster.write("valid", "three");
    let ada = cluster.world.login("ada");
    let file = ada.file("run: 'true'");
    ada.start_at(&server.url, ["jobs", "submit", "--detach", &file])
        .finish()
        .code(1)
        .says("Unauthorized");
}

#[test]
fn a_plugin_that_fails_is_named_by_its_command_alone() {
    let cluster = Cluster::new();
    let url = format!("http://{}", cluster.address);
    let failing = cluster.script(
        "failing",
        "echo >&2; echo 'no session' >&2; echo more >&2; exit 3",
    );
    let odd = cluster.script("odd", "echo s3cret");
    let config = |exec: Value| cluster.kubeconfig(&url, &json!({}), &json!({"exec": exec}));
    for (exec, expected) in [
        (
            json!({"command": failing, "args": ["s3cret"], "env": [{"name": "A", "value": "s3cret"}]}),
            format!("the plugin `{failing}` failed with exit code 3: no session"),
        ),
        (
            json!({"command": odd}),
            format!("the plugin `{odd}` printed no ExecCredential with a status"),
        ),
        (
            json!({"command": "no-such-plugin", "args": ["s3cret"], "installHint": "brew install\n  it"}),
            "cannot run the plugin `no-such-plugin`: no such file or directory: brew install it"
                .to_owned(),
        ),
    ] {
        let outcome = cluster.refused(config(exec), &[]);
        outcome.stderr(&format!("k8s-cli: {expected}\n"));
    }
    let always = json!({"command": odd, "interactiveMode": "Always"});
    let outcome = cluster.refused(config(always), &[]);
    let problem = format!(
        "the plugin `{odd}` needs a terminal (interactiveMode: Always), and standard input is none"
    );
    let outcome = outcome.says(&problem);
    assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
}

#[test]
fn an_old_client_certificate_and_a_pinned_server_work() {
    let cluster = Cluster::new();
    let authority = Authority::new();
    let identity = authority.identity("127.0.0.1");
    let real = format!("Bearer {}", cluster.token);
    let front = Front::start(
        cluster.address,
        Some(identity.server.clone()),
        move |head| Verdict::Forward(with_headers(head, &[("Authorization", &real)])),
    );
    let url = format!("https://{}", front.address);
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tls");
    let user = json!({
        "client-certificate": fixtures.join("client-v1.pem"), "client-key": fixtures.join("client-v1.key"),
    });
    // The certificate of the server itself stands for its CA.
    let pinned = json!({"certificate-authority": cluster.write("leaf.pem", &identity.pem)});
    drop(cluster.works(&cluster.kubeconfig(&url, &pinned, &user), &[]));
    assert!(!identity.shown().is_empty(), "no client certificate came");

    let ca = cluster.write("ca.pem", &authority.pem());
    let by_ca = json!({"certificate-authority": ca});
    drop(cluster.works(&cluster.kubeconfig(&url, &by_ca, &json!({})), &[]));
    // Without a CA in the kubeconfig, those of the system are trusted.
    let plain = cluster.kubeconfig(&url, &json!({}), &json!({}));
    drop(cluster.works(&plain, &[("SSL_CERT_FILE", &ca)]));
    cluster.refused(&plain, &[]).stderr(&format!(
        "k8s-cli: cannot use the cluster at {url}: Kubernetes cannot be reached: its certificate is signed by an unknown \
         issuer, which is none of the trusted CAs\n"
    ));
    let other = cluster.write("other.pem", &Authority::new().identity("127.0.0.1").pem);
    let other = json!({"certificate-authority": other});
    let other = cluster.kubeconfig(&url, &other, &json!({}));
    cluster.refused(&other, &[]).says("unknown issuer");
    let wrong = authority.identity("elsewhere.test");
    let wrong = Front::start(cluster.address, Some(wrong.server), |head| {
        Verdict::Forward(head.to_owned())
    });
    let url = format!("https://{}", wrong.address);
    let config = cluster.kubeconfig(&url, &by_ca, &json!({}));
    cluster
        .refused(&config, &[])
        .says("its certificate is for another name");
    let mut named = by_ca.clone();
    named["tls-server-name"] = json!("elsewhere.test");
    let user = json!({"token": cluster.token});
    drop(cluster.serve(&cluster.kubeconfig(&url, &named, &user), &[]));
    // TLS to a server that does not speak it.
    let plain = format!("https://{}", cluster.address);
    let config = cluster.kubeconfig(&plain, &by_ca, &json!({}));
    cluster.refused(&config, &[]).says("it does not speak TLS");
}

#[test]
fn tls_goes_through_a_proxy_and_a_plugin_may_give_a_certificate() {
    let cluster = Cluster::new();
    let authority = Authority::new();
    let identity = authority.identity("kubernetes.test");
    let real = format!("Bearer {}", cluster.token);
    let front = Front::start(
        cluster.address,
        Some(identity.server.clone()),
        move |head| Verdict::Forward(with_headers(head, &[("Authorization", &real)])),
    );
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tls");
    let read = |name: &str| fs::read_to_string(fixtures.join(name)).unwrap();
    let credential = json!({"kind": "ExecCredential", "status": {
        "clientCertificateData": read("client-v1.pem"), "clientKeyData": read("client-v1.key"),
    }});
    let credential = cluster.write("credential.json", &credential.to_string());
    let plugin = cluster.script("plugin", &format!("cat {credential}"));
    let ca = json!({"certificate-authority": cluster.write("ca.pem", &authority.pem())});
    let url = format!("https://kubernetes.test:{}", front.address.port());
    let config = cluster.kubeconfig(&url, &ca, &json!({"exec": {"command": plugin}}));
    let (http, socks) = (Tunnel::http(None), Tunnel::socks5(None));
    for (address, scheme) in [(http.address, "http"), (socks.address, "socks5")] {
        let proxy = format!("{scheme}://{address}");
        drop(cluster.works(
            &config,
            &[("HTTPS_PROXY", &proxy), ("NO_PROXY", "test.org")],
        ));
    }
    assert!(!http.targets().is_empty() && !socks.targets().is_empty());
    assert!(!identity.shown().is_empty(), "no client certificate came");
}

#[test]
fn a_namespace_that_does_not_exist_is_named() {
    let cluster = Cluster::new();
    let kubeconfig = cluster.world.kubeconfig.as_os_str();
    let server = Server::start(
        &["--host", "127.0.0.1", "--namespace", "nosuch"],
        cluster.dir.path(),
        &[("KUBECONFIG", kubeconfig)],
    );
    wait_until("the server warns", || {
        server
            .log()
            .contains("level=warn the namespace nosuch does not exist")
    });
    let ada = cluster.world.login("ada");
    let file = ada.file("run: 'true'");
    for args in [
        &["jobs", "submit", "--detach", &file][..],
        &["volumes", "create", "data", "1Gi"],
    ] {
        ada.start_at(&server.url, args)
            .finish()
            .code(1)
            .says("the namespace `nosuch` of the server does not exist");
    }
    assert!(server.log().contains("status=404"), "{}", server.log());
}
