//! Errors that a process can box with others. A worker boxes none.

use crate::channel::ChannelError;
use crate::confine::NotConfined;

impl std::error::Error for ChannelError {}

impl std::error::Error for NotConfined {}
