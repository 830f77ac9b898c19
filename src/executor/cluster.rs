//! Requests about objects whose answers are decoded as rows.
//!
//! `kube`'s own `Api` decodes every object whole; here its requests are made with the same words, and only what a row keeps is read.

use futures::Stream;
use kube::{
    api::{DeleteParams, ListParams, PostParams, WatchEvent, WatchParams},
    core::{Request, params::GetParams},
};
use serde::{Deserialize, Serialize};

use super::{
    Error, Executor, PAGE, Result, call,
    rows::{Row, Uid, Version},
    view::{Kept, Scope, Table},
};
use crate::api::Reason;

/// A part of a list.
pub struct Page<R> {
    pub rows: Vec<R>,
    /// When the list was true.
    pub version: Version,
    /// What to ask for the next part with, if there is one.
    pub next: Option<String>,
}

#[derive(Deserialize)]
struct List<R> {
    metadata: ListMeta,
    /// Some servers write none as `null`.
    items: Option<Vec<R>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMeta {
    #[serde(default)]
    resource_version: String,
    #[serde(rename = "continue")]
    next: Option<String>,
}

impl Executor {
    fn requests<R: Row>(&self) -> Request {
        let (group, plural) = R::PATH;
        Request::new(format!("{group}/namespaces/{}/{plural}", self.namespace))
    }

    /// One page of a list.
    pub(super) async fn page<R: Row>(&self, params: &ListParams) -> Result<Page<R>> {
        let doing = format!("list {}", R::KIND);
        let request = self.requests::<R>().list(params);
        let request =
            request.map_err(|error| Error::kube(kube::Error::BuildRequest(error), &doing))?;
        let list: List<R> = call(&doing, self.client.request(request)).await?;
        let next = list.metadata.next.filter(|token| !token.is_empty());
        if next.is_some() && next == params.continue_token {
            let message = format!("cannot {doing}: the list does not go on where it was left");
            return Err(Error::new(Reason::InternalError, message));
        }
        Ok(Page {
            rows: list.items.unwrap_or_default(),
            version: Version::new(&list.metadata.resource_version),
            next,
        })
    }

    /// A whole list, fetched in pages, with the version at which it was true.
    pub(super) async fn list_rows<R: Row>(&self, params: ListParams) -> Result<(Vec<R>, Version)> {
        let mut rows = Vec::new();
        let mut params = params.limit(PAGE);
        loop {
            let page = self.page(&params).await?;
            rows.extend(page.rows);
            match page.next {
                Some(token) => params = params.continue_token(&token),
                None => return Ok((rows, page.version)),
            }
        }
    }

    /// Lists what a scope holds, and puts it into the view.
    pub(super) async fn refresh<R: Kept>(&self, params: ListParams, scope: &Scope) -> Result<()> {
        let highest = self.view.change::<R, _>(|table| table.ledger().highest());
        let (rows, version) = self.list_rows::<R>(params).await?;
        self.view
            .change::<R, _>(|table| table.take(rows, version, scope, highest));
        Ok(())
    }

    /// What happens to objects from a version on.
    pub(super) async fn events<R: Row>(
        &self,
        params: &WatchParams,
        version: Version,
    ) -> Result<impl Stream<Item = kube::Result<WatchEvent<R>>> + use<R>> {
        let doing = format!("watch {}", R::KIND);
        let request = self.requests::<R>().watch(params, &version.to_string());
        let request =
            request.map_err(|error| Error::kube(kube::Error::BuildRequest(error), &doing))?;
        call(doing, self.client.request_events(request)).await
    }

    /// Creates an object, and shows it in the view.
    pub(super) async fn create_row<R: Kept>(&self, object: &impl Serialize) -> kube::Result<R> {
        let body = serde_json::to_vec(object).map_err(kube::Error::SerdeError)?;
        let request = self.requests::<R>().create(&PostParams::default(), body);
        let row: R = self
            .client
            .request(request.map_err(kube::Error::BuildRequest)?)
            .await?;
        self.view.change::<R, _>(|table| table.tell(row.clone()));
        Ok(row)
    }

    /// One object, if there is one of that name.
    pub(super) async fn get_row<R: Row>(&self, name: &str) -> kube::Result<Option<R>> {
        let request = self.requests::<R>().get(name, &GetParams::default());
        let request = request.map_err(kube::Error::BuildRequest)?;
        match self.client.request(request).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
            answer => answer.map(Some),
        }
    }

    /// Deletes an object and, in the background, what it owns, and hides it from the view; returns whether it was still there.
    pub(super) async fn delete_row<R: Kept>(
        &self,
        kind: &str,
        name: &str,
        uid: Uid,
    ) -> Result<bool> {
        let deleted = async {
            let params = DeleteParams::background();
            let request = self.requests::<R>().delete(name, &params);
            let request = request.map_err(kube::Error::BuildRequest)?;
            match self.client.request_text(request).await {
                Err(kube::Error::Api(status)) if status.is_not_found() => Ok(false),
                answer => answer.map(|_| true),
            }
        };
        let was_there = call(format!("delete {kind} `{name}`"), deleted).await?;
        self.view
            .change::<R, _>(|table| table.bury(uid, std::time::Instant::now()));
        Ok(was_there)
    }
}
