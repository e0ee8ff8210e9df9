#!/usr/bin/env python3
"""Uploads and downloads blobs, and goes on where a call broke.

    blobs.py upload FILE            prints the SHA-256
    blobs.py download SHA256 FILE

From the environment: MUSTER_ADDRESS and MUSTER_CERTS, as fleet.py has them.
"""

import argparse
import hashlib
import sys
import time
from pathlib import Path
from typing import Callable, Iterator

import grpc

from fleet import connect, reason  # makes the modules of the protos, too
from muster.admin.v1 import blobs_pb2, blobs_pb2_grpc  # noqa: E402

CHUNK = 64 * 1024
TRIES = 5


def digest(path: Path) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def parts(path: Path, sha256: bytes, offset: int, cut_after: int) -> Iterator[blobs_pb2.UploadBlobRequest]:
    start = blobs_pb2.UploadStart(sha256=sha256, size_bytes=path.stat().st_size, offset=offset)
    yield blobs_pb2.UploadBlobRequest(start=start)
    with open(path, "rb") as file:
        file.seek(offset)
        while chunk := file.read(CHUNK):
            if cut_after and file.tell() > cut_after:
                raise ConnectionError("cut, to show how an upload goes on")
            yield blobs_pb2.UploadBlobRequest(chunk=chunk)


def again(what: Callable[[], None]) -> None:
    """Repeats what broke for a reason that passes."""
    pause = 0.2
    for left in reversed(range(TRIES)):
        try:
            return what()
        except grpc.RpcError as error:
            passes = error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN, grpc.StatusCode.CANCELLED)
            if not passes or left == 0:
                raise
            print(f"{error.code().name} {reason(error)}: trying again", file=sys.stderr, flush=True)
        time.sleep(pause)
        pause = min(pause * 2, 10)


def upload(stub: blobs_pb2_grpc.BlobsServiceStub, path: Path, cut_after: int) -> None:
    sha256, cuts = digest(path), [cut_after]

    def attempt() -> None:
        try:
            known = stub.GetUpload(blobs_pb2.GetUploadRequest(sha256=sha256), timeout=10).upload
        except grpc.RpcError as error:
            if reason(error) != "NOT_FOUND":
                raise
            known = blobs_pb2.Upload()
        if known.received_bytes:
            print(f"going on at byte {known.received_bytes}", file=sys.stderr, flush=True)
        stub.UploadBlob(parts(path, sha256, known.received_bytes, cuts.pop() if cuts else 0), timeout=3600)

    again(attempt)
    print(sha256.hex())


def download(stub: blobs_pb2_grpc.BlobsServiceStub, sha256: bytes, path: Path) -> None:
    part = path.with_name(path.name + ".part")
    part.touch()

    def attempt() -> None:
        with open(part, "ab") as file:
            request = blobs_pb2.DownloadBlobRequest(sha256=sha256, offset=file.tell())
            for message in stub.DownloadBlob(request, timeout=3600):
                file.write(message.chunk)

    again(attempt)
    if digest(part) != sha256:
        part.unlink()
        sys.exit("what came has another digest")
    part.rename(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    uploader = commands.add_parser("upload", help="a file as a blob")
    uploader.add_argument("file", type=Path)
    uploader.add_argument("--cut-after", type=int, default=0, help="break once, to show how it goes on")
    downloader = commands.add_parser("download", help="a blob as a file")
    downloader.add_argument("sha256", type=bytes.fromhex)
    downloader.add_argument("file", type=Path)
    args = parser.parse_args()
    try:
        with connect() as channel:
            stub = blobs_pb2_grpc.BlobsServiceStub(channel)
            if args.command == "upload":
                upload(stub, args.file, args.cut_after)
            else:
                download(stub, args.sha256, args.file)
    except grpc.RpcError as error:
        print(f"{error.code().name} {reason(error)}: {error.details()}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
