//! `muster-control-plane`.

use std::process::ExitCode;

// glibc's allocator keeps what thousands of sessions once needed; jemalloc
// gives it back and costs less CPU per connect.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    muster_control_plane::cli::main()
}
