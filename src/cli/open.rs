//! Opens what a server left, or still writes, for the commands that look at it.

pub(super) use super::flags::StoreFlag;
pub(super) use crate::app::offline::{log, store};
