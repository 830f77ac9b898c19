//! Rules of Kubernetes that several modules need.
//!
//! Names and label values, quantities, label selectors and merge keys, as pure functions on text. `api`, `executor` and `sandbox`
//! may import it. It imports no other module, uses no Kubernetes crate and knows neither objects nor tasks.

pub mod names;
pub mod quantity;
pub mod selector;

mod merge;

pub use merge::merge_key;
