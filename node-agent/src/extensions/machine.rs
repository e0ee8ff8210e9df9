//! From a version that is wanted to one that runs, and back: which step follows which. Pure.
//!
//! ```text
//! fetching -> unpacking -+-> installing --------------+-> enabling -> proving -> Runs
//!                        +-> stopping -> updating ----+      |           |
//!                        +-> (only settings) ---------+      v           v
//!                                                     (failed: leaving)
//!   leaving -+-> undoing -> clearing --------------------------------> Undone
//!            +-> returning -> restarting -> reproving ---------------> Returned | Broken
//!            +-> (only settings) restarting -> ...
//!   disabling -> uninstalling -> clearing ---------------------------> Gone | Stuck
//! ```

use serde::{Deserialize, Serialize};

use crate::depot::Verb;

/// A step. Each has a deadline; none is a state to be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Step {
    /// The package comes to the host.
    Fetching,
    /// It becomes a folder.
    Unpacking,
    /// The version before is disabled.
    Stopping,
    Installing,
    Updating,
    Enabling,
    /// Its program runs, and its health is waited for.
    Proving,
    /// The new version failed, and is disabled.
    Leaving,
    /// It was never here before: it is uninstalled.
    Undoing,
    /// The version before takes over again.
    Returning,
    /// It is enabled again.
    Restarting,
    /// Its health is waited for.
    Reproving,
    /// All of it is to go: it is disabled.
    Disabling,
    Uninstalling,
    /// The files go.
    Clearing,
}

/// What was here before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Former {
    /// Nothing.
    None,
    /// The same package with other settings.
    Settings,
    /// Another package.
    Package,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Well,
    Badly,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Step(Step),
    End(End),
}

/// How it all ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The new version runs.
    Runs,
    /// Nothing on the host has changed.
    Refused,
    /// What ran before runs again.
    Returned,
    /// It failed, and nothing of it is here.
    Undone,
    /// It failed, and so did the way back: a person is needed.
    Broken,
    /// It was to go, and is gone.
    Gone,
    /// It was to go, and its files do not.
    Stuck,
}

/// Whose program a step is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    New,
    Former,
}

impl Step {
    /// Which verb of which version runs in it. `None`: none does.
    pub(super) const fn verb(self) -> Option<(Of, Verb)> {
        match self {
            Self::Stopping => Some((Of::Former, Verb::Disable)),
            Self::Installing => Some((Of::New, Verb::Install)),
            Self::Updating => Some((Of::New, Verb::Update)),
            Self::Enabling => Some((Of::New, Verb::Enable)),
            Self::Leaving => Some((Of::New, Verb::Disable)),
            Self::Undoing => Some((Of::New, Verb::Uninstall)),
            Self::Returning => Some((Of::Former, Verb::Update)),
            Self::Restarting => Some((Of::Former, Verb::Enable)),
            Self::Disabling => Some((Of::Former, Verb::Disable)),
            Self::Uninstalling => Some((Of::Former, Verb::Uninstall)),
            Self::Fetching | Self::Unpacking | Self::Proving | Self::Reproving | Self::Clearing => None,
        }
    }

