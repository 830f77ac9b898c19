//! The routes about volumes.

use super::{Body, DELETE, GET, POST, Route, Type, json, tasks};
use crate::api::{
    VolumeCreateResponse, VolumeDefinition, VolumeDeleteResponse, VolumeListResponse, VolumeStatus,
    path,
};

pub const ROUTES: &[Route] = &[
    Route {
        path: path::VOLUMES_CREATE,
        name: "create_volume",
        summary: "Creates a volume.",
        headers: &[tasks::KEY],
        bodies: &[Body::Json(Type::of::<VolumeDefinition>(), "")],
        answers: &[json(&[Type::of::<VolumeCreateResponse>()], "")],
        refusals: &[404, 409],
        ..POST
    },
    Route {
        path: path::VOLUMES,
        name: "list_volumes",
        summary: "Lists the volumes, newest first.",
        query: &[tasks::ALL_USERS],
        answers: &[json(&[Type::of::<VolumeListResponse>()], "")],
        ..GET
    },
    Route {
        path: path::VOLUME,
        name: "get_volume",
        summary: "Shows one volume.",
        notes: "`used_by` lists the unfinished tasks that mount it. Its status is `Terminating` while it waits for pods that still \
                use it.",
        answers: &[json(&[Type::of::<VolumeStatus>()], "")],
        ..GET
    },
    Route {
        path: path::VOLUME,
        name: "delete_volume",
        summary: "Deletes a volume and its data.",
        answers: &[json(&[Type::of::<VolumeDeleteResponse>()], "")],
        refusals: &[409],
        ..DELETE
    },
];
