//! The table `[review]`: how long a held request waits, and how many a caller may have.

use std::num::NonZeroU32;

use serde::Deserialize;

use crate::app::ReviewLimits;
use crate::time::Lifetime;

/// Nobody approves in less.
const LEAST_LAPSE: Lifetime = Lifetime::from_seconds(60);

/// What was approved a week ago is asked for again.
const LONGEST_LAPSE: Lifetime = Lifetime::from_seconds(7 * 86_400);

/// The table as it is written; what is left out keeps its default.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ReviewTable {
    lapse: Option<Lifetime>,
    pending_per_caller: Option<NonZeroU32>,
}

impl ReviewTable {
    /// # Errors
    /// The key and what is wrong with its value.
    pub(super) fn limits(&self) -> Result<ReviewLimits, String> {
        let default = ReviewLimits::default();
        let lapse = self.lapse.unwrap_or(default.lapse);
        if !(LEAST_LAPSE..=LONGEST_LAPSE).contains(&lapse) {
            return Err(format!("lapse: {lapse} is not between {LEAST_LAPSE} and {LONGEST_LAPSE}"));
        }
        let pending_per_caller = self.pending_per_caller.map_or(default.pending_per_caller, NonZeroU32::get);
        Ok(ReviewLimits { lapse, pending_per_caller })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ReviewLimits, String> {
        toml::from_str::<ReviewTable>(text).map_err(|error| error.to_string())?.limits()
    }

    #[test]
    fn what_is_left_out_keeps_its_default() {
        assert_eq!(read(""), Ok(ReviewLimits::default()));
        let default = ReviewLimits::default();
        assert_eq!((default.lapse, default.pending_per_caller), (Lifetime::from_seconds(3_600), 20));
        let limits = ReviewLimits { lapse: Lifetime::from_seconds(7_200), pending_per_caller: 3 };
        assert_eq!(read("lapse = \"2h\"\npending_per_caller = 3"), Ok(limits));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in ["lapse = \"59s\"", "lapse = \"8d\"", "pending_per_caller = 0", "laps = \"1h\""] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(read("lapse = \"59s\"").is_err_and(|error| error.starts_with("lapse: ")));
    }
}
