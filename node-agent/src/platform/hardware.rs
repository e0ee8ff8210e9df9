//! What the machine's firmware says of it, and whose cloud it stands in.

use std::{fs, path::Path};

use serde::Serialize;

const DMI: &str = "/sys/class/dmi/id";
/// What Azure writes on its machines where others have their inventory number.
const AZURE: &str = "7783-7084-3265-9085-8269-3286-77";

/// The machine. What nobody says is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Hardware {
    /// Who made it.
    pub manufacturer: String,
    /// What it is called.
    pub model: String,
    /// `aws`, `azure`, `gcp`, `oci`, `digitalocean`, `hetzner`, `openstack`, `alibaba`; empty: none that is known.
    pub cloud_provider: String,
}

impl Hardware {
    /// Of this host. Asks nobody over the network.
    #[must_use]
    pub fn read() -> Self {
        Self::of(Path::new(DMI))
    }

    fn of(folder: &Path) -> Self {
        let text = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default().trim().to_owned();
        let (manufacturer, model, tag) =
            (text("sys_vendor"), text("product_name"), text("chassis_asset_tag"));
        let cloud_provider = cloud(&manufacturer, &model, &tag).to_owned();
        Self { manufacturer, model, cloud_provider }
    }
}

fn cloud(manufacturer: &str, model: &str, tag: &str) -> &'static str {
    match (manufacturer, model, tag) {
        ("Amazon EC2", ..) => "aws",
        (.., AZURE) => "azure",
        ("Google", ..) | (_, "Google Compute Engine", _) => "gcp",
        (.., "OracleCloud.com") => "oci",
        ("DigitalOcean", ..) => "digitalocean",
        ("Hetzner", ..) => "hetzner",
        ("Alibaba Cloud", ..) => "alibaba",
        ("OpenStack Foundation", ..) | (_, "OpenStack Nova" | "OpenStack Compute", _) => "openstack",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cloud_is_known_by_what_its_machines_say() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Hardware::of(folder.path()), Hardware::default(), "a machine that says nothing");
        for (name, text) in [("sys_vendor", "Amazon EC2\n"), ("product_name", "m7i.large\n")] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let read = Hardware::of(folder.path());
        assert_eq!((read.model.as_str(), read.cloud_provider.as_str()), ("m7i.large", "aws"));
        assert_eq!(cloud("Microsoft Corporation", "Virtual Machine", AZURE), "azure");
        assert_eq!(cloud("Microsoft Corporation", "Virtual Machine", "x"), "", "a Hyper-V of one's own");
        assert_eq!(cloud("QEMU", "Standard PC", ""), "");
    }
}
