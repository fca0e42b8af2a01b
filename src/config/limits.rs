//! The table `[limits]`: what one client, and all of them together, may hold and leave behind.

use std::num::NonZeroU32;

use serde::Deserialize;

use crate::app::RefusalLimits;

/// The table as it is written; what is left out keeps its default.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LimitsTable {
    refusals_burst: Option<NonZeroU32>,
    refusals_per_minute: Option<NonZeroU32>,
}

impl LimitsTable {
    /// How many refusals of one caller are recorded.
    pub(super) fn refusals(&self) -> RefusalLimits {
        let default = RefusalLimits::default();
        RefusalLimits {
            burst: self.refusals_burst.unwrap_or(default.burst),
            per_minute: self.refusals_per_minute.unwrap_or(default.per_minute),
        }
    }
}
