//! What is around every page: its head, where one can go from here, who looks.

use axum::response::{IntoResponse, Response};
use http::header;
use maud::{DOCTYPE, Markup, html};

use super::{
    answer::Problem,
    pages::{alerts, audit, nodes, overview, rollouts},
    visit::Visit,
    words,
};

/// An HTML answer.
pub(super) struct Html(Markup);

impl IntoResponse for Html {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], self.0.into_string()).into_response()
    }
}

/// A part of the console, for the way to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Overview,
    Nodes,
    Alerts,
    Rollouts,
    Audit,
}

/// Each with its address, its name, and the method whose rights it asks for.
const SECTIONS: [(Section, &str, &str, &str); 5] = [
    (Section::Overview, "/", "Overview", overview::METHOD),
    (Section::Nodes, "/nodes", "Nodes", nodes::METHOD),
    (Section::Alerts, "/alerts", "Alerts", alerts::METHOD),
    (Section::Rollouts, "/rollouts", "Rollouts", rollouts::METHOD),
    (Section::Audit, "/audit", "Audit", audit::METHOD),
];

/// A whole page.
pub(super) fn page(visit: &Visit, section: Section, title: &str, body: &Markup) -> Html {
    let fixed = &visit.console.app.fixed;
    let shown = SECTIONS.iter().filter(|(_, _, _, method)| visit.could(method));
    whole(
        title,
        &html! {
            nav aria-label="Pages" {
                ul {
                    @for (it, address, name, _) in shown {
                        li {
                            a href=(address) aria-current=[(*it == section).then_some("page")] {
                                (name)
                                @if *it == Section::Alerts { " " span id="open-alerts" { (open_alerts(visit)) } }
                            }
                        }
                    }
                }
            }
        },
        &html! {
            h1 { (title) }
            (body)
        },
        &html! {
            p {
                "You are " (visit.caller.name()) ", and may look only. Replica " (fixed.replica) " of "
                (fixed.trust_domain) ", " (words::time(visit.console.app.clock.now())) "."
            }
        },
    )
}

fn open_alerts(visit: &Visit) -> String {
    let console = &visit.console;
    visit
        .judge(alerts::METHOD)
        .map_or_else(|_| String::new(), |scope| open(console.alerts.open(&console.app, &scope)))
}

/// What stands on the way to the alerts: how many are open, if any is.
pub(super) fn open(count: usize) -> String {
    if count == 0 { String::new() } else { format!("{count} open") }
}

/// A part of a page, for the script.
pub(super) fn part(body: Markup) -> Html {
    Html(body)
}

/// What stands in the place of a page.
pub(super) fn problem(problem: &Problem) -> Html {
    let title = problem.status.canonical_reason().unwrap_or("No page");
    let body = html! {
        h1 { (title) }
        (told(problem))
        p { a href="/" { "To the overview" } }
    };
    whole(title, &html! {}, &body, &html! {})
}

/// A problem within a page.
pub(super) fn told(problem: &Problem) -> Markup {
    html! {
        div.problem role="alert" {
            p { strong { (problem.reason) } }
            p { (problem.text) }
        }
    }
}

/// A page for whoever was just let in. Not a redirection: that would still be the request of
/// the page on which the link stood, and `SameSite=Strict` keeps the cookie from those.
pub(super) fn welcome(role: &str) -> Html {
    let body = html! {
        h1 { "You are in" }
        p { "With the role " (role) ", until your time is over or the control plane starts anew." }
        p { a href="/" { "To the overview" } }
    };
    let head = html! { meta http-equiv="refresh" content="0; url=/"; };
    Html(document("You are in", &head, &html! {}, &body, &html! {}))
}

fn whole(title: &str, nav: &Markup, body: &Markup, foot: &Markup) -> Html {
    Html(document(title, &html! {}, nav, body, foot))
}

fn document(title: &str, head: &Markup, nav: &Markup, body: &Markup, foot: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Muster" }
                link rel="icon" href="/assets/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/assets/console.css";
                script src="/assets/console.js" defer {}
                (head)
            }
            body {
                a.skip href="#main" { "To the content" }
                header {
                    span.brand { "Muster" }
                    (nav)
                }
                main id="main" tabindex="-1" { (body) }
                footer { (foot) }
            }
        }
    }
}
