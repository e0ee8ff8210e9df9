//! The plot of states over time: areas one on the other, as SVG within the page.

use std::fmt::Write as _;

use maud::{Markup, html};

use super::{
    samples::Sample,
    words::{STATES, state, time},
};

/// Of the drawing, in its own units; the style scales it.
const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 160.0;

/// All of it, with the same in words.
pub(super) fn plot(samples: &[Sample]) -> Markup {
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else {
        return html! { p { "Nothing was counted yet." } };
    };
    if first.at == last.at {
        return html! { p { "Counted once, at " (time(first.at)) ": a plot needs two counts." } };
    }
    let most = samples.iter().map(Sample::total).max().unwrap_or(0).max(1);
    let is_shown = |at: &usize| samples.iter().any(|sample| sample.nodes[*at] > 0);
    let shown: Vec<usize> = (0..STATES.len()).filter(is_shown).collect();
    html! {
        figure {
            svg.plot viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) preserveAspectRatio="none" role="img"
                aria-labelledby="plot-title" {
                title id="plot-title" { "Nodes in each state over time; the numbers are in the table below" }
                @for at in &shown {
                    polygon class=(state(STATES[*at])) points=(area(samples, *at, most)) {}
                }
            }
            figcaption {
                "From " (time(first.at)) " to " (time(last.at)) "; at most " (most) " nodes."
            }
        }
        (super::words::numbers("States over time", &["State", "First", "Least", "Most", "Now"], &html! {
            @for at in &shown {
                @let counts = samples.iter().map(|sample| sample.nodes[*at]);
                tr {
                    th scope="row" { (super::words::mark(STATES[*at])) }
                    td { (first.nodes[*at]) }
                    td { (counts.clone().min().unwrap_or(0)) }
                    td { (counts.max().unwrap_or(0)) }
                    td { (last.nodes[*at]) }
                }
            }
        }))
    }
}

/// The corners of the area of one state: along its top, and back along what is below it.
fn area(samples: &[Sample], state: usize, most: usize) -> String {
    let below = |sample: &Sample| sample.nodes[..state].iter().sum::<usize>();
    let mut points = String::new();
    let mut corner = |sample: &Sample, nodes: usize| {
        let _ = write!(points, "{:.1},{:.1} ", across(samples, sample), HEIGHT - HEIGHT * share(nodes, most));
    };
    samples.iter().for_each(|sample| corner(sample, below(sample) + sample.nodes[state]));
    samples.iter().rev().for_each(|sample| corner(sample, below(sample)));
    points.truncate(points.trim_end().len());
    points
}

fn across(samples: &[Sample], sample: &Sample) -> f64 {
    let since = |at: &Sample| samples.first().map_or(0.0, |first| at.at.since(first.at).as_secs_f64());
    WIDTH * since(sample) / samples.last().map_or(1.0, since).max(f64::MIN_POSITIVE)
}

/// A pixel more or less does not matter.
fn share(nodes: usize, most: usize) -> f64 {
    nodes as f64 / most as f64
}

#[cfg(test)]
mod tests {
    use muster_common::clock::UnixMillis;

    use super::*;

    fn sample(at: i64, online: usize, late: usize) -> Sample {
        Sample { at: UnixMillis(at * 1000), nodes: [online, late, 0, 0, 0, 0, 0] }
    }

    #[test]
    fn areas_stand_one_on_the_other_and_fill_the_height_together() {
        let samples = [sample(0, 4, 0), sample(10, 2, 2), sample(40, 1, 3)];
        assert_eq!(area(&samples, 0, 4), "0.0,0.0 200.0,80.0 800.0,120.0 800.0,160.0 200.0,160.0 0.0,160.0");
        assert_eq!(area(&samples, 1, 4), "0.0,0.0 200.0,0.0 800.0,0.0 800.0,120.0 200.0,80.0 0.0,0.0");
    }

    #[test]
    fn a_plot_shows_the_states_that_were_and_says_them_in_numbers() {
        let shown = plot(&[sample(0, 4, 0), sample(10, 2, 2)]).into_string();
        assert_eq!(shown.matches("<polygon").count(), 2, "{shown}");
        assert!(shown.contains("class=\"online\"") && shown.contains("class=\"late\""), "{shown}");
        assert!(!shown.contains("style=") && !shown.contains("offline"), "{shown}");
        assert!(plot(&[]).into_string().contains("Nothing was counted"));
        assert!(plot(&[sample(0, 1, 0)]).into_string().contains("needs two"));
        assert!(plot(&[sample(0, 0, 0), sample(1, 0, 0)]).into_string().contains("at most 1 nodes"));
    }
}
