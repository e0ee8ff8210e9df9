//! `[blobs]`.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;

use super::template::{quoted, span};

/// Largest `max-blob-bytes`: an upload is read again as a whole when it is taken up.
const LARGEST: u64 = 1024 * 1024 * 1024;

/// Where blobs are kept, how many, and how long.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Blobs {
    /// `file:///DIRECTORY` or `s3://BUCKET/PREFIX`; empty: `blobs` in the state directory.
    pub url: String,
    /// Bytes of one blob.
    pub max_blob_bytes: u64,
    /// Bytes of all, with those of uploads that are not whole.
    pub max_total_bytes: u64,
    /// Uploads that are not whole.
    pub max_uploads: u64,
    /// How long the first part of an upload waits for the rest.
    #[serde(with = "humantime_serde")]
    pub keep_uploads: Duration,
    /// How long a blob is kept to which nothing refers.
    #[serde(with = "humantime_serde")]
    pub keep_unreferenced: Duration,
    /// An upload that says nothing for this long is ended.
    #[serde(with = "humantime_serde")]
    pub idle_within: Duration,
}

/// Where blobs are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A directory of this host, which no other process uses.
    Directory(PathBuf),
    /// A bucket; the URL with it and a prefix.
    S3(String),
}

impl Default for Blobs {
    fn default() -> Self {
        Self {
            url: String::new(),
            max_blob_bytes: 64 * 1024 * 1024,
            max_total_bytes: 10 * 1024 * 1024 * 1024,
            max_uploads: 64,
            keep_uploads: Duration::from_secs(3600),
            keep_unreferenced: Duration::from_secs(24 * 3600),
            idle_within: Duration::from_secs(30),
        }
    }
}

impl Blobs {
    /// Where they are kept. `None`: in the state directory.
    ///
    /// # Errors
    /// What is wrong with the URL, as a sentence.
    pub fn place(&self) -> Result<Option<Place>, String> {
        if self.url.is_empty() {
            return Ok(None);
        }
        if let Some(path) = self.url.strip_prefix("file://") {
            let absolute = path.starts_with('/') && path.len() > 1;
            let place = || Some(Place::Directory(PathBuf::from(path)));
            return absolute.then(place).ok_or_else(|| self.wrong("after file:// comes an absolute path"));
        }
        match self.url.strip_prefix("s3://") {
            Some(bucket) if !bucket.is_empty() && !bucket.starts_with('/') => {
                Ok(Some(Place::S3(self.url.clone())))
            }
            Some(_) => Err(self.wrong("after s3:// comes the name of a bucket")),
            None => Err(self.wrong("it must begin with file:// or s3://")),
        }
    }

    fn wrong(&self, why: &str) -> String {
        format!("blobs.url is {:?}; {why}", self.url)
    }

    /// Its keys for the written file: name, value, meaning.
    pub(super) fn keys(&self) -> [(&'static str, String, &'static str); 7] {
        [
            (
                "url",
                quoted(&self.url),
                "file:///DIRECTORY, or s3://BUCKET/PREFIX with what AWS_… in the environment says. Empty: blobs in state-dir.",
            ),
            ("max-blob-bytes", self.max_blob_bytes.to_string(), "Of one blob. At most 1073741824."),
            (
                "max-total-bytes",
                self.max_total_bytes.to_string(),
                "Of all, and of uploads that are not whole; what is above is refused before it is taken.",
            ),
            ("max-uploads", self.max_uploads.to_string(), "Uploads that are not whole. 1 to 10000."),
            (
                "keep-uploads",
                span(self.keep_uploads),
                "How long the first part of an upload waits for the rest. 1s to 7 days.",
            ),
            (
                "keep-unreferenced",
                span(self.keep_unreferenced),
                "How long a blob is kept to which nothing refers. 1s to 365 days.",
            ),
            (
                "idle-within",
                span(self.idle_within),
                "An upload that says nothing for this long is ended, and can be taken up again. 1s to 10 minutes.",
            ),
        ]
    }

    /// What cannot be, each as a sentence.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        match self.place() {
            Ok(Some(Place::S3(_))) if !cfg!(feature = "s3") => {
                problems.push(self.wrong("this program was built without the feature s3"));
            }
            Ok(_) => {}
            Err(problem) => problems.push(problem),
        }
        let mut number = |key: &str, value: u64, least: u64, most: u64| {
            if !(least..=most).contains(&value) {
                problems.push(format!("blobs.{key} is {value}; it must be from {least} to {most}"));
            }
        };
        number("max-blob-bytes", self.max_blob_bytes, 1, LARGEST);
        number("max-total-bytes", self.max_total_bytes, self.max_blob_bytes, i64::MAX.unsigned_abs());
        number("max-uploads", self.max_uploads, 1, 10_000);
        let day = 24 * 3600;
        for (key, value, most) in [
            ("keep-uploads", self.keep_uploads, 7 * day),
            ("keep-unreferenced", self.keep_unreferenced, 365 * day),
            ("idle-within", self.idle_within, 600),
        ] {
            if !(Duration::from_secs(1)..=Duration::from_secs(most)).contains(&value) {
                let most = humantime::format_duration(Duration::from_secs(most));
                problems.push(format!("blobs.{key} must be from 1s to {most}"));
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(change: impl FnOnce(&mut Blobs)) -> Vec<String> {
        let mut blobs = Blobs::default();
        change(&mut blobs);
        blobs.problems()
    }

    #[test]
    fn a_place_is_a_directory_or_a_bucket() {
        let place = |url: &str| Blobs { url: url.to_owned(), ..Blobs::default() }.place();
        assert_eq!(place(""), Ok(None));
        assert_eq!(place("file:///var/blobs"), Ok(Some(Place::Directory("/var/blobs".into()))));
        assert_eq!(place("s3://bucket/a/b"), Ok(Some(Place::S3("s3://bucket/a/b".to_owned()))));
        for wrong in ["file://", "file://blobs", "file:///", "s3://", "s3:///x", "gs://x", "/var/blobs"] {
            assert!(place(wrong).unwrap_err().starts_with("blobs.url"), "{wrong}");
        }
    }

    #[test]
    fn bounds_that_cannot_be_are_told() {
        assert_eq!(problems(|_| {}), Vec::<String>::new());
        let told = problems(|blobs| {
            blobs.max_blob_bytes = 0;
            blobs.max_uploads = 0;
            blobs.idle_within = Duration::ZERO;
            blobs.url = "ftp://x".to_owned();
        });
        assert_eq!(told.len(), 4, "{told:?}");
        assert_eq!(problems(|blobs| blobs.max_total_bytes = blobs.max_blob_bytes - 1).len(), 1);
        let s3 = problems(|blobs| blobs.url = "s3://bucket".to_owned());
        assert_eq!(s3.is_empty(), cfg!(feature = "s3"), "{s3:?}");
    }
}
