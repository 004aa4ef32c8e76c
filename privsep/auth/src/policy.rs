//! Who may log in, how often, and what wrong guesses cost.
//!
//! Pure, except that `admission` reads its lists: times and names are passed in.

pub(crate) mod admission;
pub(crate) mod attempts;
pub(crate) mod interval;
pub(crate) mod names;
pub(crate) mod penalties;
mod recent;
