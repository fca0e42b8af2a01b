//! The table of `docs/performance.md`.

use std::fmt::Write as _;

use crate::{GROUPS, Measured, TARGET};

/// One row for each shape, with a column for each size.
pub fn render(all: &[Measured]) -> String {
    let mut text = format!(
        "CPU µs for one request with {GROUPS} groups; *told* is a refusal with its words. The target is {TARGET} µs \
         with 1,000 rows.\n\n",
    );
    let sizes: Vec<usize> = sizes(all);
    let mut lines = vec![heads(&sizes)];
    for shape in all.chunk_by(|one, other| one.shape == other.shape) {
        let cells = |of: fn(&Measured) -> f64| shape.iter().map(move |one| format!("{:.1}", of(one)));
        let Some(first) = shape.first() else { continue };
        let mut line = vec![first.shape.to_owned()];
        line.extend(cells(|one| one.allowed_us));
        line.extend(cells(|one| one.refused_us));
        line.extend(cells(|one| one.told_us));
        line.extend(shape.last().map(|one| format!("{:.0}", one.compile_ms)));
        lines.push(line);
    }
    table(&mut text, &lines);
    text
}

fn sizes(all: &[Measured]) -> Vec<usize> {
    let mut sizes: Vec<usize> = all.iter().map(|one| one.rows).collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

fn heads(sizes: &[usize]) -> Vec<String> {
    let mut heads = vec!["rows".to_owned()];
    for what in ["allowed", "refused", "told"] {
        heads.extend(sizes.iter().map(|size| format!("{what}, {size}")));
    }
    heads.extend(sizes.last().map(|size| format!("compiling {size}, ms")));
    heads
}

fn table(text: &mut String, lines: &[Vec<String>]) {
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let columns = lines.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for (number, line) in lines.iter().enumerate() {
        let cells: Vec<String> =
            line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}", width = *width)).collect();
        let _ = writeln!(text, "| {} |", cells.join(" | "));
        if number == 0 {
            let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
            let _ = writeln!(text, "| {} |", rule.join(" | "));
        }
    }
}
