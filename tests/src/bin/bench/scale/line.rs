//! A straight line through points: least squares.

/// `base + slope · x`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    pub(super) base: f64,
    pub(super) slope: f64,
}

impl Line {
    /// The best one. `None`: there are not two points beside each other.
    pub(super) fn through(points: &[(f64, f64)]) -> Option<Self> {
        let count = f64::from(u32::try_from(points.len()).ok()?);
        let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
        let (x, y) = (mean(|it| it.0), mean(|it| it.1));
        let spread: f64 = points.iter().map(|it| (it.0 - x).powi(2)).sum();
        let both: f64 = points.iter().map(|it| (it.0 - x) * (it.1 - y)).sum();
        (spread > 0.0).then(|| Self { base: y - both / spread * x, slope: both / spread })
    }

    /// The largest distance of a point from it, in percent of that point.
    pub(super) fn worst_percent(&self, points: &[(f64, f64)]) -> f64 {
        let off = |(x, y): &(f64, f64)| ((self.base + self.slope * x - y) / y).abs() * 100.0;
        points.iter().map(off).fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_and_says_how_far_off_it_is() {
        let line = Line::through(&[(0.0, 5.0), (10.0, 25.0), (20.0, 45.0)]).expect("a line");
        assert!((line.base - 5.0).abs() < 1e-9 && (line.slope - 2.0).abs() < 1e-9);
        assert!((line.worst_percent(&[(10.0, 50.0)]) - 50.0).abs() < 1e-9);
        assert!(Line::through(&[(1.0, 2.0), (1.0, 3.0)]).is_none());
        assert!(Line::through(&[]).is_none());
    }
}
