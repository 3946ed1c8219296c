"""What a refused call tells programs: google.rpc.Status, as gRPC carries it."""

from quire_server import error_details_pb2, status_pb2


def details(call):
    """By the name of their type, such as "ErrorInfo"."""
    status = status_pb2.Status.FromString(dict(call.trailing_metadata())["grpc-status-details-bin"])
    assert status.code == call.code().value[0] and status.message == call.details()
    found = {}
    for packed in status.details:
        name = packed.TypeName().split(".")[-1]
        assert name not in found, f"two of {name}"
        found[name] = getattr(error_details_pb2, name)()
        packed.Unpack(found[name])
    assert found["ErrorInfo"].domain == "quire"
    return found


def reason(call):
    return details(call)["ErrorInfo"].reason
