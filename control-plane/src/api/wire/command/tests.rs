use tonic_types::StatusExt as _;

use super::*;

fn refused(kind: Kind) -> Option<(String, String)> {
    let status = kind_from(Some(types::CommandSpec { kind: Some(kind) }), None).err()?;
    let details = status.get_error_details();
    let field = details.bad_request()?.field_violations.first()?.field.clone();
    Some((details.error_info()?.reason.clone(), field))
}

fn says(kind: Kind, field: &str) {
    assert_eq!(refused(kind), Some(("INVALID_ARGUMENT".to_owned(), field.to_owned())));
}

fn service(action: types::ServiceAction, unit: &str) -> Kind {
    Kind::Service(types::Service { action: action.into(), unit: unit.to_owned() })
}

#[test]
fn every_kind_comes_back_as_it_was_asked_for() {
    let kinds = [
        Kind::RestartAgent(types::RestartAgent {}),
        Kind::RefreshFacts(types::RefreshFacts {}),
        Kind::RunScript(types::RunScript { script: "true".to_owned(), ..Default::default() }),
        service(types::ServiceAction::Start, "nginx.service"),
        Kind::Reboot(types::Reboot { delay_s: 599, message: "soon".to_owned() }),
        Kind::CollectLogs(types::CollectLogs { units: vec!["a@b.service".to_owned()], ..Default::default() }),
        Kind::RotateIdentity(types::RotateIdentity {}),
        Kind::Disconnect(types::Disconnect {}),
    ];
    for kind in kinds {
        let asked = types::CommandSpec { kind: Some(kind) };
        let (name, args) = kind_from(Some(asked.clone()), None).unwrap();
        assert_eq!(spec(name, &args), Some(asked), "{name}");
    }
    assert!(kind_from(None, None).is_err() && spec("brew-coffee", b"").is_none());
}

#[test]
fn bad_input_of_each_kind_is_refused_by_its_field() {
    use types::ServiceAction::{Status, Stop, Unspecified};
    says(service(Unspecified, "a.service"), "spec.service.action");
    for unit in ["", "nginx", "a*.service", "-a.service", "a/b.service", "a.target", "a b.service"] {
        says(service(Stop, unit), "spec.service.unit");
    }
    says(service(Stop, "systemd-reboot.service"), "spec.service.unit");
    assert_eq!(refused(service(Status, "systemd-reboot.service")), None);
    says(Kind::Reboot(types::Reboot { delay_s: 3601, ..Default::default() }), "spec.reboot.delay_s");
    says(Kind::Reboot(types::Reboot { delay_s: 600, ..Default::default() }), "spec.reboot.delay_s");
    for message in ["a\nb".to_owned(), "x".repeat(1025)] {
        says(Kind::Reboot(types::Reboot { delay_s: 0, message }), "spec.reboot.message");
    }
    let logs = types::CollectLogs::default();
    says(
        Kind::CollectLogs(types::CollectLogs { since_s: 2_592_001, ..logs.clone() }),
        "spec.collect_logs.since_s",
    );
    let units = vec!["a.service".to_owned(); 33];
    says(Kind::CollectLogs(types::CollectLogs { units, ..logs }), "spec.collect_logs.units");
    let units = vec!["a.service".to_owned(), "$(x)".to_owned()];
    says(Kind::CollectLogs(types::CollectLogs { units, ..logs }), "spec.collect_logs.units[1]");
    for max_bytes in [1, 65_535, 67_108_865] {
        says(
            Kind::CollectLogs(types::CollectLogs { max_bytes, ..logs.clone() }),
            "spec.collect_logs.max_bytes",
        );
    }
}

#[test]
fn only_collect_logs_brings_a_file_and_none_larger_than_it_was_asked_for() {
    let logs = |max_bytes| types::CollectLogs { max_bytes, ..Default::default() }.encode_to_vec();
    assert_eq!(most_bytes("collect-logs", &logs(1 << 20)), Some((1 << 20) + 256 * 1024));
    let most = (64 << 20) + 256 * 1024;
    assert_eq!(most_bytes("collect-logs", &logs(64 << 20)), Some(most));
    assert_eq!(most_bytes("collect-logs", &logs(u64::MAX)), Some(most));
    assert_eq!(most_bytes("run-script", &logs(1 << 20)), None);
}

#[test]
fn a_result_that_is_too_large_or_of_no_known_kind_is_not_kept() {
    use types::command_result::Kind::Service;
    let of = |unit: String| types::CommandResult {
        kind: Some(Service(types::ServiceResult { unit, ..Default::default() })),
    };
    let small = of("a.service".to_owned());
    let kept = found(Some(&small)).unwrap();
    assert_eq!((kept.kind, result(&kept.bytes)), ("service", Some(small)));
    assert_eq!(found(Some(&of("x".repeat(RESULT)))), None);
    assert_eq!(found(Some(&types::CommandResult { kind: None })), None);
    assert_eq!(result(b""), None);
}

#[test]
fn the_kinds_are_those_that_can_be_asked_for() {
    assert_eq!(kinds().len(), 8);
    assert!(kinds().iter().all(|kind| spec(kind, &[]).is_some()), "{:?}", kinds());
    let numbers = crate::metrics::Metrics::default().encode();
    let is_shown = |kind: &String| {
        numbers.contains(&format!("muster_commands_ended_total{{kind=\"{kind}\",state=\"succeeded\""))
    };
    assert!(kinds().iter().all(is_shown), "its end is not shown from zero on: {numbers}");
}
