//! What several tests of the intake share.

pub mod faulty;
pub mod shop;
