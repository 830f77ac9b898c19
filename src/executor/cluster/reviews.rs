//! Questions to Kubernetes about users and rights: `TokenReview`, `SubjectAccessReview` and `SelfSubjectAccessReview`.

use std::fmt::Debug;

use k8s_openapi::api::{
    authentication::v1::{TokenReview, TokenReviewSpec, UserInfo},
    authorization::v1::{
        ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
        SubjectAccessReview, SubjectAccessReviewSpec,
    },
};
use kube::{Api, api::PostParams};
use serde::{Serialize, de::DeserializeOwned};

use super::{Cluster, call};
use crate::{
    api::Reason,
    executor::error::{Error, Result},
};

/// The user behind a token, as Kubernetes knows them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Identity(UserInfo);

impl Identity {
    /// The full name.
    pub fn name(&self) -> &str {
        self.0.username.as_deref().unwrap_or_default()
    }
}

/// A verb on a resource of an API group, in the namespace of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Permission<'a> {
    pub group: &'a str,
    /// `pods/log` is the subresource `log` of `pods`.
    pub resource: &'a str,
    pub verb: &'a str,
}

impl Permission<'_> {
    fn attributes(self, namespace: Option<&str>) -> ResourceAttributes {
        let (resource, subresource) = match self.resource.split_once('/') {
            Some((resource, subresource)) => (resource, Some(subresource)),
            None => (self.resource, None),
        };
        ResourceAttributes {
            namespace: namespace.map(str::to_owned),
            group: Some(self.group.to_owned()),
            resource: Some(resource.to_owned()),
            subresource: subresource.map(str::to_owned),
            verb: Some(self.verb.to_owned()),
            ..ResourceAttributes::default()
        }
    }
}

impl Cluster {
    /// The user of a token; none if it is not valid, or not for this audience. Without an audience it is that of the API server.
    ///
    /// # Errors
    /// When Kubernetes does not answer, or the server may not ask.
    pub async fn identify(&self, token: &str, audience: Option<&str>) -> Result<Option<Identity>> {
        let review = TokenReview {
            spec: TokenReviewSpec {
                audiences: audience.map(|audience| vec![audience.to_owned()]),
                token: token.to_owned(),
            },
            ..TokenReview::default()
        };
        let answer = self.review("check the token of a user", &review).await;
        let status = answer.map_err(own_fault)?.status.unwrap_or_default();
        // An authenticator that knows no audiences leaves them out: its tokens are for the API server.
        let is_meant = audience.is_none_or(|audience| {
            let audiences = status.audiences.unwrap_or_default();
            audiences.iter().any(|meant| meant == audience)
        });
        let is_valid = status.authenticated == Some(true) && status.error.is_none() && is_meant;
        let identity = status.user.map(Identity).filter(|_| is_valid);
        Ok(identity.filter(|identity| !identity.name().is_empty()))
    }

    /// Whether a user has a right.
    ///
    /// # Errors
    /// When Kubernetes does not answer, or the server may not ask.
    pub async fn allows(&self, identity: &Identity, permission: Permission<'_>) -> Result<bool> {
        let user = identity.0.clone();
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: user.username,
                uid: user.uid,
                groups: user.groups,
                extra: user.extra,
                resource_attributes: Some(permission.attributes(Some(&self.namespace))),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let answer = self.review("ask for the rights of a user", &review).await;
        let status = answer.map_err(own_fault)?.status.unwrap_or_default();
        Ok(status.allowed && status.denied != Some(true))
    }

    /// Whether the server itself has a right, in its namespace or in the whole cluster.
    ///
    /// # Errors
    /// When Kubernetes does not answer, or refuses.
    pub async fn allows_self(&self, permission: Permission<'_>, everywhere: bool) -> Result<bool> {
        let namespace = (!everywhere).then_some(self.namespace.as_str());
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(permission.attributes(namespace)),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        let doing = "ask for the rights of the server";
        let answer = self.review(doing, &review).await?;
        Ok(answer.status.unwrap_or_default().allowed)
    }

    async fn review<K>(&self, doing: &str, review: &K) -> Result<K>
    where
        K: kube::Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize,
    {
        let (api, params) = (Api::all(self.client.clone()), PostParams::default());
        call(doing, api.create(&params, review)).await
    }
}

/// A refusal of a review is about the server, not about its user.
fn own_fault(error: Error) -> Error {
    match error.reason() {
        Reason::Forbidden => Error::new(
            Reason::InternalError,
            format!("{error}; the server needs the ClusterRole system:auth-delegator"),
        ),
        _ => error,
    }
}
