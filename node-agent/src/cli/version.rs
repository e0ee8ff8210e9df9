//! `version`.

use muster_common::build_info;
use serde_json::json;

use super::{NAME, output::Output};

pub(super) fn run(out: Output) {
    if out.is_json() {
        let protocol = json!({ "min": build_info::PROTOCOL_MIN, "max": build_info::PROTOCOL_MAX });
        let target = json!({ "os": std::env::consts::OS, "architecture": std::env::consts::ARCH });
        out.document(
            "version/1",
            &json!({ "program": NAME, "version": build_info::version(), "protocol": protocol, "target": target }),
        );
    } else {
        out.line(&build_info::line(NAME));
    }
}
