#!/usr/bin/env python3
"""A service that runs a script on hosts and waits for the end: a step of a pipeline.

    run.py --selector SELECTOR --job JOB SCRIPT

The job's name is the id of the request: a step that is started again finds the
operation that it had started, and no host runs the script twice. Exit status 0:
every command succeeded; 1: some did not, or there was no host; 2: refused.

From the environment: MUSTER_ADDRESS, host:port of the operators' port, and
MUSTER_CERTS, a folder with ca.crt, service.crt and service.key.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import grpc

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))
import fleet  # noqa: E402  makes the modules of the protos, and reads reasons of refusals

from muster.admin.v1 import operations_pb2, operations_pb2_grpc  # noqa: E402
from muster.admin.v1 import system_pb2, system_pb2_grpc  # noqa: E402
from muster.types.v1 import command_pb2  # noqa: E402

ENDED = operations_pb2.OPERATION_STATE_ENDED
PASSING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


def connect() -> grpc.Channel:
    certs = Path(os.environ.get("MUSTER_CERTS", "."))
    credentials = grpc.ssl_channel_credentials(
        root_certificates=(certs / "ca.crt").read_bytes(),
        private_key=(certs / "service.key").read_bytes(),
        certificate_chain=(certs / "service.crt").read_bytes(),
    )
    return grpc.secure_channel(os.environ.get("MUSTER_ADDRESS", "127.0.0.1:8445"), credentials)


def patiently(call, request):
    """A call that is safe to repeat, until the control plane is there."""
    pause = 0.2
    while True:
        try:
            return call(request, timeout=10)
        except grpc.RpcError as error:
            if error.code() not in PASSING:
                raise
        time.sleep(pause)
        pause = min(pause * 2, 10)


def run(channel: grpc.Channel, selector: str, job: str, script: str) -> int:
    caller = patiently(system_pb2_grpc.SystemServiceStub(channel).GetCaller, system_pb2.GetCallerRequest())
    for binding in caller.bindings:
        print(f"{caller.principal} is {binding.role} on {binding.selector}", file=sys.stderr)
    stub = operations_pb2_grpc.OperationsServiceStub(channel)
    spec = command_pb2.CommandSpec(run_script=command_pb2.RunScript(script=script))
    request = operations_pb2.StartOperationRequest(selector=selector, spec=spec, request_id=job)
    operation = patiently(stub.StartOperation, request).operation
    print(f"operation {operation.id} on {operation.counts.total} nodes", file=sys.stderr)
    while operation.state != ENDED:
        time.sleep(0.5)
        operation = patiently(
            stub.GetOperation, operations_pb2.GetOperationRequest(id=operation.id)
        ).operation
    listed = patiently(
        stub.ListCommands,
        operations_pb2.ListCommandsRequest(operation_id=operation.id, page_size=1000, with_output=True),
    )
    for command in listed.commands:
        state = command_pb2.CommandState.Name(command.state).removeprefix("COMMAND_STATE_").lower()
        output = command.stdout.decode(errors="replace").strip()
        print(f"{command.node_id}  {state}  {output}", flush=True)
    counts = operation.counts
    return 0 if counts.total and counts.succeeded == counts.total else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--selector", required=True)
    parser.add_argument("--job", required=True, help="name of this step of this run; at most 128 bytes")
    parser.add_argument("script")
    args = parser.parse_args()
    try:
        with connect() as channel:
            return run(channel, args.selector, args.job, args.script)
    except grpc.RpcError as error:
        print(f"{error.code().name} {fleet.reason(error)}: {error.details()}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
