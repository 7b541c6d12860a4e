//! Charts as geometry: numbers for the attributes of SVG, which templates draw.

use std::fmt::Write as _;

use minijinja::{Value, context};

use super::windows::Window;

/// Columns for how many orders are in which part of their time in a state, as `{x, y, h}` in a box of 16 by 100.
pub(super) fn columns(ages: &[u64]) -> Vec<Value> {
    let most = ages.iter().copied().max().unwrap_or(0).max(1) as f64;
    let column = |(index, n): (usize, &u64)| {
        let height = percent(*n as f64 / most);
        context! { x => index as f64 + 0.1, y => 100.0 - height, h => height }
    };
    ages.iter().enumerate().map(column).collect()
}

/// A line through values that are as far apart as each other, in a box of 100 by 100 under `top`, as the `d` of a path.
pub(super) fn line(values: &[f64], top: f64) -> String {
    points(values, percent, |value| 100.0 - percent(value / top))
}

/// The area between two such lines.
pub(super) fn band(low: &[f64], high: &[f64], top: f64) -> String {
    let back: Vec<f64> = low.iter().rev().copied().collect();
    let back = points(&back, |part| percent(1.0 - part), |value| 100.0 - percent(value / top));
    format!("{}{}Z", line(high, top), back.replacen('M', "L", 1))
}

/// A small line in a box of 92 by 24, and its last point as `{x, y}`.
pub(super) fn spark(values: &[f64]) -> Value {
    let top = values.iter().copied().fold(1.0, f64::max);
    let y = |value: f64| round(21.0 - 18.0 * value / top);
    let d = points(values, |part| round(88.0 * part), y);
    context! { d, x => 88, y => y(values.last().copied().unwrap_or(0.0)) }
}

fn points(values: &[f64], x: impl Fn(f64) -> f64, y: impl Fn(f64) -> f64) -> String {
    let last = values.len().saturating_sub(1).max(1) as f64;
    let mut path = String::new();
    for (index, value) in values.iter().enumerate() {
        let letter = if index == 0 { 'M' } else { 'L' };
        let _ = write!(path, "{letter}{} {}", x(index as f64 / last), y(*value)); // a string takes everything
    }
    path
}

/// A round number not below a value, for the top of a chart; its half is a whole one.
pub(super) fn top(value: f64) -> u64 {
    let value = value.max(1.0);
    let scale = 10_f64.powf(value.log10().floor());
    let round = [1.0, 2.0, 4.0, 6.0, 8.0, 10.0].into_iter().map(|n| n * scale).find(|n| *n >= value);
    (round.unwrap_or(value) as u64).max(2)
}

/// Buckets of a histogram beyond these seconds are drawn only when something is in them.
const DRAWN: f64 = 5.0;

/// A histogram as bars, with where two values stand on its axis; what is beyond `goal` seconds is marked.
pub(super) fn histogram(window: &Window, goal: f64, marks: [f64; 2]) -> Value {
    let last = window.buckets.iter().rposition(|(bound, count)| *bound <= DRAWN || *count > 0);
    let drawn = window.buckets.iter().take(last.map_or(0, |last| last + 1));
    let buckets: Vec<_> = drawn.filter(|(bound, _)| bound.is_finite()).collect();
    let width = 100.0 / buckets.len().max(1) as f64;
    let most = buckets.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1) as f64;
    let bar = |(index, (bound, count)): (usize, &&(f64, u64))| {
        let height = round(88.0 * *count as f64 / most);
        context! { x => round((index as f64 + 0.1) * width), width => round(width * 0.8), y => 100.0 - height, h => height, is_over => *bound > goal }
    };
    let bars: Vec<_> = buckets.iter().enumerate().map(bar).collect();
    let place = |seconds: f64| {
        let index = buckets.iter().position(|(bound, _)| *bound >= seconds).unwrap_or(buckets.len().saturating_sub(1));
        let from = index.checked_sub(1).map_or(0.0, |before| buckets[before].0);
        let to = buckets.get(index).map_or(1.0, |(bound, _)| *bound);
        round(width * (index as f64 + ((seconds - from) / (to - from)).clamp(0.0, 1.0)))
    };
    let bounds: Vec<_> = buckets.iter().map(|(bound, _)| bound_in_words(*bound)).collect();
    context! { bars, marks => marks.map(place).to_vec(), bounds }
}

/// Milliseconds as a number, seconds with their unit.
fn bound_in_words(seconds: f64) -> String {
    if seconds < 1.0 { format!("{}", (seconds * 1_000.0).round()) } else { format!("{seconds}\u{a0}s") }
}

fn percent(part: f64) -> f64 {
    round(part.clamp(0.0, 1.0) * 100.0)
}

/// To a tenth, which is less than a pixel.
fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_from_one_end_to_the_other() {
        assert_eq!(line(&[0.0, 5.0, 10.0], 10.0), "M0 100L50 50L100 0");
        assert_eq!(line(&[], 10.0), "");
        assert_eq!(line(&[3.0], 2.0), "M0 0");
        assert_eq!(band(&[0.0, 5.0], &[5.0, 10.0], 10.0), "M0 50L100 0L100 50L0 100Z");
    }

    #[test]
    fn the_top_of_a_chart_is_a_round_number() {
        let tops: Vec<_> = [0.0, 1.0, 3.0, 12.0, 780.0, 1_000.0, 1_001.0].into_iter().map(top).collect();
        assert_eq!(tops, [2, 2, 4, 20, 800, 1_000, 2_000]);
    }

    #[test]
    fn bars_and_marks_stand_on_the_same_axis() {
        let buckets = vec![(0.01, 1), (0.05, 4), (1.0, 0), (30.0, 0), (300.0, 0), (f64::INFINITY, 0)];
        let window = Window { buckets, count: 5 };
        let chart = histogram(&window, 0.05, [0.01, 0.03]);
        assert_eq!(chart.get_attr("marks").unwrap().to_string(), "[33.3, 50.0]");
        assert_eq!(chart.get_attr("bounds").unwrap().to_string(), "['10', '50', '1\u{a0}s']");
        let last = chart.get_attr("bars").unwrap().get_item(&Value::from(2)).unwrap();
        assert!(last.get_attr("is_over").unwrap().is_true());
    }
}
