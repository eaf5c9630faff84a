//! Line plots as SVG, in the colours of the page they stand in.

use std::fmt::Write as _;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 30.0;
/// Room for the heading of a file of its own.
const HEADING: f64 = 40.0;
/// Lines that look different.
const COLOURS: usize = 6;

/// How a file of its own looks: it has no page to take its colours from.
const STYLE: &str = "svg{font:12px system-ui,sans-serif}.paper{fill:#fff}text{fill:#5d5f66}.title{fill:#101218;font-weight:600;font-size:14px}\
.end{text-anchor:end}.middle{text-anchor:middle}.grid{stroke:#ddd9cf}.line{fill:none;stroke-width:2;stroke-linejoin:round}\
.s0{stroke:#ff5b35}.s1{stroke:#101218}.s2{stroke:#2f6fbf}.s3{stroke:#1f9d61}.s4{stroke:#9a5fc0}.s5{stroke:#8a7a2a}";

/// One line.
pub(crate) struct Series {
    /// What it shows.
    pub name: String,
    /// Its points, in order of x.
    pub points: Vec<(f64, f64)>,
}

/// How numbers become places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Evenly, from zero.
    Linear,
    /// Evenly, between the least and the greatest value.
    Fitted,
    /// By powers of ten.
    Logarithmic,
}

/// A plot.
pub(crate) struct Plot<'a> {
    /// Heading.
    pub title: &'a str,
    /// Unit of y.
    pub unit: &'a str,
    /// Scale of y.
    pub scale: Scale,
    /// Lines.
    pub series: Vec<Series>,
    /// Ticks of x: where, and what is written there.
    pub x_ticks: Vec<(f64, String)>,
    /// Moments to mark: where, and what happened.
    pub marks: Vec<(f64, String)>,
}

/// Text as HTML has it.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A number as short as it can be read.
pub(super) fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 1e6 => format!("{:.1}M", value / 1e6),
        size if size >= 1e4 => format!("{:.0}k", value / 1e3),
        size if size >= 10.0 => format!("{value:.0}"),
        _ if (value - value.round()).abs() < 1e-9 => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Round steps of which four or five make a range.
fn step_of(range: f64) -> f64 {
    let rough = (range / 4.0).max(1e-9);
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|step| step * power >= rough);
    step.unwrap_or(10.0) * power
}

/// Ticks of a time axis in seconds.
pub(super) fn time_ticks(end_s: f64) -> Vec<(f64, String)> {
    let steps = [1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0];
    let step = steps.into_iter().find(|step| end_s / step <= 8.0).unwrap_or(7200.0);
    let mut at = 0.0;
    let mut ticks = Vec::new();
    while at <= end_s {
        let text = if step >= 60.0 { format!("{:.0} min", at / 60.0) } else { format!("{at:.0} s") };
        ticks.push((at, text));
        at += step;
    }
    ticks
}

struct Axis {
    low: f64,
    high: f64,
    scale: Scale,
}

impl Axis {
    fn of(values: impl Iterator<Item = f64> + Clone, scale: Scale) -> Self {
        let (least, most) = (values.clone().fold(f64::INFINITY, f64::min), values.fold(f64::NEG_INFINITY, f64::max));
        let (low, high) = match scale {
            Scale::Logarithmic => {
                let low = 10_f64.powf(least.max(0.01).log10().floor());
                (low, 10_f64.powf(most.max(low * 10.0).log10().ceil()))
            }
            Scale::Linear => {
                let step = step_of(most.max(1e-9));
                (0.0, (most.max(1e-9) / step).ceil() * step)
            }
            Scale::Fitted => {
                let step = step_of((most - least).max(0.1));
                ((least / step).floor() * step, ((most / step).ceil() * step).max(least + step))
            }
        };
        Self { low, high, scale }
    }

    /// From the bottom, 0 to 1.
    fn place(&self, value: f64) -> f64 {
        let place = match self.scale {
            Scale::Logarithmic => (value.max(self.low) / self.low).log10() / (self.high / self.low).log10(),
            Scale::Linear | Scale::Fitted => (value - self.low) / (self.high - self.low),
        };
        place.clamp(0.0, 1.0)
    }

    fn ticks(&self) -> Vec<f64> {
        let mut ticks = Vec::new();
        let mut at = self.low;
        let step = step_of(self.high - self.low);
        while at <= self.high * (1.0 + 1e-9) && ticks.len() < 12 {
            ticks.push(at);
            at = if self.scale == Scale::Logarithmic { at * 10.0 } else { at + step };
        }
        ticks
    }
}

