//! Charts as SVG: stacked areas over time, drawn by plotters, with the table of their numbers beside them.
//!
//! Plotters writes colours as attributes. The names of the colours here are the light ones; the stylesheet gives the same
//! attributes other colours in the dark, so a chart needs to be drawn once for both.

use maud::{Markup, PreEscaped, html};
use ota_core::time::Timestamp;
use plotters::backend::SVGBackend;
use plotters::chart::ChartBuilder;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea as _};
use plotters::series::{AreaSeries, DashedLineSeries};
use plotters::style::{Color as _, IntoFont as _, RGBColor, ShapeStyle};

use super::parts::{count, local, time};
use super::viewer::Viewer;

pub(super) const CONFIRMED: RGBColor = RGBColor(0x1f, 0x8a, 0x57);
pub(super) const WORKING: RGBColor = RGBColor(0x4f, 0x87, 0xe0);
pub(super) const FAILED: RGBColor = RGBColor(0xc9, 0x3a, 0x31);
/// Revisions that have no meaning of their own; the last is for all others.
pub(super) const SERIES: [RGBColor; 8] = [
    RGBColor(0x3d, 0x6f, 0xb8),
    RGBColor(0xb8, 0x5c, 0x00),
    RGBColor(0x0f, 0x7f, 0x75),
    RGBColor(0x7d, 0x4b, 0xa3),
    RGBColor(0xa8, 0x41, 0x5b),
    RGBColor(0x5a, 0x7a, 0x1e),
    RGBColor(0x7a, 0x5c, 0x3e),
    RGBColor(0x7d, 0x88, 0x94),
];
const TEXT: RGBColor = RGBColor(0x55, 0x61, 0x6e);
const AXIS: RGBColor = RGBColor(0x87, 0x93, 0xa1);
const GRID: RGBColor = RGBColor(0xe3, 0xe8, 0xed);
const FORECAST: RGBColor = RGBColor(0x85, 0x55, 0x00);

const SIZE: (u32, u32) = (760, 250);
/// Most rows of the table beside a chart.
const ROWS_MAX: usize = 24;

/// One layer of a stack.
pub(super) struct Layer {
    pub(super) name: String,
    pub(super) colour: RGBColor,
    /// One value for each time.
    pub(super) values: Vec<u64>,
}

/// A stack of layers over time.
pub(super) struct Stack {
    pub(super) title: String,
    pub(super) times: Vec<Timestamp>,
    /// The lowest layer first.
    pub(super) layers: Vec<Layer>,
    /// Where the lowest layer is expected to be, and when.
    pub(super) forecast: Option<(Timestamp, u64)>,
}

type Failed<'a> = DrawingAreaErrorKind<<SVGBackend<'a> as plotters::backend::DrawingBackend>::ErrorType>;

impl Stack {
    /// The chart, its legend and its table; words where there is too little to draw.
    pub(super) fn figure(&self, viewer: &Viewer) -> Markup {
        if self.times.len() < 2 {
            return html! { p.quiet { "There is nothing to draw yet: the course is noted down every few minutes." } };
        }
        let mut svg = String::new();
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        if let Err(why) = self.draw(viewer, &area) {
            tracing::error!(%why, title = self.title, "a chart could not be drawn");
            return html! { p.quiet { "The chart could not be drawn; its numbers are in the table." } (self.table(viewer)) };
        }
        drop(area);
        html! {
            figure {
                div.chart tabindex="0" role="img" aria-label=(self.summary()) { (PreEscaped(svg)) }
                figcaption {
                    ul.legend {
                        @for layer in self.layers.iter().rev() {
                            li { (swatch(layer.colour)) (layer.name) " " b { (count(layer.values.last().copied().unwrap_or(0))) } }
                        }
                    }
                    p.quiet.small { "Times in " (viewer.zone_name()) "." }
                }
                details { summary { "The numbers" } (self.table(viewer)) }
            }
        }
    }

    fn summary(&self) -> String {
        let last =
            |layer: &Layer| format!("{} {}", count(layer.values.last().copied().unwrap_or(0)), layer.name);
        let parts: Vec<String> = self.layers.iter().map(last).collect();
        format!("{}. At the end: {}.", self.title, parts.join(", "))
    }

    fn table(&self, viewer: &Viewer) -> Markup {
        let step = self.times.len().div_ceil(ROWS_MAX).max(1);
        // From the end, so that the newest is always there.
        let rows: Vec<usize> = (0..self.times.len()).rev().step_by(step).collect();
        html! {
            div.scroll tabindex="0" {
                table {
                    caption { (self.title) }
                    thead { tr { th scope="col" { "Time" } @for layer in &self.layers { th.number scope="col" { (layer.name) } } } }
                    tbody {
                        @for row in rows {
                            tr {
                                th scope="row" { (time(viewer, self.times[row])) }
                                @for layer in &self.layers { td.number { (count(layer.values.get(row).copied().unwrap_or(0))) } }
                            }
                        }
                    }
                }
            }
        }
    }

