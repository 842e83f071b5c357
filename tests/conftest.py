"""What all tests share."""

import torch

torch.set_num_threads(1)  # tensors are small; on a busy machine a second thread waits for the first


def pytest_collection_modifyitems(items):
    """Files with simulations, which take longest, come first: so the processes that share the files end together."""
    long = {item.path for item in items if item.get_closest_marker("simulator")}
    items.sort(key=lambda item: item.path not in long)
