#!/usr/bin/env python3
"""A small client of Muster's operators' API, with nothing but gRPC.

    fleet.py list [--selector SELECTOR]
    fleet.py watch [--selector SELECTOR] [--events N]
    fleet.py run --selector SELECTOR SCRIPT

From the environment: MUSTER_ADDRESS, host:port of the operators' port, and
MUSTER_CERTS, a folder with ca.crt, operator.crt and operator.key.
"""

import argparse
import fcntl
import os
import sys
import time
import uuid
from pathlib import Path
from typing import Iterator

import grpc

HERE = Path(__file__).resolve().parent
GENERATED = HERE / "generated"
PROTOS = HERE.parents[2] / "proto"


def generate() -> None:
    """Makes Python modules of the protos, once and whenever a proto is newer."""
    protos = [p for folder in ("admin", "types") for p in sorted((PROTOS / "muster" / folder).rglob("*.proto"))]
    stamp = GENERATED / "stamp"
    GENERATED.mkdir(exist_ok=True)
    with open(GENERATED / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another program may be making them
        if not (stamp.exists() and all(p.stat().st_mtime <= stamp.stat().st_mtime for p in protos)):
            compile_protos(protos, stamp)


def compile_protos(protos: list[Path], stamp: Path) -> None:
    import grpc_tools
    from grpc_tools import protoc

    include = Path(grpc_tools.__file__).parent / "_proto"
    args = ["protoc", f"-I{PROTOS}", f"-I{include}", f"--python_out={GENERATED}", f"--grpc_python_out={GENERATED}"]
    if protoc.main(args + [str(p) for p in protos]) != 0:
        sys.exit("the protos could not be compiled")
    stamp.touch()


generate()
sys.path.insert(0, str(GENERATED))

from google.protobuf import any_pb2  # noqa: E402
from muster.admin.v1 import nodes_pb2, nodes_pb2_grpc  # noqa: E402
from muster.admin.v1 import operations_pb2, operations_pb2_grpc  # noqa: E402
from muster.types.v1 import command_pb2  # noqa: E402


def connect() -> grpc.Channel:
    certs = Path(os.environ.get("MUSTER_CERTS", "."))
    credentials = grpc.ssl_channel_credentials(
        root_certificates=(certs / "ca.crt").read_bytes(),
        private_key=(certs / "operator.key").read_bytes(),
        certificate_chain=(certs / "operator.crt").read_bytes(),
    )
    return grpc.secure_channel(os.environ.get("MUSTER_ADDRESS", "127.0.0.1:8445"), credentials)


def reason(error: grpc.RpcError) -> str:
    """The stable reason of a refusal, out of google.rpc.ErrorInfo."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            # google.rpc.Status: field 3 holds Any; ErrorInfo: field 1 is the reason.
            for detail in fields(value, 3):
                packed = any_pb2.Any.FromString(detail)
                if packed.type_url.endswith("/google.rpc.ErrorInfo"):
                    return next(fields(packed.value, 1), b"").decode()
    return ""


def fields(message: bytes, number: int) -> Iterator[bytes]:
    """The length-delimited fields with this number: two small messages need no generated code."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        tag = varint()
        length = varint()
        if tag & 7 == 2:
            if tag >> 3 == number:
                yield message[at : at + length]
            at += length


def list_nodes(channel: grpc.Channel, selector: str) -> None:
    stub = nodes_pb2_grpc.NodesServiceStub(channel)
    token = ""
    while True:
        page = stub.ListNodes(
            nodes_pb2.ListNodesRequest(selector=selector, page_size=100, page_token=token), timeout=10
        )
        for node in page.nodes:
            print_node(node)
        token = page.next_page_token
        if not token:
            return


def print_node(node: nodes_pb2.Node) -> None:
    liveness = nodes_pb2.Liveness.Name(node.connection.liveness).removeprefix("LIVENESS_").lower()
    labels = ",".join(f"{key}={value}" for key, value in sorted(node.labels.items()))
    print(f"{node.id}  {liveness:<12} {node.display_name:<24} {labels}", flush=True)


def watch(channel: grpc.Channel, selector: str, events: int, cut_after: int) -> None:
    """Prints every change; a broken watch goes on where it ended, so nothing is missed."""
    stub = nodes_pb2_grpc.NodesServiceStub(channel)
    token, seen, pause = "", 0, 0.2
    while True:
        call = stub.WatchNodes(nodes_pb2.WatchNodesRequest(selector=selector, resume_token=token))
        try:
            for message in call:
                token, pause = message.resume_token or token, 0.2
                kind = message.WhichOneof("event")
                if kind == "upserted":
                    print_node(message.upserted)
                elif kind == "removed_id":
                    print(f"{message.removed_id}  removed", flush=True)
                elif kind == "bookmark" and cut_after == 0:
                    continue
                seen += kind != "bookmark"
                if events and seen >= events:
                    call.cancel()
                    return
                if cut_after and seen >= cut_after and kind == "bookmark":
                    cut_after = 0  # as if the connection broke here
                    call.cancel()
        except grpc.RpcError as error:
            if reason(error) == "RESUME_TOKEN_EXPIRED":
                token = ""
            elif error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
                raise
        time.sleep(pause)
        pause = min(pause * 2, 10)
        print(f"resumed after {seen} events", file=sys.stderr, flush=True)


def run(channel: grpc.Channel, selector: str, script: str) -> int:
    stub = operations_pb2_grpc.OperationsServiceStub(channel)
    spec = command_pb2.CommandSpec(run_script=command_pb2.RunScript(script=script))
    # The same request id again would answer with the same operation: safe to repeat.
    request = operations_pb2.StartOperationRequest(selector=selector, spec=spec, request_id=str(uuid.uuid4()))
    operation = stub.StartOperation(request, timeout=10).operation
    print(f"operation {operation.id} for {operation.counts.total} nodes", file=sys.stderr)
    last = operation
    for message in stub.WatchOperation(
        operations_pb2.WatchOperationRequest(id=operation.id, with_output=True), timeout=3600
    ):
        kind = message.WhichOneof("event")
        if kind == "output":
            for line in message.output.data.decode(errors="replace").splitlines():
                print(f"{message.output.node_id}: {line}", flush=True)
        elif kind == "operation":
            last = message.operation
    return 0 if last.counts.succeeded == last.counts.total else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    lister = commands.add_parser("list", help="nodes that a selector matches")
    watcher = commands.add_parser("watch", help="nodes as they are, then every change")
    runner = commands.add_parser("run", help="run a script on the nodes that a selector matches")
    for command in (lister, watcher):
        command.add_argument("--selector", default="")
    watcher.add_argument("--events", type=int, default=0, help="end after so many")
    watcher.add_argument("--cut-after", type=int, default=0, help="break the watch once, to show how it goes on")
    runner.add_argument("--selector", required=True)
    runner.add_argument("script")
    args = parser.parse_args()
    try:
        with connect() as channel:
            if args.command == "list":
                list_nodes(channel, args.selector)
            elif args.command == "watch":
                watch(channel, args.selector, args.events, args.cut_after)
            else:
                return run(channel, args.selector, args.script)
    except grpc.RpcError as error:
        print(f"{error.code().name} {reason(error)}: {error.details()}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
