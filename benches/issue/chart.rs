//! The chart: an SVG by hand, readable on white.

use std::fmt::Write as _;

use crate::results::{CaseRow, Results};

const WIDTH: f64 = 860.0;
/// Where bars begin, and how long the longest may be.
const LEFT: f64 = 190.0;
const LONGEST: f64 = 470.0;
const BAR: f64 = 18.0;

const VERIFY: &str = "#2f6f9f";
const SIGN: &str = "#7fb2d6";
const REST: &str = "#e0a458";
const SHADES: [&str; 3] = ["#b9d3e6", "#7fb2d6", "#2f6f9f"];

/// Three panels: CPU against the floor, rates, the writer alone.
pub fn render(results: &Results) -> String {
    let mut chart = Chart { body: String::new(), y: 0.0 };
    chart.cpu(&results.cases);
    chart.rates(&results.cases);
    chart.writers(results);
    let height = chart.y + 12.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{}</svg>\n",
        chart.body
    )
}

struct Chart {
    body: String,
    /// How far down it is full.
    y: f64,
}

impl Chart {
    fn cpu(&mut self, cases: &[CaseRow]) {
        let bars: Vec<(&CaseRow, f64)> =
            cases.iter().filter_map(|case| Some((case, case.closed(64)?.server_cpu_us))).collect();
        let scale = scale(bars.iter().map(|(_, cpu)| *cpu));
        self.title("Server CPU for one certificate with 64 clients, µs");
        self.legend(&[
            ("check of the CSR (floor)", VERIFY),
            ("the CA's signature (floor)", SIGN),
            ("the rest", REST),
        ]);
        for (case, cpu) in bars {
            let rest = (cpu - case.floor_verify_us - case.floor_sign_us).max(0.0);
            let parts = [(case.floor_verify_us, VERIFY), (case.floor_sign_us, SIGN), (rest, REST)];
            let times = case.closed(64).map_or(0.0, |load| load.server_cpu_times_floor);
            self.bar(&case.name(), &parts, scale, &format!("{cpu:.0}, {times:.2} times the floor"));
        }
    }

    fn rates(&mut self, cases: &[CaseRow]) {
        let closed = |case: &CaseRow| -> Vec<(usize, f64)> {
            let loads = case.loads.iter();
            loads.filter_map(|load| Some((load.clients?, load.certificates_per_second))).collect()
        };
        let scale = scale(cases.iter().flat_map(closed).map(|(_, rate)| rate));
        self.title("Certificates a second, closed loop");
        for case in cases {
            for ((clients, rate), shade) in closed(case).into_iter().zip(SHADES) {
                let label = if clients == 1 { case.name() } else { String::new() };
                self.bar(
                    &label,
                    &[(rate, shade)],
                    scale,
                    &format!("{rate:.0} with {clients} {}", if clients == 1 { "client" } else { "clients" }),
                );
            }
            self.y += 6.0;
        }
    }

    fn writers(&mut self, results: &Results) {
        let scale = scale(results.writers.iter().map(|row| row.group_per_second));
        self.title("The writer alone, records a second from 64 tasks");
        for row in &results.writers {
            let (one, group) = (row.one_row_per_second, row.group_per_second);
            self.bar(
                row.engine.as_str(),
                &[(one, REST)],
                scale,
                &format!("{one:.0} one row in a transaction"),
            );
            self.bar("", &[(group, VERIFY)], scale, &format!("{group:.0} group commit"));
            self.y += 6.0;
        }
    }

    fn title(&mut self, text: &str) {
        self.y += 30.0;
        let _ = writeln!(
            self.body,
            "<text x=\"12\" y=\"{}\" font-size=\"15\" font-weight=\"bold\">{text}</text>",
            self.y
        );
        self.y += 12.0;
    }

    fn legend(&mut self, entries: &[(&str, &str)]) {
        let mut x = LEFT;
        for (text, colour) in entries {
            self.rectangle(x, 12.0, colour);
            self.text(x + 18.0, text, "start");
            x += 190.0;
        }
        self.y += BAR + 4.0;
    }

    /// One bar of several parts, with its label at the left and `note` behind it.
    fn bar(&mut self, label: &str, parts: &[(f64, &str)], scale: f64, note: &str) {
        self.text(LEFT - 8.0, label, "end");
        let mut x = LEFT;
        for (value, colour) in parts {
            self.rectangle(x, value * scale, colour);
            x += value * scale;
        }
        self.text(x + 6.0, note, "start");
        self.y += BAR + 4.0;
    }

    fn rectangle(&mut self, x: f64, width: f64, colour: &str) {
        let y = self.y;
        let _ = writeln!(
            self.body,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>"
        );
    }

    fn text(&mut self, x: f64, text: &str, anchor: &str) {
        let y = self.y + 13.0;
        let _ = writeln!(self.body, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>");
    }
}

/// Pixels for one of `values`, so that the largest fits.
fn scale(values: impl Iterator<Item = f64>) -> f64 {
    LONGEST / values.fold(1.0, f64::max)
}
