//! `[traces]`.

use serde::Deserialize;

/// Where traces go, and which calls are traced.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Traces {
    /// An OpenTelemetry collector that takes OTLP over gRPC; empty: nothing is traced.
    pub endpoint: String,
    /// Which part of the calls, 0 to 1, of those whose callers do not say it.
    pub sample: f64,
}

impl Default for Traces {
    fn default() -> Self {
        Self { endpoint: String::new(), sample: 0.01 }
    }
}

impl Traces {
    /// Its keys for the written file: name, value, meaning.
    pub(super) fn keys(&self) -> [(&'static str, String, &'static str); 2] {
        [
            (
                "endpoint",
                super::template::quoted(&self.endpoint),
                "An OpenTelemetry collector that takes OTLP over gRPC, such as \"http://127.0.0.1:4317\". Empty: nothing is traced.",
            ),
            (
                "sample",
                format!("{:?}", self.sample),
                "Which part of operators' calls is traced, 0.0 to 1.0, of those whose callers do not say it in a traceparent. SystemService.SetTraceSampling sets another one while it runs.",
            ),
        ]
    }

    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !(0.0..=1.0).contains(&self.sample) {
            problems.push(format!("traces.sample is {}; it must be from 0.0 to 1.0", self.sample));
        }
        let is_place = |place: http::Uri| place.scheme_str() == Some("http") && place.authority().is_some();
        if !self.endpoint.is_empty() && !self.endpoint.parse().is_ok_and(is_place) {
            problems.push(format!(
                "traces.endpoint is {:?}; it must be http://HOST:PORT, of a collector on this machine or \
                 in a network that you trust",
                self.endpoint
            ));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_place_without_tls_and_a_part_of_all_will_do() {
        let problems = |endpoint: &str, sample| Traces { endpoint: endpoint.to_owned(), sample }.problems();
        assert_eq!(problems("", 0.0), [""; 0]);
        assert_eq!(problems("http://collector:4317", 1.0), [""; 0]);
        for endpoint in ["https://collector:4317", "collector:4317", "http://", "x y"] {
            assert_eq!(problems(endpoint, 0.5).len(), 1, "{endpoint}");
        }
        for sample in [-0.1, 1.1, f64::NAN] {
            assert_eq!(problems("", sample).len(), 1, "{sample}");
        }
    }
}
