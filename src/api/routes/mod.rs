//! The routes of the API, with all that a client can send and get: one table.
//!
//! The server registers its handlers for these routes and no others, the OpenAPI document describes them, and the help topic `api`
//! lists them.

mod server;
mod tasks;
mod volumes;

use std::borrow::Cow;

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use super::Parameter;

/// One method of one path.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// A path has `HEAD` where it has `GET`.
    pub method: &'static str,
    pub path: &'static str,
    /// The name of the operation in the OpenAPI document.
    pub name: &'static str,
    /// One sentence about what it does.
    pub summary: &'static str,
    /// Further sentences, in Markdown; may be empty.
    pub notes: &'static str,
    pub needs_user: bool,
    pub query: &'static [Parameter],
    pub headers: &'static [Parameter],
    /// The forms of its body; none if it has none.
    pub bodies: &'static [Body],
    /// The forms of its answer.
    pub answers: &'static [Answer],
    /// Headers of its answer, with their docs.
    pub answer_headers: &'static [(&'static str, &'static str)],
    /// The status codes of its own refusals, besides those that each route may answer with.
    pub refusals: &'static [u16],
}

/// The body of a request.
#[derive(Clone, Copy, Debug)]
pub enum Body {
    /// A type, and what it is if its keys do not say it.
    Json(Type, &'static str),
    /// `application/x-www-form-urlencoded`.
    Form(&'static [Parameter]),
    /// `multipart/form-data`.
    Multipart(&'static [Part]),
}

/// A part of a form.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    pub name: &'static str,
    pub content: PartContent,
    pub is_required: bool,
    /// What it is: the rest of a sentence about it.
    pub doc: &'static str,
}

/// The content of a part of a form.
#[derive(Clone, Copy, Debug)]
pub enum PartContent {
    Json(Type),
    Text,
    Value(Parameter),
    /// A file of this media type.
    File(&'static str),
}

/// A body of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    pub media_type: &'static str,
    /// One of these; of a stream, each line.
    pub types: &'static [Type],
    /// When the answer has this form, or what it is; may be empty.
    pub notes: &'static str,
}

/// A type with a schema.
#[derive(Clone, Copy, Debug)]
pub struct Type {
    name: fn() -> Cow<'static, str>,
    schema: fn() -> RefOr<Schema>,
    parts: fn(&mut Vec<(String, RefOr<Schema>)>),
    is_inline: bool,
}

impl Type {
    pub const fn of<T: ToSchema>() -> Self {
        Self {
            name: <T as ToSchema>::name,
            schema: <T as PartialSchema>::schema,
            parts: <T as ToSchema>::schemas,
            is_inline: false,
        }
    }

    /// A type whose schema stands where it is used.
    pub const fn inline<T: ToSchema>() -> Self {
        Self {
            is_inline: true,
            ..Self::of::<T>()
        }
    }

    pub fn is_inline(self) -> bool {
        self.is_inline
    }

    pub fn name(self) -> Cow<'static, str> {
        (self.name)()
    }

    pub fn schema(self) -> RefOr<Schema> {
        (self.schema)()
    }

    /// The schemas that its own refers to, by name.
    pub fn parts(self) -> Vec<(String, RefOr<Schema>)> {
        let mut parts = Vec::new();
        (self.parts)(&mut parts);
        parts
    }

    /// `{id, reason?}`: the keys of its values, those that may be missing with `?`; none unless it is an object with known keys.
    #[cfg(test)]
    pub fn keys(self) -> Option<String> {
        let keys = keys(&self.schema(), &self.parts());
        (!keys.is_empty()).then(|| format!("{{{}}}", keys.join(", ")))
    }
}

/// The keys of a schema, whose references are to these.
#[cfg(test)]
fn keys(schema: &RefOr<Schema>, parts: &[(String, RefOr<Schema>)]) -> Vec<String> {
    match schema {
        RefOr::T(Schema::Object(object)) => {
            let key = |(key, _): (&String, _)| match object.required.contains(key) {
                true => key.clone(),
                false => format!("{key}?"),
            };
            object.properties.iter().map(key).collect()
        }
        RefOr::T(Schema::AllOf(all)) => {
            // The own keys of a type come behind those of the types that it contains.
            let mut items: Vec<_> = all.items.iter().collect();
            items.sort_by_key(|item| matches!(item, RefOr::Ref(_)));
            let items = items.into_iter();
            items.flat_map(|item| keys(item, parts)).collect()
        }
        RefOr::T(_) => Vec::new(),
        RefOr::Ref(reference) => {
            let is_meant =
                |(name, _): &&(String, _)| reference.ref_location.ends_with(&format!("/{name}"));
            let part = parts.iter().find(is_meant);
            part.map_or_else(Vec::new, |(_, part)| keys(part, parts))
        }
    }
}

/// What most routes have.
const GET: Route = Route {
    method: "GET",
    path: "",
    name: "",
    summary: "",
    notes: "",
    needs_user: true,
    query: &[],
    headers: &[],
    bodies: &[],
    answers: &[],
    answer_headers: &[],
    refusals: &[],
};

const POST: Route = Route {
    method: "POST",
    ..GET
};

const DELETE: Route = Route {
    method: "DELETE",
    ..GET
};

/// The media type of most bodies.
pub const JSON: &str = "application/json";

/// An answer in JSON.
const fn json(types: &'static [Type], notes: &'static str) -> Answer {
    Answer {
        media_type: JSON,
        types,
        notes,
    }
}

/// All routes, in the order in which a reader needs them.
pub fn routes() -> impl Iterator<Item = &'static Route> {
    (tasks::ROUTES.iter())
        .chain(volumes::ROUTES)
        .chain(server::ROUTES)
}

