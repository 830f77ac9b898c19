//! The proxy of a connection: whether one is used, and which, from the variables of the environment.
//!
//! The rules are those of Go's `httpproxy`, and so those of kubectl. The module is pure: it gets the variables from a function. No
//! text of it contains the user name or the password of a proxy.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;

/// The variables that name the proxy for a URL with the scheme `https`, the most important one first.
const HTTPS: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];
/// The same for `http`.
const HTTP: [&str; 2] = ["HTTP_PROXY", "http_proxy"];
const NO_PROXY: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// Looks up a variable of the environment.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The end of a connection, as its URL names it.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    pub is_https: bool,
    /// The name or the address, of IPv6 with or without brackets.
    pub host: &'a str,
    pub port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http,
    Https,
    /// SOCKS 5; the proxy resolves the name of the target. Go treats `socks5` and `socks5h` alike.
    Socks5,
}

/// A proxy. [`fmt::Display`] writes its URL without the user and the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    pub protocol: Protocol,
    pub host: String,
    pub port: u16,
    /// The user and the password, decoded.
    pub login: Option<(String, String)>,
}

/// The reason why a text does not name a proxy. It does not contain the text, in which a password may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidProxy {
    /// The variable or the field with the text.
    pub origin: String,
}

impl fmt::Display for InvalidProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = &self.origin;
        write!(
            f,
            "{origin} does not name a proxy: expected a URL such as http://proxy:3128 or socks5://proxy:1080"
        )
    }
}

impl std::error::Error for InvalidProxy {}

/// The proxy that the environment names for a target; `further` variables apply where those for the scheme are not set.
///
/// # Errors
/// The variable does not hold the URL of a proxy.
pub fn of_environment(
    variables: Variables<'_>,
    target: Target<'_>,
    further: &[&str],
) -> Result<Option<Proxy>, InvalidProxy> {
    let set = |name: &&str| variables(name).filter(|value| !value.is_empty());
    let names = if target.is_https { HTTPS } else { HTTP };
    let mut names = names.iter().chain(further);
    let Some((name, url)) = names.find_map(|name| Some((name, set(name)?))) else {
        return Ok(None);
    };
    let exceptions = NO_PROXY.iter().find_map(set).unwrap_or_default();
    if is_exception(target, &exceptions) {
        return Ok(None);
    }
    let proxy = url.parse().map_err(|()| InvalidProxy {
        origin: (*name).to_owned(),
    })?;
    Ok(Some(proxy))
}

/// Whether a target is reached without a proxy: it is this machine, or an entry of `NO_PROXY` names it.
fn is_exception(target: Target<'_>, exceptions: &str) -> bool {
    let host = target.host.trim_matches(['[', ']']).trim_end_matches('.');
    let host = host.to_ascii_lowercase();
    let address: Option<IpAddr> = host.parse().ok();
    // For a proxy, the loopback address is its own machine.
    if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
        return true;
    }
    let mut entries = exceptions.split([',', ' ', '\t']).map(str::trim);
    entries.any(|entry| names(&entry.to_ascii_lowercase(), &host, address, target.port))
}

/// Whether an entry of `NO_PROXY` names a host: `*`, `10.0.0.0/8`, an address, `example.org` with the names below it, or
/// `.example.org` for the names below it alone. A port may follow.
fn names(entry: &str, host: &str, address: Option<IpAddr>, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    if entry.contains('/') {
        let network = entry.parse::<IpNet>();
        let contains = |network: IpNet, address: IpAddr| network.contains(&address.to_canonical());
        return network
            .is_ok_and(|network| address.is_some_and(|address| contains(network, address)));
    }
    let (name, its_port) = split_port(entry);
    if its_port.is_some_and(|its_port| its_port != port) {
        return false;
    }
    let name = name.strip_prefix('*').unwrap_or(name);
    match (name.parse::<IpAddr>(), address) {
        (Ok(name), Some(address)) => name.to_canonical() == address.to_canonical(),
        (Ok(_), None) | (Err(_), Some(_)) => false,
        (Err(_), None) => match name.strip_prefix('.') {
            Some("") => false,
            Some(_) => host.ends_with(name),
            None => {
                let below = host.strip_suffix(name);
                !name.is_empty() && below.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
        },
    }
}

/// Divides `host:port`. The colons of an address of IPv6 begin no port, unless the address is in brackets.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    if let Some((address, rest)) = entry
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
    {
        return (
            address,
            rest.strip_prefix(':').and_then(|port| port.parse().ok()),
        );
    }
    match entry.split_once(':') {
        Some((host, port)) if !port.contains(':') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (entry, None),
        },
        _ => (entry, None),
    }
}

