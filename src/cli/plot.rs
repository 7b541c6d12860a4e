//! A chart as SVG: lines over one axis. Geometry stands in attributes and colour in classes, as on all our pages.

use std::fmt::Write as _;

use crate::domain::Lang;

const WIDTH: f64 = 500.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 48.0;
const RIGHT: f64 = 104.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 40.0;
/// Most points of a line that are drawn: one for each pixel.
const POINTS_MAX: usize = 500;
/// Least room between two labels at the right.
const LABEL: f64 = 15.0;

/// What is drawn.
#[derive(Debug, Clone, Default)]
pub(super) struct Plot {
    /// What it shows, with units; stands above it.
    pub title: String,
    /// What is to be seen in it; for who cannot see it.
    pub finding: String,
    /// What the horizontal axis is, with its unit.
    pub x: String,
    /// Whether that axis is logarithmic.
    pub log: bool,
    /// A limit, drawn dashed, with its name.
    pub limit: Option<(f64, String)>,
    /// The lines, each with the name that stands at its end.
    pub lines: Vec<Line>,
}

/// A line of points in the order of the horizontal axis.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// The share of values, in percent, that are not above each of them.
pub(super) fn distribution(name: &str, values: impl IntoIterator<Item = f64>) -> Line {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let count = sorted.len() as f64;
    let points = sorted.into_iter().zip(1..).map(|(value, rank)| (value, f64::from(rank) / count * 100.0));
    Line { name: name.to_owned(), points: points.collect() }
}

impl Plot {
    /// Whether there is anything to see.
    pub(super) fn is_empty(&self) -> bool {
        self.lines.iter().all(|line| line.points.len() < 2)
    }

