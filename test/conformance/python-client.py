# A client on gRPC's C core: what Envoy's users in Python, Ruby, PHP and C++ would see. One line of JSON says what it found.
import concurrent.futures
import json
import os
import sys

import grpc

address = sys.argv[1]
method = sys.argv[2]
channel = grpc.insecure_channel(address, options=[("grpc.max_send_message_length", -1)])
same = lambda octets: octets
reverse = channel.unary_unary(method, request_serializer=same, response_deserializer=same)
unknown = channel.unary_unary(method + "Not", request_serializer=same, response_deserializer=same)
health = channel.unary_unary("/grpc.health.v1.Health/Check", request_serializer=same, response_deserializer=same)


def failure(call, octets, **options):
    try:
        call(octets, timeout=10, **options)
    except grpc.RpcError as error:
        return [error.code().name, error.details()]
    return ["OK", ""]


def reversed_rightly(octets):
    return reverse(octets, timeout=10) == octets[::-1]


lengths = [0, 1, 2, 1000, 16383, 16384, 16385, 65535, 65536, 200000, 262144]
found = {
    "lengths": [length for length in lengths if reversed_rightly(os.urandom(length).replace(b"fail", b"okay"))],
    "health": health(b"", timeout=10).hex(),
    "unknown": failure(unknown, b"x")[0],
    "oversize": failure(reverse, b"x" * 262145)[0],
    "compressed": failure(reverse, b"x" * 1000, compression=grpc.Compression.Gzip)[0],
    "failed": failure(reverse, b"fail", metadata=(("x-status-text", "50% full\\"),)),
}
with concurrent.futures.ThreadPoolExecutor(32) as pool:
    found["concurrent"] = sum(pool.map(reversed_rightly, (b"%d-" % i * (i % 400 + 1) for i in range(4000))))
print(json.dumps(found))
