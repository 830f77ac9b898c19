use super::*;

const FILE: &str = "
current-context: work
contexts:
- {name: work, context: {cluster: c, user: u}}
- {name: home, context: {cluster: c}}
clusters: [{name: c, cluster: {server: 'http://cluster:1'}}]
users: [{name: u, user: {}}]
";

fn of(yaml: &str, variables: proxy::Variables<'_>) -> Result<Access, String> {
    access(&Kubeconfig::from_yaml(yaml).unwrap(), variables)
}

/// The problem of a file in which `from` is replaced.
fn problem(from: &str, to: &str) -> String {
    assert!(FILE.contains(from), "{from}");
    match of(&FILE.replace(from, to), &|_| None) {
        Ok(_) => panic!("{from:?} as {to:?} has no problem"),
        Err(problem) => problem,
    }
}

#[test]
fn a_context_that_does_not_exist_is_answered_with_those_that_do() {
    for (from, to, expected) in [
        (
            "current-context: work",
            "",
            "no context is chosen (`kubectl config use-context NAME`); its contexts are `work`, `home`",
        ),
        (
            "current-context: work",
            "current-context: wrk",
            "there is no context `wrk`; its contexts are `work`, `home`",
        ),
        (
            "cluster: c, user",
            "cluster: d, user",
            "the context `work` names the cluster `d`, which does not exist",
        ),
        (
            "server: 'http://cluster:1'",
            "",
            "the cluster has no server",
        ),
        (
            "http://cluster:1",
            "ftp://cluster",
            "the server of the cluster is not an HTTP URL",
        ),
        (
            "user: {}",
            "user: {client-key: /k}",
            "cannot read the client-key `/k`: No such file or directory (os error 2)",
        ),
        (
            "user: {}",
            "user: {client-certificate-data: '%'}",
            "client-certificate-data is not base64",
        ),
        (
            "user: {}",
            "user: {client-certificate-data: aGVsbG8=}",
            "the user has a client-certificate, but no client-key",
        ),
        (
            "user: {}",
            "user: {client-certificate-data: aGVsbG8=, client-key-data: aGVsbG8=}",
            "the client certificate is not a certificate in PEM",
        ),
        (
            "user: {}",
            "user: {exec: {args: [s3cret]}}",
            "the plugin (`exec`) names no command",
        ),
        (
            "user: {}",
            "user: {auth-provider: {name: gcp}}",
            "the auth-provider `gcp` is not supported: use a plugin (`exec`)",
        ),
        (
            "'http://cluster:1'",
            "'https://cluster:1', certificate-authority-data: aGVsbG8=",
            "certificate-authority-data holds no certificate in PEM",
        ),
        (
            "'http://cluster:1'",
            "'https://cluster:1', certificate-authority: /ca",
            "cannot read `/ca`: No such file or directory (os error 2)",
        ),
        (
            "'http://cluster:1'",
            "'http://cluster:1', proxy-url: 'ftp://ada:s3cret@proxy'",
            "proxy-url does not name a proxy: expected a URL such as http://proxy:3128 or socks5://proxy:1080",
        ),
    ] {
        assert_eq!(problem(from, to), expected);
    }
    assert_eq!(
        of("kind: Config", &|_| None).err().unwrap(),
        "no context is chosen (`kubectl config use-context NAME`); it has no contexts"
    );
}

#[test]
fn a_user_that_does_not_exist_has_no_credentials() {
    let file = Kubeconfig::from_yaml(&FILE.replace("user: u}", "user: v}")).unwrap();
    let (_, user) = choose(&file).unwrap();
    assert!(user.token.is_none() && user.exec.is_none());
}

#[test]
fn proxy_url_comes_before_the_environment_and_no_proxy() {
    let variables = |name: &str| {
        let value = match name {
            "HTTP_PROXY" => "http://of-environment:1",
            "NO_PROXY" => "direct",
            _ => return None,
        };
        Some(value.to_owned())
    };
    let proxy = |from: &str, to: &str| {
        let access = of(&FILE.replace(from, to), &variables).unwrap();
        access.proxy.map(|proxy| proxy.to_string())
    };
    assert_eq!(proxy("", "").as_deref(), Some("http://of-environment:1"));
    assert_eq!(proxy("//cluster", "//direct"), None);
    assert_eq!(proxy("//cluster", "//127.0.0.1"), None);
    assert_eq!(proxy("'http:", "'https:"), None);
    let own = "'http://direct:1', proxy-url: 'socks5://own'";
    assert_eq!(
        proxy("'http://cluster:1'", own).as_deref(),
        Some("socks5://own:1080")
    );
}

#[test]
fn a_server_without_a_scheme_has_that_of_its_certificates() {
    let url = |server: &str| {
        let yaml = FILE.replace("'http://cluster:1'", server);
        of(&yaml, &|_| None).unwrap().config.cluster_url.to_string()
    };
    assert_eq!(url("'cluster:1'"), "http://cluster:1/");
    assert_eq!(
        url("'cluster:1', insecure-skip-tls-verify: true"),
        "https://cluster:1/"
    );
}

#[test]
fn the_file_of_a_token_comes_before_the_token_and_a_plugin_is_last() {
    let source = |user: &str| {
        let file = Kubeconfig::from_yaml(&FILE.replace("user: {}", user)).unwrap();
        let (cluster, user) = choose(&file).unwrap();
        source(&cluster, &user).unwrap()
    };
    let all = "user: {token: a, tokenFile: /t, username: ada, password: p, exec: {command: x}}";
    assert!(
        matches!(source(all), Source::File(path, Some(token)) if path.ends_with("t") && token == "a")
    );
    let token = source("user: {token: a, exec: {command: x}}");
    assert!(matches!(token, Source::Token(token) if token == "a"));
    let basic = source("user: {username: ada, password: p}");
    assert!(matches!(basic, Source::Basic { .. }));
    let oidc = source("user: {auth-provider: {name: oidc, config: {id-token: b}}}");
    assert!(matches!(oidc, Source::Token(token) if token == "b"));
    assert!(matches!(source("user: {token: ''}"), Source::None));
}