    /// Numbers are those of a language.
    pub(super) fn svg(&self, lang: Lang) -> String {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let x_of = |x: f64| if self.log { x.max(1e-3).log10() } else { x };
        let (x_min, x_max) =
            points().fold((f64::MAX, f64::MIN), |(low, high), (x, _)| (low.min(x_of(*x)), high.max(x_of(*x))));
        let (x_min, x_max) = if self.log { (x_min.floor(), x_max.ceil()) } else { (x_min.min(0.0), x_max) };
        let highest = points().map(|(_, y)| *y).chain(self.limit.iter().map(|(y, _)| *y)).fold(0.0, f64::max);
        let (step, y_max) = ticks(highest);
        let place = |x: f64, y: f64| {
            let across = (x_of(x) - x_min) / (x_max - x_min).max(f64::MIN_POSITIVE);
            (LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - y / y_max * (HEIGHT - TOP - BOTTOM))
        };
        let mut svg = format!(
            r#"<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{}">"#,
            escaped(&self.finding)
        );
        self.grid(&mut svg, lang, step, y_max, (x_min, x_max), &place);
        let mut labels = Vec::new();
        for (number, line) in self.lines.iter().enumerate().filter(|(_, line)| !line.points.is_empty()) {
            let mut path = String::new();
            for (x, y) in thinned(&line.points) {
                let (x, y) = place(x, y);
                write!(path, "{}{x:.1} {y:.1}", if path.is_empty() { "M" } else { "L" }).expect("text takes all");
            }
            write!(svg, r#"<path class="l{}" d="{path}"/>"#, number % 4).expect("text takes all");
            let end = line.points[line.points.len() - 1];
            // lines that end early have their names at the right edge, too, where nothing crosses them
            labels.push(((WIDTH - RIGHT, place(end.0, end.1).1), number % 4, &line.name));
        }
        spread(&mut labels);
        for ((x, y), number, name) in labels {
            let (x, y, name) = (x + 6.0, y + 4.0, escaped(name));
            write!(svg, r#"<text class="n{number}" x="{x:.1}" y="{y:.1}">{name}</text>"#).expect("text takes all");
        }
        svg + "</svg>"
    }

    fn grid(
        &self,
        svg: &mut String,
        lang: Lang,
        step: f64,
        y_max: f64,
        (x_min, x_max): (f64, f64),
        place: &impl Fn(f64, f64) -> (f64, f64),
    ) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        let mut y = 0.0;
        while y <= y_max * 1.001 {
            let at = place(1.0, y).1;
            let text = short(lang, y);
            write!(
                svg,
                r#"<path class="grid" d="M{LEFT} {at:.1}H{right}"/><text class="tick e" x="{}" y="{:.1}">{text}</text>"#,
                LEFT - 6.0,
                at + 4.0
            )
            .expect("text takes all");
            y += step;
        }
        let mut marks = Vec::new();
        if self.log {
            marks.extend((x_min as i32..=x_max as i32).map(|power| 10_f64.powi(power)));
        } else {
            let (step, _) = ticks(x_max);
            marks.extend((0..).map(|n| f64::from(n) * step).take_while(|x| *x <= x_max * 1.001));
        }
        for x in marks {
            let (at, text) = (place(x, 0.0).0, short(lang, x));
            write!(svg, r#"<text class="tick m" x="{at:.1}" y="{}">{text}</text>"#, bottom + 16.0)
                .expect("text takes all");
        }
        let (middle, low, name) = (f64::midpoint(LEFT, right), HEIGHT - 3.0, escaped(&self.x));
        write!(svg, r#"<text class="tick m" x="{middle}" y="{low}">{name}</text>"#).expect("text takes all");
        if let Some((limit, name)) = &self.limit {
            let (at, name) = (place(1.0, *limit).1, escaped(name));
            write!(
                svg,
                r#"<path class="limit" d="M{LEFT} {at:.1}H{right}"/><text class="tick" x="{}" y="{:.1}">{name}</text>"#,
                LEFT + 4.0,
                at - 4.0
            )
            .expect("text takes all");
        }
    }
}

/// Labels at the right that would cover each other are moved apart.
fn spread<T>(labels: &mut [((f64, f64), usize, T)]) {
    labels.sort_by(|one, other| one.0.1.total_cmp(&other.0.1));
    for next in 1..labels.len() {
        labels[next].0.1 = labels[next].0.1.max(labels[next - 1].0.1 + LABEL);
    }
    // what was moved below the axis goes up again
    let mut lowest = HEIGHT - BOTTOM;
    for label in labels.iter_mut().rev() {
        label.0.1 = label.0.1.min(lowest);
        lowest = label.0.1 - LABEL;
    }
}

/// At most so many points, the first and the last among them.
fn thinned(points: &[(f64, f64)]) -> impl Iterator<Item = (f64, f64)> + '_ {
    let last = points.len() - 1;
    let count = points.len().min(POINTS_MAX);
    (0..count).map(move |n| points[if count > 1 { n * last / (count - 1) } else { 0 }])
}

/// A step of 1, 2 or 5 times a power of ten, and its multiple that is not below the highest value.
fn ticks(highest: f64) -> (f64, f64) {
    let rough = (highest / 4.0).max(1e-9);
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|times| times * power).into_iter().find(|step| *step >= rough);
    let step = step.unwrap_or(10.0 * power);
    (step, (highest / step).ceil().max(1.0) * step)
}

/// A number on an axis, as short as it can be.
fn short(lang: Lang, value: f64) -> String {
    let text = match value {
        0.0 => "0".to_owned(),
        v if v >= 1e6 => format!("{}M", v / 1e6),
        v if v >= 1e4 => format!("{}k", v / 1e3),
        v => format!("{}", (v * 1e4).round() / 1e4),
    };
    if lang == Lang::Es { text.replace('.', ",") } else { text }
}

/// Text for HTML, within an element or an attribute.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_round_numbers() {
        assert_eq!(
            [ticks(9.0), ticks(0.0), ticks(1_234.0), ticks(100.0)].map(|(_, most)| short(Lang::En, most)),
            ["10", "0", "1500", "100"]
        );
        let all = |lang| [0.05, 2.5, 40_000.0, 2e6].map(|value| short(lang, value));
        assert_eq!(
            (all(Lang::En), all(Lang::Es)),
            (["0.05", "2.5", "40k", "2M"].map(Into::into), ["0,05", "2,5", "40k", "2M"].map(Into::into))
        );
    }

    #[test]
    fn lines_stay_within_the_picture() {
        let lines = vec![distribution("<one>", [3.0, 0.5, 900.0]), distribution("two", (1..5_000).map(f64::from))];
        let plot = Plot { log: true, lines, finding: "p50 \"3 ms\"".into(), ..Plot::default() };
        let svg = plot.svg(Lang::En);
        assert!(svg.contains("&lt;one&gt;") && svg.contains("&quot;3 ms&quot;") && !svg.contains("NaN"), "{svg}");
        let numbers =
            svg.split("d=\"").skip(1).flat_map(|path| path.split('"').next().unwrap().split(['M', 'L', 'H', ' ']));
        assert!(
            numbers.filter_map(|text| text.parse::<f64>().ok()).all(|number| (0.0..=WIDTH).contains(&number)),
            "{svg}"
        );
        assert!(svg.len() < 32_000 && !plot.is_empty() && Plot::default().is_empty());
    }
}
