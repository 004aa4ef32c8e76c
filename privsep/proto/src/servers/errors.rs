//! Errors that a process can box with others. A worker boxes none.

use crate::bounded::OutOfBounds;
use crate::permit::Refused;

impl std::error::Error for OutOfBounds {}

impl std::error::Error for Refused {}
