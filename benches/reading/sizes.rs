//! What each table and each index takes on disk.

use anyhow::Result;
use serde::Serialize;

use crate::database::Engine;
use crate::prompt::Prompt;
use crate::statistics::rounded;

/// One table or index.
#[derive(Clone, Debug, Serialize)]
pub struct SizeRow {
    pub name: String,
    pub bytes: u64,
    /// Over the certificates of the whole ledger.
    pub per_certificate: f64,
}

/// The largest first, those under half an octet a certificate left out.
pub fn all(prompt: &mut Prompt, engine: Engine, certificates: u64) -> Result<Vec<SizeRow>> {
    let sql = match engine {
        Engine::Sqlite => {
            "SELECT name || ' ' || sum(pgsize) FROM dbstat GROUP BY name ORDER BY sum(pgsize) DESC"
        }
        Engine::Postgres => {
            "SELECT relname || ' ' || pg_relation_size(oid) FROM pg_class WHERE relnamespace = \
             current_schema()::regnamespace AND relkind IN ('r', 'i', 't') ORDER BY pg_relation_size(oid) DESC"
        }
    };
    let mut rows = Vec::new();
    for line in prompt.ask(sql)?.0 {
        let Some((name, bytes)) = line.split_once(' ') else { continue };
        let bytes: u64 = bytes.parse()?;
        let per = rounded(float(bytes) / float(certificates), 1);
        if per >= 0.5 {
            rows.push(SizeRow { name: name.to_owned(), bytes, per_certificate: per });
        }
    }
    Ok(rows)
}

fn float(number: u64) -> f64 {
    // Sizes here are below what a float holds exactly.
    let (high, low) = (number >> 32, number & 0xffff_ffff);
    let half = |half: u64| u32::try_from(half).map_or(0.0, f64::from);
    half(high) * 4_294_967_296.0 + half(low)
}
