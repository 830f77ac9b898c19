//! The header with the name of the user: a statement, unless a proxy that has checked it sets it.

use std::net::IpAddr;

use actix_web::http::header::{HeaderMap, HeaderName};
use ipnet::IpNet;

use super::{How, Known, Peer};
use crate::{
    api::{Reason, USER_HEADER},
    executor::Error,
};

/// Headers that mean something else to this server, or that any client or proxy sets: none of them is a statement about the user.
const OTHERS: [&str; 24] = [
    "accept",
    "accept-encoding",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "idempotency-key",
    "keep-alive",
    "origin",
    "proxy-authorization",
    "range",
    "referer",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "x-forwarded-for",
    "x-k8s-cli-token",
];

/// The rules for the header.
#[derive(Clone, Debug)]
pub struct HeaderWay {
    name: HeaderName,
    /// The peers whose header counts; empty: all.
    trusted: Vec<IpNet>,
}

impl HeaderWay {
    /// The rules for a header, by default `X-User`, of these peers.
    ///
    /// # Errors
    /// The name is not that of a header, or the header means something else.
    pub fn new(name: Option<&str>, trusted: Vec<IpNet>) -> Result<Self, String> {
        let name = name.unwrap_or(USER_HEADER);
        let parsed: HeaderName = name
            .parse()
            .map_err(|_| format!("--user-header: `{name}` is not the name of a header"))?;
        if OTHERS.contains(&parsed.as_str()) {
            return Err(format!(
                "--user-header: the header `{name}` does not name a user"
            ));
        }
        Ok(Self {
            name: parsed,
            trusted,
        })
    }

    /// Whether everybody who reaches the server can act as anyone.
    pub fn is_open(&self) -> bool {
        self.trusted.is_empty() || self.trusted.iter().any(|network| network.prefix_len() == 0)
    }

    fn trusts(&self, peer: Option<&Peer>) -> bool {
        let address = peer
            .and_then(Peer::address)
            .map(|address| address.to_canonical());
        let is_in = |address: IpAddr| {
            self.trusted
                .iter()
                .any(|network| network.contains(&address))
        };
        self.trusted.is_empty() || address.is_some_and(is_in)
    }

    /// The user of a request, from exactly one header.
    ///
    /// # Errors
    /// There is no user, or not exactly one, or the header does not count.
    pub fn known(&self, headers: &HeaderMap, peer: Option<&Peer>) -> Result<Known, Error> {
        let unauthorized = |message: String| Error::new(Reason::Unauthorized, message);
        if !self.trusts(peer) {
            return Err(unauthorized(
                "this server knows its users through a proxy only: use the URL of the proxy"
                    .to_owned(),
            ));
        }
        let title = self.title();
        let Some(stated) = self.stated(headers)? else {
            return Err(unauthorized(match self.trusted.is_empty() {
                true => format!(
                    "the header {title} is missing: log in with `k8s-cli auth login <user>`"
                ),
                false => format!(
                    "the header {title} is missing, which the proxy in front of this server has to set"
                ),
            }));
        };
        self.refuse_another(headers, stated)?;
        let user = stated
            .parse()
            .map_err(|invalid| unauthorized(format!("the header {title}: {invalid}")))?;
        let how = if self.trusted.is_empty() {
            How::Header
        } else {
            How::Proxy
        };
        Ok(Known { user, how })
    }

    /// Refuses a request whose client has logged in under another name than the proxy's.
    fn refuse_another(&self, headers: &HeaderMap, stated: &str) -> Result<(), Error> {
        let mut logins = headers.get_all(USER_HEADER);
        let Some(login) = logins.find(|login| login.as_bytes() != stated.as_bytes()) else {
            return Ok(());
        };
        let login = String::from_utf8_lossy(login.as_bytes());
        Err(Error::new(
            Reason::Unauthorized,
            format!(
                "you are {stated:?} to the proxy, and cannot act as {login:?}: `k8s-cli auth logout` drops a name that you have logged in with"
            ),
        ))
    }

    /// The name of the header, as people write it.
    fn title(&self) -> &str {
        if self.name == USER_HEADER {
            USER_HEADER
        } else {
            self.name.as_str()
        }
    }

    /// The name that a request states, in one header at most: of two headers, a proxy may have checked the other one.
    pub fn stated<'a>(&self, headers: &'a HeaderMap) -> Result<Option<&'a str>, Error> {
        let unauthorized = |problem: &str| {
            Error::new(
                Reason::Unauthorized,
                format!("the header {} {problem}", self.title()),
            )
        };
        let mut values = headers.get_all(&self.name);
        let (value, further) = (values.next(), values.next());
        if further.is_some() {
            return Err(unauthorized("is given more than once"));
        }
        let text = value
            .map(|value| std::str::from_utf8(value.as_bytes()))
            .transpose();
        text.map_err(|_| unauthorized("is not UTF-8"))
    }

    /// The name that a refused request states, for the record; empty if it would not count.
    pub fn claimed(&self, headers: &HeaderMap, peer: Option<&Peer>) -> String {
        let value = headers.get(&self.name).filter(|_| self.trusts(peer));
        let value = value.map(|value| value.as_bytes());
        String::from_utf8_lossy(value.unwrap_or_default()).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn known(way: &HeaderWay, headers: &[(&str, &str)], peer: &str) -> Result<String, String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        let peer = Peer::Address(peer.parse().unwrap());
        let known = way.known(&map, Some(&peer));
        known
            .map(|known| format!("{} {}", known.user.as_str(), known.how.word()))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn only_the_proxy_may_name_the_user() {
        let networks = vec!["10.1.0.0/16".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let way = HeaderWay::new(Some("X-Auth-Email"), networks).unwrap();
        let ada = [("X-Auth-Email", "ada@example.com")];
        for peer in ["10.1.2.3", "::ffff:10.1.2.3", "fd00::1"] {
            assert_eq!(
                known(&way, &ada, peer).unwrap(),
                "ada@example.com proxy",
                "{peer}"
            );
        }
        for peer in ["10.2.0.1", "127.0.0.1", "::1", "::ffff:10.2.0.1"] {
            let refused = known(&way, &ada, peer).unwrap_err();
            assert!(refused.contains("through a proxy only"), "{refused}");
        }
        // What looks like the header is none.
        for name in ["X-User", "X-Auth_Email", "X-Forwarded-For"] {
            let refused = known(&way, &[(name, "ada")], "10.1.2.3").unwrap_err();
            assert!(
                refused.starts_with("the header x-auth-email is missing, which the proxy"),
                "{refused}"
            );
        }
        let twice = [("X-Auth-Email", "ada"), ("x-auth-email", "bob")];
        let refused = known(&way, &twice, "10.1.2.3").unwrap_err();
        assert!(refused.ends_with("more than once"), "{refused}");
    }

    #[test]
    fn a_header_with_another_meaning_names_no_user() {
        for name in ["Host", "authorization", "Cookie", "Origin", "a b", ""] {
            let refused = HeaderWay::new(Some(name), Vec::new()).unwrap_err();
            assert!(refused.starts_with("--user-header: "), "{refused}");
        }
        assert!(HeaderWay::new(Some("X-Forwarded-Email"), Vec::new()).is_ok());
    }

    #[test]
    fn a_proxy_with_any_address_is_no_protection() {
        let way = |network: &str| HeaderWay::new(None, vec![network.parse().unwrap()]).unwrap();
        assert!(way("0.0.0.0/0").is_open() && way("::/0").is_open());
        assert!(!way("10.0.0.0/8").is_open());
    }
}
