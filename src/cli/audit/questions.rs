//! The filters as flags. Each has the name and the meaning that it has in the API.

use anyhow::Result;

use super::follow;
use super::output::{Output, Printer};
use super::source::{Source, Stretch, What};

/// How many rows are shown where nothing is said and a person reads them.
const SHOWN: u64 = 100;

/// Declares flags and turns those that were given into names and texts.
macro_rules! filters {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $field:ident $value:literal,)* }) => {
        $(#[$about])*
        #[derive(Debug, clap::Args)]
        pub(in crate::cli) struct $name {
            $($(#[$doc])* #[arg(long, value_name = $value)] $field: Option<String>,)*
        }

        impl $name {
            /// What was given.
            pub(super) fn texts(self) -> Vec<(String, String)> {
                let all = [$((stringify!($field), self.$field),)*];
                all.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?))).collect()
            }
        }
    };
}

filters! {
    /// Of certificates.
    CertificateFilters {
        /// The user name, exactly
        user "NAME",
        /// One of the groups, exactly
        group "NAME",
        /// The cluster
        cluster "NAME",
        /// Who asked, as in token:portal
        caller "CALLER",
        /// The person that was named
        on_behalf_of "NAME",
        /// One of the policy rows that decided
        policy "ROW",
        /// The serial in hex
        serial "HEX",
        /// As in an API server's audit log: X509SHA256=...
        credential_id "ID",
        /// active or expired, at this moment
        status "STATUS",
        /// Issued at this time or later, as in 2026-06-01T00:00:00Z
        issued_after "TIME",
        /// Issued before this time
        issued_before "TIME",
        /// Valid until this time or longer
        expires_after "TIME",
        /// Valid until before this time
        expires_before "TIME",
        /// Valid at this moment
        valid_at "TIME",
        /// With --valid-to: valid at some moment of this period
        valid_from "TIME",
        /// With --valid-from
        valid_to "TIME",
    }
}

filters! {
    /// Of refusals.
    RefusalFilters {
        /// The asked user name, exactly
        user "NAME",
        /// One of the asked groups, exactly
        group "NAME",
        /// The cluster
        cluster "NAME",
        /// Who asked, as in token:portal
        caller "CALLER",
        /// The person that was named
        on_behalf_of "NAME",
        /// One of the policy rows that decided
        policy "ROW",
        /// The error's code, as in `policy_denied`
        code "CODE",
        /// Refused at this time or later, as in 2026-06-01T00:00:00Z
        after "TIME",
        /// Refused before this time
        before "TIME",
    }
}

filters! {
    /// Of events.
    EventFilters {
        /// What happened, as in token.created
        kind "KIND",
        /// Who did it, as in cli:root
        caller "CALLER",
        /// At this time or later, as in 2026-06-01T00:00:00Z
        at_after "TIME",
        /// Before this time
        at_before "TIME",
    }
}

filters! {
    /// Of counts.
    StatsFilters {
        /// The user name, exactly
        user "NAME",
        /// One of the groups, exactly
        group "NAME",
        /// The cluster
        cluster "NAME",
        /// Who asked, as in token:portal
        caller "CALLER",
        /// The person that was named
        on_behalf_of "NAME",
        /// One of the policy rows that decided
        policy "ROW",
        /// The error's code; refusals only
        code "CODE",
        /// Decided at this time or later, as in 2026-06-01T00:00:00Z
        after "TIME",
        /// Decided before this time
        before "TIME",
        /// active or expired, at this moment; certificates only
        status "STATUS",
        /// Valid until this time or longer
        expires_after "TIME",
        /// Valid until before this time
        expires_before "TIME",
        /// Valid at this moment
        valid_at "TIME",
        /// With --valid-to: valid at some moment of this period
        valid_from "TIME",
        /// With --valid-from
        valid_to "TIME",
    }
}

/// Which rows of a list, and how they are printed.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Listing {
    /// How it is printed
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// How many rows at most; a table has 100 unless said, everything else all
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// The oldest first
    #[arg(long)]
    oldest_first: bool,
    /// Only rows behind this number, the oldest first
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i64).range(0..))]
    after_number: Option<i64>,
    /// Print the last rows and go on as new ones come
    #[arg(long, conflicts_with = "oldest_first")]
    follow: bool,
}

impl Listing {
    pub(super) async fn run(self, source: &Source, what: What, texts: Vec<(String, String)>) -> Result<()> {
        if self.follow && self.output == Output::Json {
            let reason = "--follow has no end and an object of JSON has one: take -o ndjson\n";
            clap::Error::raw(clap::error::ErrorKind::ArgumentConflict, reason).exit();
        }
        let stretch = Stretch {
            after_number: self.after_number,
            ascending: self.oldest_first || self.after_number.is_some(),
            limit: self.limit.map(u64::from),
        };
        let mut printer = Printer::new(self.output, what);
        if self.follow {
            printer.begin()?;
            return follow::run(source, what, &texts, stretch, &mut printer).await;
        }
        let shown = self.output == Output::Table && self.limit.is_none();
        let limit = if shown { Some(SHOWN) } else { stretch.limit };
        printer.begin()?;
        source.rows(what, &texts, Stretch { limit, ..stretch }, &mut |row| printer.row(row)).await?;
        let count = printer.end()?;
        if shown && count == SHOWN {
            eprintln!("these are {SHOWN} rows and there may be more: --limit COUNT shows them, -o csv all");
        }
        Ok(())
    }
}
