"""What all tests share."""

import torch

torch.set_num_threads(1)  # tensors are small; on a busy machine a second thread waits for the first
