//! `[workload]`.

use std::time::Duration;

use muster_domain::workload::Rules;
use serde::Deserialize;

use super::template::{quoted, span};

/// Clocks differ: an issuer is trusted for this much longer than what it signed lives.
const SKEW: Duration = Duration::from_secs(5 * 60);

/// Identities for programs on hosts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Workload {
    /// Whether any are issued.
    pub enabled: bool,
    /// Of a certificate; renewed at half of it.
    #[serde(with = "humantime_serde")]
    pub x509_ttl: Duration,
    /// Of a token.
    #[serde(with = "humantime_serde")]
    pub jwt_ttl: Duration,
    /// `iss` of tokens; empty: they have none.
    pub jwt_issuer: String,
    /// How often hosts ask whom programs should trust.
    #[serde(with = "humantime_serde")]
    pub bundle_refresh: Duration,
    /// How long an issuer is known before it issues.
    #[serde(with = "humantime_serde")]
    pub publish_for: Duration,
    /// Of an issuer; the next one is made at two thirds of it.
    #[serde(with = "humantime_serde")]
    pub issuer_life: Duration,
}

impl Default for Workload {
    fn default() -> Self {
        let minutes = |n: u64| Duration::from_secs(n * 60);
        Self {
            enabled: true,
            x509_ttl: minutes(60),
            jwt_ttl: minutes(5),
            jwt_issuer: String::new(),
            bundle_refresh: minutes(5),
            publish_for: minutes(60),
            issuer_life: minutes(180 * 24 * 60),
        }
    }
}

impl Workload {
    /// How issuers take turns.
    #[must_use]
    pub fn rules(&self) -> Rules {
        let keep_for = self.x509_ttl.max(self.jwt_ttl) + SKEW;
        Rules { publish_for: self.publish_for, keep_for, life: self.issuer_life }
    }

    /// Its keys for the written file: name, value, meaning.
    pub(super) fn keys(&self) -> [(&'static str, String, &'static str); 7] {
        [
            ("enabled", self.enabled.to_string(), "Whether any are issued."),
            ("x509-ttl", span(self.x509_ttl), "Of a certificate; hosts renew it at half of it. 5s to 1 day."),
            ("jwt-ttl", span(self.jwt_ttl), "Of a token. 5s to 1 hour."),
            ("jwt-issuer", quoted(&self.jwt_issuer), "The claim `iss` of tokens. \"\": they have none."),
            (
                "bundle-refresh",
                span(self.bundle_refresh),
                "How often hosts ask whom their programs should trust. 1s to 1 hour.",
            ),
            (
                "publish-for",
                span(self.publish_for),
                "How long an issuer is known before it issues. From bundle-refresh to 30 days.",
            ),
            (
                "issuer-life",
                span(self.issuer_life),
                "Of an issuer; the next one is made at two thirds of it. 1h to 3650 days.",
            ),
        ]
    }

    pub(super) fn problems(&self) -> Vec<String> {
        let (second, day) = (Duration::from_secs(1), Duration::from_secs(24 * 3600));
        let ranges = [
            ("x509-ttl", self.x509_ttl, second * 5, day),
            ("jwt-ttl", self.jwt_ttl, second * 5, second * 3600),
            ("bundle-refresh", self.bundle_refresh, second, second * 3600),
            ("publish-for", self.publish_for, self.bundle_refresh, day * 30),
            ("issuer-life", self.issuer_life, second * 3600, day * 3650),
        ];
        let format = humantime::format_duration;
        let mut problems: Vec<String> = ranges
            .into_iter()
            .filter(|(_, value, least, most)| !(least..=most).contains(&value))
            .map(|(key, value, least, most)| {
                let (value, least, most) = (format(value), format(least), format(most));
                format!("workload.{key} is {value}; it must be from {least} to {most}")
            })
            .collect();
        if self.issuer_life / 3 < self.publish_for + self.x509_ttl {
            problems.push(format!(
                "workload.issuer-life is {}; a third of it must be at least publish-for and x509-ttl together, so \
                 that the next issuer is in use before the former one ends",
                format(self.issuer_life)
            ));
        }
        if self.jwt_issuer.len() > 256 {
            problems.push("workload.jwt-issuer is longer than 256 bytes".to_owned());
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_known_to_all_before_it_issues_and_ends_after_what_it_signed() {
        let fine = Workload::default();
        assert_eq!(fine.problems(), Vec::<String>::new());
        assert!(fine.rules().keep_for > fine.x509_ttl);
        let hasty = Workload { publish_for: Duration::from_secs(60), ..fine.clone() };
        assert!(hasty.problems()[0].contains("publish-for is 1m; it must be from 5m"));
        let short = Workload { issuer_life: Duration::from_secs(2 * 3600), ..fine };
        assert!(short.problems()[0].contains("issuer-life is 2h"));
    }
}
