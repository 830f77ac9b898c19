//! Reviews: questions about identity and rights, `TokenReview` and `SubjectAccessReview`.
//!
//! Pure. The only user holds the sandbox's token and has all rights. Reviews are answered and not stored.

use serde_json::{Value, json};

use crate::sandbox::objects::object::{elements, text};

/// The user with the sandbox's token.
const USER: &str = "sandbox-admin";
const ADMIN_GROUP: &str = "system:masters";

/// Answers the review at `path`, if there is such a review.
pub fn answer(path: &str, review: &Value, token: &str) -> Option<Value> {
    match path {
        "/apis/authentication.k8s.io/v1/tokenreviews" => Some(token_review(review, token)),
        "/apis/authorization.k8s.io/v1/subjectaccessreviews" => Some(access_review(review)),
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews" => Some(reply(
            "SelfSubjectAccessReview",
            "authorization.k8s.io/v1",
            review,
            json!({ "allowed": true }),
        )),
        _ => None,
    }
}

fn token_review(review: &Value, token: &str) -> Value {
    let status = if text(&review["spec"]["token"]) == token {
        json!({
            "authenticated": true,
            "user": { "username": USER, "groups": [ADMIN_GROUP, "system:authenticated"] },
            "audiences": ["https://kubernetes.default.svc"],
        })
    } else {
        json!({ "user": {}, "error": "invalid bearer token" })
    };
    reply("TokenReview", "authentication.k8s.io/v1", review, status)
}

fn access_review(review: &Value) -> Value {
    let groups = elements(&review["spec"]["groups"]);
    let allowed = groups.iter().any(|group| text(group) == ADMIN_GROUP);
    reply(
        "SubjectAccessReview",
        "authorization.k8s.io/v1",
        review,
        json!({ "allowed": allowed }),
    )
}

fn reply(kind: &str, api_version: &str, review: &Value, status: Value) -> Value {
    json!({ "kind": kind, "apiVersion": api_version, "metadata": {}, "spec": review["spec"], "status": status })
}