    fn draw<'a>(&self, viewer: &Viewer, area: &DrawingArea<SVGBackend<'a>, Shift>) -> Result<(), Failed<'a>> {
        let seconds = |at: Timestamp| as_f64(at.0 / 1000);
        let (first, last) = (self.times[0], self.times[self.times.len() - 1]);
        let until = self.forecast.map_or(last, |(at, _)| at.min(last.plus(last.since(first)))).max(last);
        let (from, until) = (seconds(first), seconds(until).max(seconds(first) + 1.0));
        let heights = self.heights();
        let top = heights.last().into_iter().flatten().copied().fold(1.0, f64::max);
        let top = self.forecast.map_or(top, |(_, goal)| top.max(as_f64(goal)));
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .margin_right(34)
            .x_label_area_size(26)
            .y_label_area_size(62)
            .build_cartesian_2d(from..until, 0.0..top * 1.05)?;
        let format = time_format(until - from);
        let x_label = |x: &f64| local(viewer, from_seconds(*x), format);
        let y_label = |y: &f64| count(whole(*y));
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(GRID.mix(0.0))
            .bold_line_style(GRID)
            .axis_style(AXIS)
            .x_labels(6)
            .y_labels(5)
            .label_style(("sans-serif", 12).into_font().color(&TEXT))
            .x_label_formatter(&x_label)
            .y_label_formatter(&y_label)
            .draw()?;
        // The highest layer first: each lower one covers what is not its own.
        for (layer, heights) in self.layers.iter().zip(&heights).rev() {
            let line = self.times.iter().zip(heights).map(|(at, height)| (seconds(*at), *height));
            chart.draw_series(AreaSeries::new(line, 0.0, layer.colour.filled()))?;
        }
        if let (Some((at, goal)), Some(lowest)) = (self.forecast, heights.first()) {
            let begin = (seconds(last), lowest.last().copied().unwrap_or(0.0));
            let style = ShapeStyle::from(&FORECAST).stroke_width(2);
            let line = cut([begin, (seconds(at), as_f64(goal))], until);
            chart.draw_series(DashedLineSeries::new(line, 6, 4, style))?;
        }
        area.present()
    }

    /// How high each layer reaches at each time.
    fn heights(&self) -> Vec<Vec<f64>> {
        let mut sums = vec![0_u64; self.times.len()];
        let reach = |layer: &Layer| {
            for (sum, value) in sums.iter_mut().zip(&layer.values) {
                *sum = sum.saturating_add(*value);
            }
            sums.iter().copied().map(as_f64).collect()
        };
        self.layers.iter().map(reach).collect()
    }
}

/// A line that ends at the right edge where it would go beyond it.
fn cut([begin, end]: [(f64, f64); 2], edge: f64) -> [(f64, f64); 2] {
    if end.0 <= edge || end.0 <= begin.0 {
        return [begin, end];
    }
    let part = (edge - begin.0) / (end.0 - begin.0);
    [begin, (edge, begin.1 + (end.1 - begin.1) * part)]
}

/// A square in a layer's colour.
pub(super) fn swatch(colour: RGBColor) -> Markup {
    let RGBColor(red, green, blue) = colour;
    html! {
        svg viewBox="0 0 10 10" aria-hidden="true" {
            rect width="10" height="10" rx="2" fill=(format!("#{red:02X}{green:02X}{blue:02X}")) {}
        }
    }
}

fn time_format(span_s: f64) -> &'static str {
    match span_s {
        s if s < 600.0 => "%H:%M:%S",
        s if s < 2.0 * 86_400.0 => "%H:%M",
        s if s < 300.0 * 86_400.0 => "%-d %b",
        _ => "%b %Y",
    }
}

fn from_seconds(seconds: f64) -> Timestamp {
    Timestamp(whole(seconds).saturating_mul(1000))
}

/// Axes carry floats; counts and seconds lie far below 2^53, where each whole number has one of its own.
const fn as_f64(number: u64) -> f64 {
    number as f64
}

/// The whole number next to a float; what is negative becomes 0.
fn whole(number: f64) -> u64 {
    number.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_and_whole_numbers_go_there_and_back() {
        for number in [0, 1, 4_294_967_295, 4_294_967_296, 10_000_000_000] {
            assert_eq!(whole(as_f64(number)), number);
        }
        assert_eq!(whole(-3.0), 0);
    }

    #[test]
    fn a_forecast_ends_at_the_edge() {
        assert_eq!(cut([(0.0, 0.0), (10.0, 100.0)], 5.0), [(0.0, 0.0), (5.0, 50.0)]);
        assert_eq!(cut([(0.0, 0.0), (10.0, 100.0)], 20.0), [(0.0, 0.0), (10.0, 100.0)]);
    }

    #[test]
    fn layers_stand_on_each_other() {
        let layer = |values: &[u64]| Layer { name: String::new(), colour: FAILED, values: values.to_vec() };
        let stack = Stack {
            title: String::new(),
            times: vec![Timestamp(0), Timestamp(1)],
            layers: vec![layer(&[1, 2]), layer(&[10, 20])],
            forecast: None,
        };
        assert_eq!(stack.heights(), [[1.0, 2.0], [11.0, 22.0]]);
    }
}
