//! The handlers of `/volumes`.

use actix_web::{
    HttpResponse,
    web::{Data, Json, Path},
};
use serde_json::Value;

use super::{
    access::{Subjects, UserFilter},
    error,
    request_key::Key,
};
use crate::{
    api::{
        User, VolumeCreateResponse, VolumeDefinition, VolumeDeleteResponse, VolumeId,
        VolumeListResponse, VolumeStatus,
    },
    executor::{Error, Executor},
};

/// `POST /volumes/create`: creates a volume and answers with its id.
pub async fn create(
    user: User,
    key: Key,
    executor: Data<Executor>,
    definition: Json<Value>,
) -> Result<HttpResponse, Error> {
    let volume =
        VolumeDefinition::from_json(&definition).map_err(|problems| error::invalid(&problems))?;
    let id = executor.create_volume(&user, &volume, key.0.as_ref());
    let id = id.await?;
    let answer = HttpResponse::Ok().json(VolumeCreateResponse::new(id));
    Ok(Subjects::of(answer, [id]))
}

/// `GET /volumes`: the volumes, newest first.
pub async fn list(
    user: User,
    filter: UserFilter,
    executor: Data<Executor>,
) -> Result<Json<VolumeListResponse>, Error> {
    let volumes = executor.list_volumes(filter.of(&user)).await?;
    Ok(Json(VolumeListResponse { volumes }))
}

/// `GET /volumes/{volume_id}`: one volume.
pub async fn get(
    user: User,
    id: Path<VolumeId>,
    executor: Data<Executor>,
) -> Result<Json<VolumeStatus>, Error> {
    Ok(Json(executor.get_volume(&user, *id).await?))
}

/// `DELETE /volumes/{volume_id}`: deletes a volume and its data.
pub async fn delete(
    user: User,
    id: Path<VolumeId>,
    executor: Data<Executor>,
) -> Result<Json<VolumeDeleteResponse>, Error> {
    executor.delete_volume(&user, *id).await?;
    Ok(Json(VolumeDeleteResponse::new(id.into_inner())))
}
