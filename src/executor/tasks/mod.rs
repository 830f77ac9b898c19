//! The operations on tasks, one file each.
//!
//! Each is a function of the live view and of the values that the façade, the only importer, passes on. `get` needs no file: see
//! [`LiveView::task`](super::view::LiveView::task). Logs and volumes are not here: `logs` and `volumes` stand beside this room.

pub mod census;
pub mod definition;
pub mod dry_run;
pub mod events;
pub mod expire;
pub mod keyed;
pub mod list;
pub mod prepare;
pub mod reconcile;
pub mod stop;
pub mod submit;
pub mod wait;
pub mod watch;
