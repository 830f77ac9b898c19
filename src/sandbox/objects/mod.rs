//! The objects of the cluster: their kinds, their versions, and the rules by which they change.
//!
//! The `store` keeps them, and the `registry` is the only door for writers: it applies `defaults`, `validation` and
//! `immutability`, as a real API server does, and `feed` tells every reader of a change. All other wings import this one. It
//! starts no process, answers no request and decides nothing on its own: clients and controllers do.

pub mod clock;
pub mod defaults;
pub mod deletion;
pub mod events;
pub mod feed;
pub mod identity;
pub mod node;
pub mod object;
pub mod registry;
pub mod resource;
pub mod seed;
pub mod selection;
pub mod status;
pub mod store;
pub mod unknown_fields;

mod immutability;
mod validation;
