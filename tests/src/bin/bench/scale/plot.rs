//! Charts as one picture in SVG: what was measured, as points on a line from nothing.

use std::fmt::Write as _;

/// One chart.
pub(super) struct Chart<'a> {
    pub(super) title: &'a str,
    pub(super) unit: &'a str,
    /// The first is above all others in the legend.
    pub(super) lines: Vec<Line<'a>>,
}

/// What one line is of.
pub(super) struct Line<'a> {
    pub(super) label: &'a str,
    /// Sessions and what they cost.
    pub(super) points: Vec<(f64, f64)>,
}

/// Of lines, in their order.
const COLORS: [&str; 2] = ["#1f5fa8", "#c05a1c"];

/// Of one chart, in pixels; charts are two in a row.
const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 260.0;
const MARGIN: f64 = 56.0;
/// Marks at each axis.
const MARKS: u32 = 4;

/// The picture.
pub(super) fn svg(charts: &[Chart<'_>]) -> String {
    let rows = u32::try_from(charts.len().div_ceil(2)).unwrap_or(1);
    let (width, height) = (WIDTH * 2.0, HEIGHT * f64::from(rows));
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    for (chart, n) in charts.iter().zip(0_u32..) {
        let (x, y) = (f64::from(n % 2) * WIDTH, f64::from(n / 2) * HEIGHT);
        let _ = writeln!(text, "<g transform=\"translate({x} {y})\">\n{}</g>", drawn(chart));
    }
    text + "</svg>\n"
}

fn drawn(chart: &Chart<'_>) -> String {
    let points = || chart.lines.iter().flat_map(|line| &line.points);
    let most = |of: fn(&(f64, f64)) -> f64| rounded(points().map(of).fold(0.0, f64::max));
    let (right, top) = (most(|it| it.0), most(|it| it.1));
    let x = |value: f64| MARGIN + value / right * (WIDTH - 1.5 * MARGIN);
    let y = |value: f64| HEIGHT - MARGIN * 0.7 - value / top * (HEIGHT - 1.5 * MARGIN);
    let mut text = format!(
        "<text x=\"{MARGIN}\" y=\"20\" font-weight=\"bold\">{}, {}</text>\n",
        chart.title, chart.unit
    );
    for mark in 0..=MARKS {
        let share = f64::from(mark) / f64::from(MARKS);
        let (at, below) = (y(top * share), y(0.0) + 16.0);
        let _ = writeln!(
            text,
            "<line x1=\"{x0}\" x2=\"{x1}\" y1=\"{at}\" y2=\"{at}\" stroke=\"#ddd\"/>\
             <text x=\"{left}\" y=\"{low}\" text-anchor=\"end\">{value}</text>\
             <text x=\"{under}\" y=\"{below}\" text-anchor=\"middle\">{sessions}</text>",
            x0 = x(0.0),
            x1 = x(right),
            left = x(0.0) - 6.0,
            low = at + 4.0,
            value = top * share,
            under = x(right * share),
            sessions = right * share,
        );
    }
    for ((line, color), n) in chart.lines.iter().zip(COLORS).zip(0_u32..) {
        let path: Vec<String> =
            line.points.iter().map(|it| format!("{:.1},{:.1}", x(it.0), y(it.1))).collect();
        let _ = writeln!(
            text,
            "<text x=\"{left}\" y=\"{at}\" fill=\"{color}\">{label}</text>\n\
             <polyline points=\"{path}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"1.5\"/>",
            left = MARGIN + 8.0,
            at = 36.0 + 14.0 * f64::from(n),
            label = line.label,
            path = path.join(" ")
        );
        for (sessions, value) in &line.points {
            let (cx, cy) = (x(*sessions), y(*value));
            let _ = writeln!(text, "<circle cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"3\" fill=\"{color}\"/>");
        }
    }
    text
}

/// The next number above that is easy to read in quarters: 4, 8, 20, 40 …
fn rounded(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(1e-9).log10().floor());
    [1.0, 2.0, 4.0, 8.0, 10.0, 20.0].iter().map(|it| it * power).find(|it| *it >= value).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_each_point_within_its_chart() {
        let line = |label, most| Line { label, points: vec![(1000.0, 50.0), (18_000.0, most)] };
        let lines = vec![line("one", 613.0), line("several", 900.0)];
        let text = svg(&[Chart { title: "Memory", unit: "MiB", lines }]);
        assert_eq!(text.matches("<circle").count(), 4);
        assert!(text.contains(">one<") && text.contains(">several<"), "{text}");
        let inside = |text: &str| {
            text.split("cx=\"").skip(1).all(|rest| {
                let value: f64 = rest.split('"').next().and_then(|it| it.parse().ok()).unwrap_or(f64::NAN);
                (0.0..=WIDTH).contains(&value)
            })
        };
        assert!(inside(&text), "{text}");
    }

    #[test]
    fn axes_end_at_numbers_that_can_be_quartered() {
        for (value, end) in
            [(613.0, 800.0), (18_000.0, 20_000.0), (0.03, 0.04), (1000.0, 1000.0), (9.0, 10.0)]
        {
            assert!((rounded(value) - end).abs() < end * 1e-9, "{value} ends at {}", rounded(value));
        }
    }
}
