//! The handler of `/nodes`.

use actix_web::web::{Data, Json};

use crate::{
    api::{NodeListResponse, User},
    executor::{Error, Executor},
};

/// `GET /nodes`: the machines of the cluster, and what of them is free.
pub async fn list(_: User, executor: Data<Executor>) -> Result<Json<NodeListResponse>, Error> {
    executor.nodes().await.map(Json)
}
