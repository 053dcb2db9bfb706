//! Draws shares as bars: as many panels as there are brokers, as many groups as blocks, a bar for each window.

use core::fmt::Write as _;

use crate::{BLOCKS, Line, Setting, WINDOWS};

const WIDTH: f64 = 230.0;
const HEIGHT: f64 = 190.0;
const MARGIN: f64 = 36.0;
/// The largest share that is drawn; larger bars end there.
const SHARE_MAX: f64 = 1.6;
const COLOURS: [&str; 3] = ["#9ecae1", "#4292c6", "#08519c"];

/// An SVG of all lines.
pub(crate) fn shares(lines: &[Line]) -> String {
    let panels = Setting::all();
    let width = panels.len() as f64 * WIDTH + MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        HEIGHT + 2.0 * MARGIN
    );
    for (panel, setting) in panels.into_iter().enumerate() {
        let left = MARGIN + panel as f64 * WIDTH;
        let floor = MARGIN + HEIGHT;
        let _ = writeln!(svg, "<text x=\"{left}\" y=\"20\" font-weight=\"bold\">{setting}</text>");
        for share in [0.0, 0.5, 0.9, 1.5] {
            let y = floor - share / SHARE_MAX * HEIGHT;
            let (colour, dash) = if share == 0.9 { ("#d62728", "4 3") } else { ("#cccccc", "none") };
            let _ = writeln!(
                svg,
                "<line x1=\"{left}\" x2=\"{}\" y1=\"{y}\" y2=\"{y}\" stroke=\"{colour}\" stroke-dasharray=\"{dash}\"/>\
                 <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{share}</text>",
                left + WIDTH - 24.0,
                left - 3.0,
                y + 4.0
            );
        }
        for (group, block) in BLOCKS.into_iter().enumerate() {
            let start = left + 6.0 + group as f64 * 66.0;
            let _ = writeln!(svg, "<text x=\"{start}\" y=\"{}\">{} KiB</text>", floor + 15.0, block / 1024);
            for (bar, window) in WINDOWS.into_iter().enumerate() {
                let is_it =
                    |line: &&Line| (line.setting, line.block, line.window) == (setting, block, window);
                let Some(line) = lines.iter().find(is_it) else { continue };
                let height = line.share.clamp(0.0, SHARE_MAX) / SHARE_MAX * HEIGHT;
                let _ = writeln!(
                    svg,
                    "<rect x=\"{}\" y=\"{}\" width=\"17\" height=\"{height}\" fill=\"{}\"/>",
                    start + bar as f64 * 18.0,
                    floor - height,
                    COLOURS[bar]
                );
            }
        }
    }
    for (bar, window) in WINDOWS.into_iter().enumerate() {
        let x = MARGIN + bar as f64 * 90.0;
        let y = HEIGHT + MARGIN + 24.0;
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"{y}\" width=\"9\" height=\"9\" fill=\"{}\"/><text x=\"{}\" y=\"{}\">window {window}</text>",
            COLOURS[bar],
            x + 13.0,
            y + 9.0
        );
    }
    svg.push_str("</svg>\n");
    svg
}
