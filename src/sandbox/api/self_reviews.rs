//! Reviews of the caller: who it is (`kubectl auth whoami`), and what it may do (`kubectl auth can-i --list`).
//!
//! Pure. The only user holds the sandbox's token and has all rights.

use serde_json::{Value, json};

/// The path of `SelfSubjectReview`.
const WHO: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
/// The path of `SelfSubjectRulesReview`.
const RULES: &str = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";

/// Answers the review at `path`, if there is such a review.
pub fn answer(path: &str, review: &Value) -> Option<Value> {
    match path {
        WHO => Some(json!({
            "kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1", "metadata": {},
            "status": {
                "userInfo": { "username": "sandbox-admin", "groups": ["system:masters", "system:authenticated"] },
            },
        })),
        RULES => Some(json!({
            "kind": "SelfSubjectRulesReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {},
            "spec": review["spec"],
            "status": {
                "resourceRules": [{ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"] }],
                "nonResourceRules": [{ "verbs": ["*"], "nonResourceURLs": ["*"] }],
                "incomplete": false,
            },
        })),
        _ => None,
    }
}
