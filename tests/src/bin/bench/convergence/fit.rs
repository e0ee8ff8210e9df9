//! How the CPU of a change depends on nodes and states: least squares.

use super::point::number;

/// Milliseconds of CPU: `base + node · nodes + state · states`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fit {
    pub(super) base: f64,
    pub(super) node: f64,
    pub(super) state: f64,
    /// The largest distance of a measured value from it, in percent of that value.
    pub(super) worst_percent: f64,
}

impl Fit {
    fn at(&self, nodes: usize, states: usize) -> f64 {
        self.base + self.node * number(nodes) + self.state * number(states)
    }
}

/// The best fit of nodes, states and milliseconds. `None`: they do not determine one.
pub(super) fn of(points: impl Iterator<Item = (usize, usize, f64)>) -> Option<Fit> {
    let points: Vec<_> = points.collect();
    // The normal equations, with the right side as the last column.
    let mut rows = [[0.0; 4]; 3];
    for (nodes, states, cpu) in &points {
        let terms = [1.0, number(*nodes), number(*states), *cpu];
        for (row, left) in rows.iter_mut().zip(terms) {
            row.iter_mut().zip(terms).for_each(|(cell, right)| *cell += left * right);
        }
    }
    let [base, node, state] = solve(rows)?;
    let fit = Fit { base, node, state, worst_percent: 0.0 };
    let off =
        |(nodes, states, cpu): &(usize, usize, f64)| ((fit.at(*nodes, *states) - cpu) / cpu).abs() * 100.0;
    let worst_percent = points.iter().map(off).fold(0.0, f64::max);
    Some(Fit { worst_percent, ..fit })
}

/// Elimination with the largest pivot.
fn solve(mut rows: [[f64; 4]; 3]) -> Option<[f64; 3]> {
    for column in 0..3 {
        let pivot = (column..3).max_by(|a, b| rows[*a][column].abs().total_cmp(&rows[*b][column].abs()))?;
        rows.swap(column, pivot);
        let lead = rows[column];
        // What remains of a column that the others determine is rounding.
        if lead[column].abs() < 1e-6 {
            return None;
        }
        for (_, row) in rows.iter_mut().enumerate().filter(|(n, _)| *n != column) {
            let factor = row[column] / lead[column];
            row.iter_mut().zip(lead).for_each(|(cell, from)| *cell -= factor * from);
        }
    }
    Some([rows[0][3] / rows[0][0], rows[1][3] / rows[1][1], rows[2][3] / rows[2][2]])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nine(cpu: impl Fn(f64, f64) -> f64) -> Vec<(usize, usize, f64)> {
        let sizes = [1000, 5000, 10_000];
        let both = sizes.into_iter().flat_map(|nodes| [1, 10, 1000].map(|states| (nodes, states)));
        both.map(|(nodes, states)| (nodes, states, cpu(number(nodes), number(states)))).collect()
    }

    #[test]
    fn what_is_linear_is_found_as_it_is() {
        let found = of(nine(|nodes, states| 7.0 + 0.08 * nodes + 0.02 * states).into_iter()).unwrap();
        let near = |a: f64, b: f64| (a - b).abs() < 1e-6;
        assert!(near(found.base, 7.0) && near(found.node, 0.08) && near(found.state, 0.02), "{found:?}");
        assert!(found.worst_percent < 1e-6, "{found:?}");
    }

    #[test]
    fn what_grows_with_both_together_does_not_fit() {
        let found = of(nine(|nodes, states| 0.08 * nodes + 0.0001 * nodes * states).into_iter()).unwrap();
        assert!(found.worst_percent > 50.0, "{found:?}");
    }

    #[test]
    fn too_few_points_say_nothing() {
        assert!(of([(1000, 1, 5.0), (1000, 10, 6.0)].into_iter()).is_none());
        assert!(of([(1000, 1, 5.0), (2000, 1, 6.0), (3000, 1, 7.0)].into_iter()).is_none());
    }
}
