"""A collector for tests: the real OTLP service over gRPC, that keeps what it is sent."""

import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc


class OtlpReceiver(trace_service_pb2_grpc.TraceServiceServicer):
    """Listens from the start; `spans` holds (resource attributes, span) as they came."""

    def __init__(self, port=0):
        self.spans = []
        self._came = threading.Condition()
        self._server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._server.start()

    def Export(self, request, context):  # noqa: N802 - of the protocol
        with self._came:
            for resource in request.resource_spans:
                about = attributes_of(resource.resource)
                self.spans += [(about, span) for scope in resource.scope_spans for span in scope.spans]
            self._came.notify_all()
        return trace_service_pb2.ExportTraceServiceResponse()

    def wait_for(self, number, timeout_seconds=60):
        """The spans, once there are so many."""
        with self._came:
            assert self._came.wait_for(lambda: len(self.spans) >= number, timeout_seconds), f"{len(self.spans)} spans"
            return [span for _, span in self.spans]

    def close(self):
        self._server.stop(None).wait()


def attributes_of(holder):
    return {entry.key: getattr(entry.value, entry.value.WhichOneof("value")) for entry in holder.attributes}
