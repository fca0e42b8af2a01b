//! `countersign audit stats`.

use anyhow::Result;
use serde_json::json;

use super::output::{Output, write};
use super::source::{Given, Source};
use super::table::Table;
use crate::export::{Form, Lines};

const COLUMNS: &[&str] = &["key", "certificates", "refusals"];

pub(super) async fn run(
    source: &Source,
    by: &str,
    texts: Vec<(String, String)>,
    output: Output,
) -> Result<()> {
    let given: &Given = &texts;
    let items = source.counts(by, given).await?;
    let mut out = Vec::new();
    match output {
        Output::Table => {
            let mut table =
                Table::with(&[("KEY", "key"), ("CERTIFICATES", "certificates"), ("REFUSALS", "refusals")]);
            for item in &items {
                table.add(item);
            }
            out.extend(table.draw().into_bytes());
        }
        Output::Json => out.extend(format!("{}\n", json!({ "by": by, "items": items })).into_bytes()),
        Output::Csv | Output::Ndjson => {
            let form = if output == Output::Csv { Form::Csv } else { Form::Ndjson };
            let mut lines = Lines::new(form, COLUMNS);
            lines.begin(&mut out);
            for item in &items {
                lines.row(item, &mut out);
            }
            lines.end(&mut out);
        }
    }
    write(&out)
}
