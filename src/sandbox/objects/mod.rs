//! The objects of the cluster: their kinds, their versions, and the rules by which they change.
//!
//! The `store` keeps the objects, the `registry` writes them by the API server's rules, and a `feed` reads their changes. All
//! other wings import this one. It starts no process, answers no HTTP request and never acts without a caller.

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

mod field_rules;
mod immutability;
mod pod_rules;
mod validation;
