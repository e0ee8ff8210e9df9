//! `make bench`: what sessions cost beside a bare server, what one change costs until
//! every node has answered it, what a command and a scrape cost, and what an idle agent costs its
//! host. Writes `sessions.json`, `convergence.json`, `commands.json`, `scrape.json` and `footprint.json`.
//! `make bench-scale` asks for `--only scale`: how a control plane grows, in `scale.json`
//! and a picture.
//!
//! `muster-bench [--only sessions|convergence|commands|scrape|footprint|scale] [--sizes 1000,5000,10000]
//! [--states 1,10,1000] [--runs 3] [--out target/bench]`
#![allow(clippy::print_stdout)]

mod commands;
mod convergence;
mod footprint;
mod scale;
mod scrape;
mod sessions;

use std::{fs, path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum};
use muster_tests::{binaries::repository, limits};
use serde_json::Value;

/// Handshakes that the client has open at once.
const AT_ONCE: usize = 64;
/// Between what makes noise and what is measured.
const SETTLE: Duration = Duration::from_secs(2);
/// Nothing takes longer.
const LIMIT: Duration = Duration::from_secs(120);

#[derive(Debug, Parser)]
struct Args {
    /// One part alone.
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// Numbers of sessions.
    #[arg(long, value_delimiter = ',', default_value = "1000,5000,10000")]
    sizes: Vec<usize>,
    /// Numbers of distinct states that the nodes of the convergence are in.
    #[arg(long, value_delimiter = ',', default_value = "1,10,1000")]
    states: Vec<usize>,
    /// Runs of each, of which the median counts.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// How long the control plane is watched idle before a change or scrapes, in seconds.
    #[arg(long, default_value_t = 10)]
    idle_seconds: u64,
    /// How long an idle agent is watched, in seconds.
    #[arg(long, default_value_t = 60)]
    watch_seconds: u64,
    /// Whatever an idle agent costs: for builds that are not released.
    #[arg(long)]
    any_footprint: bool,
    /// How long slow hosts take, in seconds.
    #[arg(long, default_value_t = 5)]
    slow_seconds: u64,
    /// Control planes on one PostgreSQL, of the part `scale`; with 1 that is left out.
    #[arg(long, default_value_t = 3)]
    planes: usize,
    /// Numbers of sessions that they have together.
    #[arg(long, value_delimiter = ',', default_value = "1000,10000,30000")]
    planes_sizes: Vec<usize>,
    /// Processes that the hosts of the part `scale` are in, at least.
    #[arg(long, default_value_t = 2)]
    processes: usize,
    /// Numbers of nodes that a control plane without sessions knows, of the part `scale`.
    #[arg(long, value_delimiter = ',', default_value = "100000,1000000")]
    nodes: Vec<usize>,
    /// The folder that the picture of the part `scale` goes to.
    #[arg(long)]
    draw: Option<PathBuf>,
    /// The folder that the figures go to.
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Sessions,
    Convergence,
    Commands,
    Scrape,
    Footprint,
    Scale,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    limits::raise_open_files();
    // How it grows is asked for by itself: it takes as long as all the others.
    let wants = |part| args.only.map_or(part != Part::Scale, |only| only == part);
    if wants(Part::Sessions) {
        let rows = sessions::run(&args.sizes, args.runs).await?;
        sessions::print(&rows);
        write(&args, "sessions.json", &Value::Array(rows))?;
    }
    if wants(Part::Convergence) {
        let asked = convergence::Asked {
            sizes: args.sizes.clone(),
            states: args.states.clone(),
            runs: args.runs,
            idle: Duration::from_secs(args.idle_seconds),
            slow: Duration::from_secs(args.slow_seconds),
        };
        let found = convergence::run(&asked).await?;
        convergence::print(&found);
        // First what was found, then whether it is good enough.
        write(&args, "convergence.json", &convergence::json(&found))?;
        convergence::judge(&found)?;
    }
    if wants(Part::Commands) {
        let found = commands::run(&args.sizes, args.runs).await?;
        commands::print(&found);
        write(&args, "commands.json", &Value::Array(found))?;
    }
    if wants(Part::Scrape) {
        let rows = scrape::run(&args.sizes, args.runs, Duration::from_secs(args.idle_seconds)).await?;
        scrape::print(&rows);
        write(&args, "scrape.json", &Value::Array(rows))?;
    }
    if wants(Part::Footprint) {
        let rows = footprint::run(args.runs, Duration::from_secs(args.watch_seconds)).await?;
        footprint::print(&rows);
        write(&args, "footprint.json", &footprint::json(&rows))?;
        if !args.any_footprint {
            footprint::judge(&rows)?;
        }
    }
    if wants(Part::Scale) {
        let asked = scale::Asked {
            sizes: args.sizes.clone(),
            planes: args.planes,
            planes_sizes: args.planes_sizes.clone(),
            processes: args.processes.max(1),
            idle: Duration::from_secs(args.idle_seconds),
            nodes: args.nodes.clone(),
        };
        let found = scale::run(&asked).await?;
        scale::print(&found);
        write(&args, "scale.json", &found)?;
        if let Some(folder) = &args.draw {
            scale::draw(&found, &repository().join(folder))?;
        }
        scale::judge(&found)?;
    }
    Ok(())
}

fn write(args: &Args, name: &str, figures: &Value) -> anyhow::Result<()> {
    let folder = repository().join(&args.out);
    fs::create_dir_all(&folder)?;
    let path = folder.join(name);
    fs::write(&path, serde_json::to_vec_pretty(figures)?)?;
    println!("written to {}", path.display());
    Ok(())
}

/// The middle one, and of an even number the upper one of the two.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
