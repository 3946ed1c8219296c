"""What grpcurl does with `-plaintext -d JSON ADDRESS SERVICE/METHOD`: it asks the server for its
API by reflection, makes the request from JSON and prints each message as JSON.

grpcurl itself is in no package of the distributions that the tests run on.
"""

import sys

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

from quire_server import TIMEOUT, reflection_pb2, reflection_pb2_grpc


def describe(channel, symbol):
    """A pool with the file of that symbol and all that it imports."""
    pool = descriptor_pool.DescriptorPool()
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    asked = reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)
    (answer,) = stub.ServerReflectionInfo(iter([asked]), timeout=TIMEOUT)
    files = [descriptor_pb2.FileDescriptorProto.FromString(file)
             for file in answer.file_descriptor_response.file_descriptor_proto]
    for file in reversed(files):  # what is imported comes behind
        pool.Add(file)
    return pool


def main():
    plaintext, flag, data, address, path = sys.argv[1:]
    assert (plaintext, flag) == ("-plaintext", "-d"), sys.argv
    service, method_name = path.split("/")
    with grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)]) as channel:
        method = describe(channel, service).FindServiceByName(service).FindMethodByName(method_name)
        request = message_factory.GetMessageClass(method.input_type)()
        json_format.Parse(data, request)
        call = channel.unary_stream(
            f"/{path}", type(request).SerializeToString,
            message_factory.GetMessageClass(method.output_type).FromString)
        for message in call(request, timeout=TIMEOUT):
            print(json_format.MessageToJson(message))


if __name__ == "__main__":
    main()
