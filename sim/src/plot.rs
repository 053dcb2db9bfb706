//! The plot of the link benchmark: small panels, one for each link, drawn as plain SVG that reads well in light and dark.

use core::fmt::Write;

use crate::speed::Case;

/// What was measured for one case, as shares of what the link carries.
#[derive(Debug, Clone, Copy)]
pub struct Share {
    /// The case.
    pub case: Case,
    /// The engine's share.
    pub engine: f64,
    /// The share of stop-and-wait.
    pub one_by_one: f64,
}

const PANEL_WIDTH: f64 = 200.0;
const PANEL_HEIGHT: f64 = 130.0;
const GAP: f64 = 46.0;
const LEFT: f64 = 56.0;
const TOP: f64 = 70.0;

const STYLE: &str = "text{font:12px sans-serif;fill:#24292f}.grid{stroke:#d0d7de;fill:none}\
    .line{fill:none;stroke-width:2}.one{stroke-dasharray:3 3}.l0{stroke:#0969da}.l1{stroke:#1a7f37}.l5{stroke:#cf222e}\
    @media(prefers-color-scheme:dark){text{fill:#e6edf3}.grid{stroke:#444c56}\
    .l0{stroke:#58a6ff}.l1{stroke:#3fb950}.l5{stroke:#ff7b72}}";

/// Draws all cases: a row of panels for each capacity, a column for each round trip, a line for each loss.
#[must_use]
pub fn svg(shares: &[Share]) -> String {
    let rates = distinct(shares, |case| case.kilobits_per_second);
    let trips = distinct(shares, |case| case.round_trip_ms);
    let width = LEFT + trips.len() as f64 * (PANEL_WIDTH + GAP);
    let height = TOP + rates.len() as f64 * (PANEL_HEIGHT + GAP);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
         aria-label=\"Share of the link that a download reaches\">\n<style>{STYLE}</style>\n"
    );
    text(
        &mut svg,
        LEFT,
        18.0,
        "Share of what the link carries, by length of a block; dashed: one block at a time",
    );
    for (index, loss) in distinct(shares, |case| u64::from(case.loss_percent)).into_iter().enumerate() {
        let x = LEFT + 120.0 * index as f64;
        let _ = writeln!(svg, "<path class=\"line l{loss}\" d=\"M{x} 36h24\"/>");
        text(&mut svg, x + 30.0, 40.0, &format!("{loss} % lost"));
    }
    for (row, rate) in rates.iter().enumerate() {
        for (column, trip) in trips.iter().enumerate() {
            let origin =
                (LEFT + column as f64 * (PANEL_WIDTH + GAP), TOP + row as f64 * (PANEL_HEIGHT + GAP));
            let here = shares
                .iter()
                .filter(|share| share.case.kilobits_per_second == *rate && share.case.round_trip_ms == *trip);
            let title = format!("{} Mbit/s, {trip} ms", *rate as f64 / 1000.0);
            panel(&mut svg, origin, &title, &here.collect::<Vec<_>>());
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn distinct(shares: &[Share], of: impl Fn(&Case) -> u64) -> Vec<u64> {
    let mut values: Vec<u64> = shares.iter().map(|share| of(&share.case)).collect();
    values.sort_unstable();
    values.dedup();
    values
}

fn panel(svg: &mut String, (x, y): (f64, f64), title: &str, shares: &[&Share]) {
    text(svg, x, y - 6.0, title);
    for percent in [0, 50, 100] {
        let line = y + height_of(f64::from(percent) / 100.0);
        let _ = writeln!(svg, "<path class=\"grid\" d=\"M{x} {line:.1}h{PANEL_WIDTH}\"/>");
        text(svg, x - 38.0, line + 4.0, &format!("{percent} %"));
    }
    let sizes = {
        let mut sizes: Vec<u32> = shares.iter().map(|share| share.case.block_bytes).collect();
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    };
    let place = |size: u32| {
        let index = sizes.iter().position(|known| *known == size).unwrap_or(0) as f64;
        x + 16.0 + index * (PANEL_WIDTH - 32.0) / (sizes.len().max(2) - 1) as f64
    };
    for size in &sizes {
        let name = if *size < 1024 { format!("{size} B") } else { format!("{} K", size / 1024) };
        text(svg, place(*size) - 12.0, y + PANEL_HEIGHT + 16.0, &name);
    }
    let mut losses: Vec<u32> = shares.iter().map(|share| share.case.loss_percent).collect();
    losses.sort_unstable();
    losses.dedup();
    for loss in losses {
        for (kind, value) in
            [("", (|share| share.engine) as fn(&Share) -> f64), (" one", |share| share.one_by_one)]
        {
            let mut path = String::new();
            for share in shares.iter().filter(|share| share.case.loss_percent == loss) {
                let command = if path.is_empty() { 'M' } else { 'L' };
                let line = y + height_of(value(share).clamp(0.0, 1.05));
                let _ = write!(path, "{command}{:.1} {line:.1}", place(share.case.block_bytes));
            }
            let _ = writeln!(svg, "<path class=\"line l{loss}{kind}\" d=\"{path}\"/>");
        }
    }
}

/// How far below the top of a panel a share lies.
fn height_of(share: f64) -> f64 {
    PANEL_HEIGHT * (1.0 - share)
}

fn text(svg: &mut String, x: f64, y: f64, text: &str) {
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_has_a_place_in_the_plot() {
        let shares: Vec<Share> =
            Case::all().map(|case| Share { case, engine: 0.95, one_by_one: 0.08 }).collect();
        let svg = svg(&shares);
        assert_eq!(svg.matches("Mbit/s, ").count(), 9, "a panel for each link");
        assert_eq!(svg.matches("<path ").count(), 3 + 9 * 3 + 9 * 3 * 2);
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }
}