/// The methods of a path, as in the header `Allow`: `GET, HEAD, DELETE`. Empty if the API has no such path.
pub fn methods(path: &str) -> String {
    let own = routes().filter(|route| route.path == path);
    let methods: Vec<&str> = own.flat_map(Route::methods).copied().collect();
    methods.join(", ")
}

impl Route {
    /// Its method, and `HEAD` with `GET`.
    pub fn methods(&self) -> &'static [&'static str] {
        match self.method {
            "GET" => &["GET", "HEAD"],
            "DELETE" => &["DELETE"],
            _ => &["POST"],
        }
    }

    /// The parameters in its path, by name.
    pub fn path_parameters(&self) -> impl Iterator<Item = &'static str> {
        let segments = self.path.split('/');
        segments.filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
    }

    /// The status codes of all its refusals, in order.
    pub fn all_refusals(&self) -> Vec<u16> {
        let mut all = vec![403, 500];
        if self.needs_user {
            all.extend([401, 503, 504]);
        }
        if self.path_parameters().next().is_some() {
            all.extend([400, 404]);
        }
        if !self.bodies.is_empty() {
            all.extend([400, 413, 415, 422]);
        }
        if !self.query.is_empty() || !self.headers.is_empty() {
            all.push(422);
        }
        all.extend(self.refusals);
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// The status codes of refusals, each with its causes.
pub const REFUSALS: &[(u16, &str)] = &[
    (
        400,
        "the request is broken: its body is not JSON, or its path has an invalid id.",
    ),
    (401, "the user or the token is missing or wrong."),
    (
        403,
        "the user or the server lacks a right, or the request comes from a page in a browser.",
    ),
    (
        404,
        "the object does not exist, or belongs to another user; or the namespace of the server does not exist.",
    ),
    (
        405,
        "the path does not have the method; the header `Allow` names those that it has.",
    ),
    (409, "the object exists already, or is in use."),
    (413, "the body is too large."),
    (
        415,
        "the body has another content type than the route reads.",
    ),
    (
        422,
        "the request is not valid. The sentence names all problems.",
    ),
    (
        429,
        "a user has too many unfinished tasks or submits too often (see `k8s-cli help security`; the header `Retry-After` may say when to try \
         again), or too many logs, watched lists and waits are open: 64 of one user, or 4,096 of all users. With few open files (`ulimit -n`) the server serves fewer.",
    ),
    (500, "an error of the server."),
    (
        503,
        "Kubernetes cannot be reached, or the server is about to stop.",
    ),
    (504, "Kubernetes is too slow."),
];

#[cfg(test)]
mod tests;
