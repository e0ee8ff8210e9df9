//! `secrets`: the keys of protected contents.

use clap::Subcommand;
use muster_domain::audit::Note;
use muster_store::ReadSecrets as _;
use serde_json::json;

use super::{ConfigArg, open_store, stamp};
use crate::vault::KeyFile;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Name the keys, and how many protected contents each has encrypted.
    Keys {
        #[command(flatten)]
        config: ConfigArg,
    },
    /// Make a new key. It encrypts from the next start of the control plane on, and with it
    /// everything that older ones have encrypted; their lines can be taken out of the file then.
    Rotate {
        #[command(flatten)]
        config: ConfigArg,
    },
}

pub(super) fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Keys { config } => keys(config),
        Command::Rotate { config } => rotate(config),
    }
}

fn keys(config: &ConfigArg) -> anyhow::Result<()> {
    let config = config.load()?;
    let store = open_store(&config)?;
    let used = store.read_blocking(|tx| tx.secret_keys())?;
    let file = KeyFile::at(&config.secrets_path());
    let known: Vec<String> =
        if file.exists()? { file.open()?.key_ids().map(str::to_owned).collect() } else { Vec::new() };
    for (n, key) in known.iter().enumerate() {
        let count = used.iter().find(|(id, _)| id == key).map_or(0, |(_, count)| *count);
        let word = if n == 0 { "encrypts" } else { "decrypts" };
        println!("{key}  {word}  {count} protected contents");
    }
    for (key, count) in used.iter().filter(|(key, _)| !known.contains(key)) {
        println!("{key}  MISSING   {count} protected contents that nobody can read");
    }
    store.close_blocking()?;
    Ok(())
}

fn rotate(config: &ConfigArg) -> anyhow::Result<()> {
    let config = config.load()?;
    let store = open_store(&config)?;
    let key = KeyFile::at(&config.secrets_path()).add()?;
    let note =
        Note { subject: "secrets".to_owned(), after: json!({ "key": key }).to_string(), ..Note::default() };
    store.write_blocking::<_, muster_store::Error, _>(stamp("secrets.rotate"), move |tx| {
        tx.audit(note.clone())
    })?;
    store.close_blocking()?;
    println!("{key}");
    eprintln!("restart the control plane: it encrypts with the new key from then on");
    Ok(())
}