    /// As it is told: see `ItemProgress`.
    pub(super) const fn told(self) -> &'static str {
        match self {
            Self::Fetching => "downloading",
            Self::Unpacking => "verified",
            Self::Installing => "install",
            Self::Updating | Self::Returning => "update",
            Self::Enabling | Self::Proving | Self::Restarting | Self::Reproving => "enable",
            Self::Stopping | Self::Leaving | Self::Disabling => "disable",
            Self::Undoing | Self::Uninstalling | Self::Clearing => "uninstall",
        }
    }

    /// Its name in a trace.
    pub(super) const fn part(self) -> &'static str {
        match self {
            Self::Fetching => "fetch",
            Self::Unpacking => "unpack",
            Self::Stopping => "disable the version before",
            Self::Installing => "install",
            Self::Updating => "update",
            Self::Enabling => "enable",
            Self::Proving => "prove",
            Self::Leaving | Self::Disabling => "disable",
            Self::Undoing | Self::Uninstalling => "uninstall",
            Self::Returning => "return",
            Self::Restarting => "enable the version before",
            Self::Reproving => "prove the version before",
            Self::Clearing => "clear",
        }
    }

    /// The new version has failed by now, or all of it is to go: nothing calls it off.
    pub(super) const fn leads_back(self) -> bool {
        matches!(
            self,
            Self::Leaving
                | Self::Undoing
                | Self::Returning
                | Self::Restarting
                | Self::Reproving
                | Self::Disabling
                | Self::Uninstalling
                | Self::Clearing
        )
    }

    /// What follows. `removal`: all of it is to go.
    pub(super) const fn next(self, ended: Ended, former: Former, removal: bool) -> Next {
        use Ended::{Badly, Well};
        match (self, ended, former) {
            (Self::Fetching, Well, _) => Next::Step(Self::Unpacking),
            (Self::Fetching | Self::Unpacking, Badly, _) => Next::End(End::Refused),
            (Self::Unpacking, Well, Former::None) => Next::Step(Self::Installing),
            (Self::Unpacking, Well, Former::Settings) => Next::Step(Self::Enabling),
            (Self::Unpacking, Well, Former::Package) => Next::Step(Self::Stopping),
            // What leaves does not keep out what comes: nothing of it runs any more.
            (Self::Stopping, Well | Badly, _) => Next::Step(Self::Updating),
            (Self::Installing | Self::Updating, Well, _) => Next::Step(Self::Enabling),
            (Self::Enabling, Well, _) => Next::Step(Self::Proving),
            (Self::Proving, Well, _) => Next::End(End::Runs),
            (Self::Installing, Badly, _) => Next::Step(Self::Undoing),
            (Self::Updating | Self::Enabling | Self::Proving, Badly, _) => Next::Step(Self::Leaving),
            (Self::Leaving, Well | Badly, Former::None) => Next::Step(Self::Undoing),
            (Self::Leaving, Well | Badly, Former::Settings) => Next::Step(Self::Restarting),
            (Self::Leaving, Well | Badly, Former::Package) => Next::Step(Self::Returning),
            (Self::Returning, Well, _) => Next::Step(Self::Restarting),
            (Self::Restarting, Well, _) => Next::Step(Self::Reproving),
            (Self::Reproving, Well, _) => Next::End(End::Returned),
            (Self::Returning | Self::Restarting | Self::Reproving, Badly, _) => Next::End(End::Broken),
            (Self::Disabling, Well | Badly, _) => Next::Step(Self::Uninstalling),
            (Self::Undoing | Self::Uninstalling, Well | Badly, _) => Next::Step(Self::Clearing),
            (Self::Clearing, Well, _) => Next::End(if removal { End::Gone } else { End::Undone }),
            (Self::Clearing, Badly, _) => Next::End(if removal { End::Stuck } else { End::Broken }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The steps that are taken, and how it ends.
    fn told(first: Step, former: Former, removal: bool, ends: &[bool]) -> (Vec<Step>, End) {
        let (mut steps, mut step) = (vec![first], first);
        for well in ends.iter().copied().chain(std::iter::repeat(true)).take(50) {
            match step.next(if well { Ended::Well } else { Ended::Badly }, former, removal) {
                Next::End(end) => return (steps, end),
                Next::Step(next) => {
                    steps.push(next);
                    step = next;
                }
            }
        }
        panic!("it does not end: {steps:?}");
    }

    #[test]
    fn what_succeeds_runs_by_the_shortest_way() {
        use Step::{Enabling, Fetching, Installing, Proving, Stopping, Unpacking, Updating};
        let way = |former| told(Fetching, former, false, &[]);
        assert_eq!(way(Former::None), (vec![Fetching, Unpacking, Installing, Enabling, Proving], End::Runs));
        assert_eq!(way(Former::Settings), (vec![Fetching, Unpacking, Enabling, Proving], End::Runs));
        assert_eq!(
            way(Former::Package),
            (vec![Fetching, Unpacking, Stopping, Updating, Enabling, Proving], End::Runs)
        );
    }

    proptest! {
        #[test]
        fn every_story_ends_where_its_failures_say(
            former in prop_oneof![Just(Former::None), Just(Former::Settings), Just(Former::Package)],
            removal: bool,
            ends in proptest::collection::vec(any::<bool>(), 0..30),
        ) {
            let first = if removal { Step::Disabling } else { Step::Fetching };
            let (steps, end) = told(first, former, removal, &ends);
            prop_assert!(steps.len() <= 12, "{steps:?}");
            let each: Vec<bool> = ends.iter().copied().chain(std::iter::repeat(true)).take(steps.len()).collect();
            let failed = |wanted: &[Step]| {
                steps.iter().zip(&each).any(|(step, well)| wanted.contains(step) && !well)
            };
            let new = [Step::Installing, Step::Updating, Step::Enabling, Step::Proving];
            let back = [Step::Returning, Step::Restarting, Step::Reproving];
            match end {
                End::Runs => prop_assert!(!failed(&new) && !removal),
                End::Refused => prop_assert!(failed(&[Step::Fetching, Step::Unpacking])),
                End::Returned => prop_assert!(failed(&new) && !failed(&back) && former != Former::None),
                End::Undone => prop_assert!(failed(&new) && former == Former::None),
                End::Broken => prop_assert!(failed(&back) || failed(&[Step::Clearing])),
                End::Gone => prop_assert!(removal && !failed(&[Step::Clearing])),
                End::Stuck => prop_assert!(removal && failed(&[Step::Clearing])),
            }
            // Once it leads back, it never leads on again.
            if let Some(at) = steps.iter().position(|step| step.leads_back()) {
                prop_assert!(steps[at..].iter().all(|step| step.leads_back()), "{steps:?}");
            }
        }
    }
}
