"""What all tests share."""

import contextlib
import resource

import pytest
import torch

torch.set_num_threads(1)  # tensors are small; on a busy machine a second thread waits for the first


def pytest_collection_modifyitems(items):
    """Files with simulations, which take longest, come first: so the processes that share the files end together."""
    long = {item.path for item in items if item.get_closest_marker("simulator")}
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture
def full_disk():
    """`with full_disk(size):` no file grows beyond `size` bytes, as on a disk that is full: writing fails."""
    @contextlib.contextmanager
    def limited(size: int):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    return limited
