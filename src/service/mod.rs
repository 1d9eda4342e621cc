//! What is built from contexts and operations alone, one folder or file per service.

mod expiring;
pub(crate) mod names;
pub(crate) mod resolver;
