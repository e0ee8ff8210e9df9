//! The same over S3, as far as blobs use it.

use std::{collections::BTreeMap, convert::Infallible, sync::Arc};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use muster_common::tasks::{Kind, Tasks};
use object_store::aws::AmazonS3Builder;
use parking_lot::Mutex;

use super::*;
use crate::blobs::objects::Objects;

/// Objects by their path, and parts by their path and number.
type Kept = Arc<Mutex<BTreeMap<String, Bytes>>>;

/// A bucket on this machine.
async fn bucket(tasks: &Tasks) -> (String, Kept) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (kept, spawner) = (Kept::default(), tasks.clone());
    let serving = Arc::clone(&kept);
    tasks.spawn("s3", Kind::BestEffort, async move {
        while let Ok((stream, _)) = listener.accept().await {
            let kept = Arc::clone(&serving);
            let service = service_fn(move |request| answer(Arc::clone(&kept), request));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            spawner.spawn("s3-connection", Kind::BestEffort, async move {
                let _ = connection.await;
            });
        }
    });
    (format!("http://{address}"), kept)
}

async fn answer(kept: Kept, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let (path, query) = (parts.uri.path().to_owned(), parts.uri.query().unwrap_or_default().to_owned());
    let range = parts.headers.get(header::RANGE).map(|range| range.to_str().unwrap().to_owned());
    assert!(parts.headers.contains_key(header::AUTHORIZATION), "every request is signed");
    let mut kept = kept.lock();
    let xml = |text: &str| Response::new(Full::from(text.to_owned()));
    Ok(match parts.method {
        Method::PUT if query.contains("partNumber=") => {
            let number = query.split("partNumber=").nth(1).unwrap().split('&').next().unwrap();
            kept.insert(format!("{path}?{number:0>5}"), body);
            tagged(Response::builder()).body(Full::default()).unwrap()
        }
        Method::PUT => {
            kept.insert(path, body);
            tagged(Response::builder()).body(Full::default()).unwrap()
        }
        Method::POST if query.starts_with("uploads") => {
            xml("<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>")
        }
        Method::POST => {
            let names: Vec<_> =
                kept.keys().filter(|name| name.starts_with(&format!("{path}?"))).cloned().collect();
            let whole: Vec<u8> = names.iter().flat_map(|name| kept.remove(name).unwrap()).collect();
            kept.insert(path, whole.into());
            xml("<CompleteMultipartUploadResult><ETag>\"1\"</ETag></CompleteMultipartUploadResult>")
        }
        Method::GET => given(kept.get(&path), range.as_deref()),
        Method::DELETE => {
            kept.remove(&path);
            status(StatusCode::NO_CONTENT)
        }
        _ => status(StatusCode::METHOD_NOT_ALLOWED),
    })
}

fn tagged(builder: http::response::Builder) -> http::response::Builder {
    builder.header(header::ETAG, "\"1\"").header(header::LAST_MODIFIED, "Wed, 21 Oct 2015 07:28:00 GMT")
}

fn status(code: StatusCode) -> Response<Full<Bytes>> {
    Response::builder().status(code).body(Full::default()).unwrap()
}

/// `bytes=FROM-TO` of an object.
fn given(object: Option<&Bytes>, range: Option<&str>) -> Response<Full<Bytes>> {
    let (Some(object), Some(range)) = (object, range) else { return status(StatusCode::NOT_FOUND) };
    let (from, to) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
    let (from, to): (usize, usize) = (from.parse().unwrap(), to.parse().unwrap());
    let to = to.min(object.len() - 1);
    let told = format!("bytes {from}-{to}/{}", object.len());
    let builder = tagged(Response::builder()).status(StatusCode::PARTIAL_CONTENT);
    builder.header(header::CONTENT_RANGE, told).body(Full::from(object.slice(from..=to))).unwrap()
}

#[tokio::test]
async fn blobs_in_a_bucket_are_put_read_from_anywhere_and_deleted() {
    let tasks = Tasks::default();
    let (endpoint, kept) = bucket(&tasks).await;
    let builder = AmazonS3Builder::new().with_endpoint(endpoint).with_allow_http(true).with_region("eu");
    let builder = builder.with_access_key_id("id").with_secret_access_key("secret");
    let folder = tempfile::tempdir().unwrap();
    let mut blobs = Blobs::open(&config::Blobs::default(), folder.path()).unwrap();
    blobs.objects = Objects::in_bucket(builder, "s3://fleet/muster/blobs").unwrap();
    let place = Place { folder, blobs };
    for size in [1, PIECE, 11 * 1024 * 1024 + 3] {
        let content = bytes(size);
        let whole = place.upload(&content).await.unwrap();
        place.blobs.put(&whole).await.unwrap();
        let name = whole.sha256().to_string();
        assert_eq!(
            kept.lock().keys().collect::<Vec<_>>(),
            [&format!("/fleet/muster/blobs/{}/{name}", &name[..2])]
        );
        for offset in [0, size / 2, size] {
            assert!(
                place.read(&content, offset as u64).await.unwrap() == content[offset..],
                "{size}, {offset}"
            );
        }
        for _ in 0..2 {
            place.blobs.delete(&whole.sha256()).await.unwrap();
        }
        assert!(kept.lock().is_empty());
        assert!(matches!(place.read(&content, 0).await, Err(Error::Missing(_))));
    }
    tasks.abort_all();
}
