//! Muster's protocol as Rust types. Generated from `muster/**/*.proto`; no logic.
#![allow(clippy::all, clippy::pedantic, missing_docs, unreachable_pub)]

pub mod codec;

/// Packages of the `muster` tree, one module per package.
pub mod types {
    pub mod v1 {
        tonic::include_proto!("muster.types.v1");
    }
}

/// What node agents speak.
pub mod agent {
    pub mod v1 {
        tonic::include_proto!("muster.agent.v1");
    }
}

/// What operators and other services speak.
pub mod admin {
    pub mod v1 {
        tonic::include_proto!("muster.admin.v1");
    }
}

/// What an agent speaks with its own host.
pub mod local {
    pub mod v1 {
        tonic::include_proto!("muster.local.v1");
    }
}

/// What programs of a host speak with its agent: a standard, without a package.
pub mod spiffe {
    tonic::include_proto!("_");
}

/// The encoded `FileDescriptorSet` of all packages, for reflection and for tests.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/muster.binpb"));

/// As much of it as describes what an agent serves to its own host.
pub const LOCAL_DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/local.binpb"));
