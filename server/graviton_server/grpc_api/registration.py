"""Services as gRPC wants them: a descriptor names the methods, an object has them in snake case."""

from __future__ import annotations

import re
from operator import methodcaller
from typing import Any, Final

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

from graviton_server.grpc_api.calls import Guard
from graviton_server.grpc_api.parsing import parser_of

_WRITES: Final = methodcaller("SerializeToString")
_WORD: Final = re.compile(r"(?<!^)(?=[A-Z])")


def handlers_of(service: ServiceDescriptor, implementation: object, guard: Guard) -> grpc.GenericRpcHandler:
    """Every method of the service; one that the implementation lacks is an error here, not at a call."""
    methods = {method.name: _handler(service, method, implementation, guard) for method in service.methods}
    return grpc.method_handlers_generic_handler(service.full_name, methods)


def _handler(
    service: ServiceDescriptor, method: MethodDescriptor, implementation: object, guard: Guard
) -> grpc.RpcMethodHandler[Any, Any]:
    name = _WORD.sub("_", method.name).lower()
    call = getattr(implementation, name)
    operation = f"{service.name}.{method.name}"
    reads = parser_of(GetMessageClass(method.input_type))
    if method.client_streaming:
        return grpc.stream_unary_rpc_method_handler(guard.stream_in(operation, call), reads, _WRITES)
    if method.server_streaming:
        return grpc.unary_stream_rpc_method_handler(guard.stream_out(operation, call), reads, _WRITES)
    return grpc.unary_unary_rpc_method_handler(guard.unary(operation, call), reads, _WRITES)
