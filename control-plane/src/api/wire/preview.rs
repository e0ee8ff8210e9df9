//! What a change would do.

use muster_domain::rollout::StepForecast;
use muster_proto::admin::v1::{self as pb, preview_time};

use crate::app::preview::{
    Difference, FileDifference, ItemPreview, Kind, NodeSet, Preview, Time, ValueDifference,
};

pub(in crate::api) fn preview(preview: &Preview) -> pb::Preview {
    let steps = (1..).zip(&preview.steps).map(|(number, it)| step(number, it));
    pb::Preview {
        items: preview.items.iter().map(item).collect(),
        steps: steps.collect(),
        time: Some(time(preview.time)),
    }
}

pub(in crate::api) fn nodes(set: &NodeSet) -> pb::PreviewNodes {
    let node = |(id, name): &(muster_common::ids::NodeId, String)| pb::PreviewNode {
        id: id.to_string(),
        display_name: name.clone(),
    };
    pb::PreviewNodes { count: count(set.count), nodes: set.named.iter().map(node).collect() }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn item(item: &ItemPreview) -> pb::ItemPreview {
    pb::ItemPreview {
        item: item.item.to_string(),
        gained_by: Some(nodes(&item.gained)),
        changed_on: Some(nodes(&item.changed)),
        lost_by: Some(nodes(&item.lost)),
        same_on: Some(nodes(&item.same)),
        overruled_on: Some(nodes(&item.overruled)),
        withheld_from: Some(nodes(&item.withheld)),
        not_heard: Some(nodes(&item.not_heard)),
        differences: item.differences.iter().map(difference).collect(),
        more_differences: count(item.more),
    }
}

fn difference(it: &Difference) -> pb::ItemDifference {
    pb::ItemDifference {
        from_version: it.from.clone(),
        to_version: it.to.clone(),
        nodes: count(it.nodes),
        files: it.files.iter().map(file).collect(),
        values: it.values.iter().map(value).collect(),
        is_cut: it.is_cut,
    }
}

fn file(it: &FileDifference) -> pb::FileDifference {
    let kind = match it.kind {
        Kind::Added => pb::DifferenceKind::Added,
        Kind::Removed => pb::DifferenceKind::Removed,
        Kind::Changed => pb::DifferenceKind::Changed,
    };
    pb::FileDifference {
        path: it.path.clone(),
        kind: kind as i32,
        what: it.what.clone(),
        diff: it.diff.clone(),
    }
}

fn value(it: &ValueDifference) -> pb::ValueDifference {
    pb::ValueDifference { name: it.name.clone(), from: it.from.clone(), to: it.to.clone() }
}

fn step(number: u32, it: &StepForecast) -> pb::PreviewStep {
    pb::PreviewStep {
        step: number,
        nodes: count(it.nodes),
        goes: count(it.goes),
        begins_after: prost_types::Duration::try_from(it.begins_after).ok(),
        approval: it.approval,
    }
}

fn time(time: Time) -> pb::PreviewTime {
    let duration = |span| prost_types::Duration::try_from(span).unwrap_or_default();
    let bound = match time {
        Time::ToldWithin(span) => preview_time::Bound::ToldWithin(duration(span)),
        Time::AtLeast(span) => preview_time::Bound::AtLeast(duration(span)),
    };
    pb::PreviewTime { bound: Some(bound) }
}
