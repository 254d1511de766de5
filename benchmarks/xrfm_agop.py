"""Times the AGOP of the package xrfm; run by bench_agop.py with a Python that has it.

Arguments: a file with alpha (n × C), X (n × d) and bandwidth; a file to write to.
"""

import sys
import time

import numpy as np
import torch
from xrfm.rfm_src.kernels import LaplaceKernel

with np.load(sys.argv[1]) as given:
    alpha, X = (torch.as_tensor(given[name]) for name in ("alpha", "X"))
    kernel = LaplaceKernel(bandwidth=float(given["bandwidth"]), exponent=1.0)

times = []
for _ in range(4):
    start = time.perf_counter()
    matrix = kernel.get_agop(X, X, alpha.T.contiguous())
    times.append(time.perf_counter() - start)
np.savez(sys.argv[2], seconds=min(times[1:]), matrix=matrix.numpy())