impl Plot<'_> {
    /// Grid, labels and lines; nothing when there is nothing to show.
    fn drawing(&self) -> Option<String> {
        let ys = || self.series.iter().flat_map(|series| &series.points).map(|&(_, y)| y);
        ys().next()?;
        let y_axis = Axis::of(ys(), self.scale);
        let xs = || {
            let points = self.series.iter().flat_map(|series| &series.points).map(|&(x, _)| x);
            points.chain(self.x_ticks.iter().map(|&(x, _)| x))
        };
        let (x_low, x_high) = (xs().fold(f64::INFINITY, f64::min), xs().fold(f64::NEG_INFINITY, f64::max));
        let x_range = (x_high - x_low).max(1e-9);
        let x_of = |x: f64| LEFT + (x - x_low) / x_range * (WIDTH - LEFT - RIGHT);
        let y_of = |y: f64| HEIGHT - BOTTOM - y_axis.place(y) * (HEIGHT - TOP - BOTTOM);
        let mut svg = String::new();
        // Writing to a string cannot fail.
        for tick in y_axis.ticks() {
            let y = y_of(tick);
            let (right, label_x, label_y) = (WIDTH - RIGHT, LEFT - 8.0, y + 4.0);
            let _ = write!(svg, r#"<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1}" y2="{y:.1}"/>"#);
            let _ = write!(svg, r#"<text class="end" x="{label_x}" y="{label_y:.1}">{}</text>"#, short(tick));
        }
        for (at, text) in &self.x_ticks {
            let (x, y) = (x_of(*at), HEIGHT - 10.0);
            let _ = write!(svg, r#"<text class="middle" x="{x:.1}" y="{y}">{}</text>"#, escape(text));
        }
        for (at, text) in &self.marks {
            let (x, bottom) = (x_of(*at), HEIGHT - BOTTOM);
            let _ = write!(
                svg,
                r#"<line class="mark" x1="{x:.1}" x2="{x:.1}" y1="{TOP}" y2="{bottom}"><title>{}</title></line>"#,
                escape(text)
            );
        }
        for (number, series) in self.series.iter().enumerate() {
            let mut path = String::new();
            for &(x, y) in &series.points {
                let verb = if path.is_empty() { 'M' } else { 'L' };
                let _ = write!(path, "{verb}{:.1} {:.1}", x_of(x), y_of(y));
            }
            let _ = write!(svg, r#"<path class="line s{}" d="{path}"/>"#, number % COLOURS);
        }
        Some(svg)
    }

    /// A figure with heading, legend and plot; nothing when there is nothing to show.
    pub(crate) fn figure(&self) -> String {
        let Some(drawing) = self.drawing() else { return String::new() };
        let mut legend = String::new();
        for (number, series) in self.series.iter().enumerate() {
            let _ = write!(legend, r#"<li><i class="s{}"></i>{}</li>"#, number % COLOURS, escape(&series.name));
        }
        let (title, unit) = (escape(self.title), escape(self.unit));
        format!(
            r#"<figure><figcaption><b>{title}</b> <span>{unit}</span><ul>{legend}</ul></figcaption><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">{drawing}</svg></figure>"#
        )
    }

    /// The same as a file of its own, in the colours of a page of either scheme; nothing when there is nothing to show.
    pub(crate) fn document(&self) -> String {
        let Some(drawing) = self.drawing() else { return String::new() };
        let mut legend = String::new();
        for (number, series) in self.series.iter().enumerate() {
            #[expect(clippy::cast_precision_loss, reason = "a handful of lines")]
            let y = HEIGHT + 16.0 * number as f64 + 14.0;
            let (line_y, end, text_x) = (y - 4.0, LEFT + 14.0, LEFT + 22.0);
            let class = number % COLOURS;
            let _ = write!(legend, r#"<path class="line s{class}" d="M{LEFT} {line_y}H{end}"/>"#);
            let _ = write!(legend, r#"<text x="{text_x}" y="{y}">{}</text>"#, escape(&series.name));
        }
        #[expect(clippy::cast_precision_loss, reason = "a handful of lines")]
        let height = HEIGHT + HEADING + 16.0 * self.series.len() as f64 + 10.0;
        let (title, unit) = (escape(self.title), escape(self.unit));
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 -{HEADING} {WIDTH} {height}" width="{WIDTH}" role="img" aria-label="{title}"><style>{STYLE}</style><rect class="paper" x="0" y="-{HEADING}" width="{WIDTH}" height="{height}"/><text class="title" x="{LEFT}" y="-22">{title}</text><text x="{LEFT}" y="-6">{unit}</text>{drawing}{legend}</svg>
"#
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_round_ticks_and_hold_every_value() {
        for scale in [Scale::Linear, Scale::Fitted, Scale::Logarithmic] {
            for values in [vec![0.3, 7.2, 93.0], vec![1.0], vec![0.0, 0.0], vec![3.98, 4.02], vec![12_345.0, 0.5]] {
                let axis = Axis::of(values.iter().copied(), scale);
                assert!(axis.low < axis.high, "{scale:?} {values:?}");
                assert!((2..=12).contains(&axis.ticks().len()), "{scale:?} {values:?}: {:?}", axis.ticks());
                let inside = |value: &f64| *value >= axis.low - 1e-9 && *value <= axis.high + 1e-9;
                assert!(scale == Scale::Logarithmic || values.iter().all(inside), "{scale:?} {values:?}");
            }
        }
    }

    #[test]
    fn text_of_others_stays_text() {
        let series = vec![Series { name: "<script>".to_owned(), points: vec![(0.0, 1.0), (1.0, 2.0)] }];
        let plot = Plot {
            title: "a & b",
            unit: "",
            scale: Scale::Linear,
            series,
            x_ticks: time_ticks(1.0),
            marks: Vec::new(),
        };
        for text in [plot.figure(), plot.document()] {
            assert!(!text.contains("<script>") && text.contains("&lt;script&gt;") && text.contains("a &amp; b"));
        }
    }
}
