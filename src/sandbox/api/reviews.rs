//! Reviews: questions about identity and rights, of others and of the caller (`kubectl auth whoami`, `kubectl auth can-i --list`).
//!
//! The holder of the sandbox's token has all rights. Further users stand in a file, a JSON object a line, which is read for each
//! review. Reviews are answered and not stored.

use std::{fs, io, path::PathBuf, sync::Arc};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::sandbox::objects::object::{elements, text};

/// The user with the sandbox's token.
const ADMIN: &str = "sandbox-admin";
const ADMIN_GROUP: &str = "system:masters";
const EVERYBODY: &str = "system:authenticated";
const OWN_AUDIENCE: &str = "https://kubernetes.default.svc";

/// The users of the sandbox.
#[derive(Clone)]
pub struct Reviews {
    pub token: Arc<str>,
    users: Option<PathBuf>,
}

/// A user in the file.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Account {
    name: String,
    groups: Vec<String>,
    token: Option<String>,
    /// The audiences of the token; empty: that of the API server.
    audiences: Vec<String>,
    /// `get tasks/log`, or `*` for all; in each namespace.
    rights: Vec<String>,
}

impl Reviews {
    /// The users in a file.
    pub fn new(token: Arc<str>, users: Option<PathBuf>) -> io::Result<Self> {
        let reviews = Self { token, users };
        reviews.accounts()?;
        Ok(reviews)
    }

    fn accounts(&self) -> io::Result<Vec<Account>> {
        let Some(path) = &self.users else {
            return Ok(Vec::new());
        };
        let file = fs::read_to_string(path);
        let accounts = file.and_then(|file| {
            let accounts = file.lines().map(serde_json::from_str);
            accounts.collect::<Result<_, _>>().map_err(io::Error::other)
        });
        accounts.map_err(|error| io::Error::other(format!("{}: {error}", path.display())))
    }

    /// Answers the review at `path`, if there is such a review.
    pub fn answer(&self, path: &str, review: &Value) -> Option<Value> {
        let accounts = self.accounts().unwrap_or_else(|error| {
            log::warn!("sandbox: {error}");
            Vec::new()
        });
        let spec = &review["spec"];
        let (group, kind, status) = match path.strip_prefix("/apis/")? {
            "authentication.k8s.io/v1/tokenreviews" => {
                let status = self.token_review(spec, &accounts);
                ("authentication", "TokenReview", status)
            }
            "authorization.k8s.io/v1/subjectaccessreviews" => {
                let groups = elements(&spec["groups"]);
                let is_admin = groups.iter().any(|group| text(group) == ADMIN_GROUP);
                let allowed =
                    is_admin || allows(&accounts, text(&spec["user"]), spec) == Some(true);
                let status = json!({ "allowed": allowed });
                ("authorization", "SubjectAccessReview", status)
            }
            "authorization.k8s.io/v1/selfsubjectaccessreviews" => {
                let allowed = allows(&accounts, ADMIN, spec).unwrap_or(true);
                let status = json!({ "allowed": allowed });
                ("authorization", "SelfSubjectAccessReview", status)
            }
            "authentication.k8s.io/v1/selfsubjectreviews" => {
                let groups = [ADMIN_GROUP, EVERYBODY];
                let status = json!({ "userInfo": { "username": ADMIN, "groups": groups } });
                ("authentication", "SelfSubjectReview", status)
            }
            "authorization.k8s.io/v1/selfsubjectrulesreviews" => {
                let status = json!({
                    "resourceRules": [{ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"] }],
                    "nonResourceRules": [{ "verbs": ["*"], "nonResourceURLs": ["*"] }], "incomplete": false,
                });
                ("authorization", "SelfSubjectRulesReview", status)
            }
            _ => return None,
        };
        let version = format!("{group}.k8s.io/v1");
        let mut answer =
            json!({ "kind": kind, "apiVersion": version, "metadata": {}, "status": status });
        if !spec.is_null() {
            answer["spec"] = spec.clone();
        }
        Some(answer)
    }

    fn token_review(&self, spec: &Value, accounts: &[Account]) -> Value {
        let token = text(&spec["token"]);
        let admin = Account {
            name: ADMIN.to_owned(),
            groups: vec![ADMIN_GROUP.to_owned()],
            token: Some(self.token.to_string()),
            ..Account::default()
        };
        let mut all = accounts.iter().chain([&admin]);
        let found = all.find(|account| account.token.as_deref() == Some(token));
        let Some(account) = found.filter(|_| !token.is_empty()) else {
            return json!({ "user": {}, "error": "invalid bearer token" });
        };
        let own = [OWN_AUDIENCE.to_owned()];
        let meant = match account.audiences.as_slice() {
            [] => &own,
            audiences => audiences,
        };
        let wanted = elements(&spec["audiences"]);
        let is_wanted = |audience: &&String| match wanted {
            [] => **audience == OWN_AUDIENCE,
            wanted => wanted.iter().any(|wanted| text(wanted) == **audience),
        };
        let audiences: Vec<_> = meant.iter().filter(is_wanted).collect();
        if audiences.is_empty() {
            return json!({ "user": {}, "error": "token audiences do not match" });
        }
        let groups = account.groups.iter().map(String::as_str);
        let groups: Vec<_> = groups.chain([EVERYBODY]).collect();
        json!({
            "authenticated": true, "audiences": audiences,
            "user": { "username": account.name, "groups": groups },
        })
    }
}

/// Whether the file gives a user the right in a review; none if it does not name the user.
fn allows(accounts: &[Account], name: &str, spec: &Value) -> Option<bool> {
    let attributes = &spec["resourceAttributes"];
    let (verb, resource) = (text(&attributes["verb"]), text(&attributes["resource"]));
    let wanted = match text(&attributes["subresource"]) {
        "" => format!("{verb} {resource}"),
        subresource => format!("{verb} {resource}/{subresource}"),
    };
    let account = accounts.iter().find(|account| account.name == name)?;
    let has = |right: &String| right == "*" || *right == wanted;
    Some(account.rights.iter().any(has))
}
