"""Prometheus metrics of the service."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

_BATCHES = (1, 2, 4, 8, 16, 24, 32, 64, 128)


class Metrics:
    """The metrics of one service, in their own registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "alexnet_requests", "Requests by path and status", ["path", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "alexnet_request_seconds", "From the first byte to the response", ["path"], registry=self.registry
        )
        self.images = Counter("alexnet_images", "Images by outcome", ["outcome"], registry=self.registry)
        self.batches = Histogram(
            "alexnet_batch_images", "Images computed together", buckets=_BATCHES, registry=self.registry
        )
        self.inside = Gauge("alexnet_images_inside", "Images in the service", registry=self.registry)