impl FromStr for Proxy {
    type Err = ();

    fn from_str(url: &str) -> Result<Self, ()> {
        let (scheme, rest) = url.trim().split_once("://").unwrap_or(("http", url.trim()));
        let (protocol, default_port) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (Protocol::Http, 80),
            "https" => (Protocol::Https, 443),
            "socks5" | "socks5h" => (Protocol::Socks5, 1080),
            _ => return Err(()),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (login, place) = match authority.rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, authority),
        };
        let (host, port) = split_port(place);
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
        // A colon that begins no port is valid in an address only.
        let has_bad_port = host.contains(':') && host.parse::<IpAddr>().is_err();
        if host.is_empty() || !host.chars().all(is_name) || has_bad_port {
            return Err(());
        }
        let login = login.map(|login| {
            let (user, password) = login.split_once(':').unwrap_or((login, ""));
            (decoded(user), decoded(password))
        });
        Ok(Self {
            protocol,
            host: host.to_owned(),
            port: port.unwrap_or(default_port),
            login,
        })
    }
}

/// A text without its `%` escapes. What is no escape stays.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let code = match rest {
            [b'%', high, low, ..] => (char::from(*high).to_digit(16))
                .zip(char::from(*low).to_digit(16))
                .and_then(|(high, low)| u8::try_from(high * 16 + low).ok()),
            _ => None,
        };
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &rest[3..] } else { behind };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Proxy {
    /// The host and the port, an address of IPv6 in brackets.
    pub fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        }
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.protocol {
            Protocol::Http => "http",
            Protocol::Https => "https",
            Protocol::Socks5 => "socks5",
        };
        write!(f, "{scheme}://{}", self.authority())
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy_of(url: &str, variables: &[(&str, &str)]) -> Result<Option<Proxy>, InvalidProxy> {
        let (scheme, rest) = url.split_once("://").unwrap();
        let is_https = scheme == "https";
        let (host, port) = split_port(rest);
        let target = Target {
            is_https,
            host,
            port: port.unwrap_or(if is_https { 443 } else { 80 }),
        };
        let find = |name: &str| {
            let (_, value) = variables.iter().find(|(known, _)| *known == name)?;
            Some((*value).to_owned())
        };
        of_environment(&find, target, &["ALL_PROXY"])
    }

    #[test]
    fn the_scheme_of_the_target_chooses_the_variable() {
        let variables = [
            ("HTTPS_PROXY", ""),
            ("https_proxy", "http://a:1"),
            ("HTTP_PROXY", "http://b:2"),
            ("http_proxy", "http://c:3"),
        ];
        let proxy = |url, variables| {
            let proxy = proxy_of(url, variables).unwrap();
            proxy.map(|proxy| proxy.to_string())
        };
        assert_eq!(proxy("https://x", &variables).unwrap(), "http://a:1");
        assert_eq!(proxy("http://x", &variables).unwrap(), "http://b:2");
        assert_eq!(proxy("http://x", &variables[..2]), None);
        let all = [("ALL_PROXY", "socks5h://d")];
        assert_eq!(proxy("http://x", &all).unwrap(), "socks5://d:1080");
    }

    #[test]
    fn no_proxy_is_that_of_go() {
        let goes_direct = |url: &str, exceptions: &str| {
            let variables = [
                ("HTTPS_PROXY", "http://proxy:1"),
                ("HTTP_PROXY", "http://proxy:1"),
                ("no_proxy", exceptions),
            ];
            proxy_of(url, &variables).unwrap().is_none()
        };
        for (url, exceptions) in [
            ("https://api.example.org:6443", "example.org"),
            ("https://example.org", "example.org"),
            ("https://EXAMPLE.org.", "Example.ORG"),
            ("https://api.example.org", ".example.org"),
            ("https://api.example.org", "*.example.org"),
            ("https://api.example.org", "a.b, example.org"),
            ("https://api.example.org", "a.b,,\texample.org ,"),
            ("https://api.example.org:6443", "example.org:6443"),
            ("https://api.example.org", "example.org:443"),
            ("http://api.example.org", "example.org:80"),
            ("https://10.1.2.3:6443", "10.0.0.0/8"),
            ("https://10.1.2.3:6443", "10.1.2.3"),
            ("https://10.1.2.3:6443", "10.1.2.3:6443"),
            ("https://[fd00::1]:6443", "fd00::/8"),
            ("https://[fd00::1]:6443", "fd00::1"),
            ("https://[fd00::1]:6443", "[fd00::1]:6443"),
            ("https://1.2.3.4", "0.0.0.0/0"),
            ("https://api.example.org", "*"),
            ("https://api.example.org", "a.b, *"),
            ("https://localhost:6443", ""),
            ("https://127.8.0.1", ""),
            ("https://[::1]:8000", ""),
        ] {
            assert!(goes_direct(url, exceptions), "{url} {exceptions:?}");
        }
        for (url, exceptions) in [
            ("https://api.example.org", ""),
            ("https://example.org", ".example.org"),
            ("https://notexample.org", "example.org"),
            ("https://example.org.evil", "example.org"),
            ("https://api.example.org:6443", "example.org:443"),
            ("https://11.1.2.3", "10.0.0.0/8"),
            ("https://10.1.2.3", "10.0.0.0/99"),
            ("https://10.example.org", "10.0.0.0/8"),
            ("https://10.1.2.3", "2.3"),
            ("https://[fe00::1]:6443", "fd00::/8"),
            ("https://api.example.org", "."),
            ("https://localhost.evil.org", "localhost"),
        ] {
            assert!(!goes_direct(url, exceptions), "{url} {exceptions:?}");
        }
    }

    #[test]
    fn a_proxy_is_written_without_its_password() {
        let proxy: Proxy = "http://ada:p%40ss:w%zz@[fd00::1]:3128/".parse().unwrap();
        assert_eq!(proxy.to_string(), "http://[fd00::1]:3128");
        assert_eq!(format!("{proxy:?}"), "Proxy(http://[fd00::1]:3128)");
        let login = ("ada".to_owned(), "p@ss:w%zz".to_owned());
        assert_eq!(proxy.login, Some(login));
        let proxy: Proxy = "proxy:3128".parse().unwrap();
        assert_eq!(proxy.to_string(), "http://proxy:3128");
        let proxy: Proxy = "https://proxy".parse().unwrap();
        assert_eq!(proxy.to_string(), "https://proxy:443");
    }

    #[test]
    fn a_text_that_names_no_proxy_is_not_repeated() {
        for url in [
            "ftp://ada:hunter2@proxy",
            "http://",
            "http://ada:hunter2@",
            "http://ada:hunter2@a b",
            "http://ada:hunter2@proxy:port",
            "http://ada:hunter2@proxy:99999",
        ] {
            let error = proxy_of("https://x", &[("HTTPS_PROXY", url)]).unwrap_err();
            let text = error.to_string();
            assert!(
                text.starts_with("HTTPS_PROXY does not name a proxy"),
                "{text}"
            );
            assert!(!text.contains("hunter2"), "{text}");
        }
        // A proxy that is not used is not looked at.
        let variables = [("HTTPS_PROXY", "ftp://x"), ("NO_PROXY", "*")];
        assert_eq!(proxy_of("https://x", &variables), Ok(None));
    }
}
