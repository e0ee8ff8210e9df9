//! Compiles every `.proto` below `muster/` and `spiffe/` with protox: no `protoc` is needed.

use std::path::{Path, PathBuf};

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut files = Vec::new();
    for folder in ["muster", "spiffe"] {
        println!("cargo:rerun-if-changed={folder}");
        collect(Path::new(folder), &mut files)?;
    }
    files.sort();

    let descriptors = described(&files)?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("muster.binpb"), descriptors.encode_to_vec())?;
    let local = files.iter().filter(|file| file.starts_with("muster/local") || file.starts_with("spiffe"));
    std::fs::write(out.join("local.binpb"), described(local)?.encode_to_vec())?;

    tonic_prost_build::configure()
        .bytes(".")
        // Equal messages have equal bytes: requests and contents are hashed as they are encoded.
        .btree_map(".")
        .build_transport(false)
        .codec_path("crate::codec::SmallCodec")
        .compile_fds(descriptors)?;
    Ok(())
}

/// These files and what they import.
fn described<'a>(
    files: impl IntoIterator<Item = &'a PathBuf>,
) -> Result<prost_types::FileDescriptorSet, Box<dyn std::error::Error>> {
    let mut compiler = protox::Compiler::new(["."])?;
    compiler.include_source_info(true).include_imports(true).open_files(files)?;
    Ok(compiler.file_descriptor_set())
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "proto") {
            files.push(path);
        }
    }
    Ok(())
}
