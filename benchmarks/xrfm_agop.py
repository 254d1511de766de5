"""Times the package xrfm; run by bench_agop.py with a Python that has it.

Arguments: a file with alpha (n × C), X (n × d), targets (n × C), W (d × D), bandwidth and ridge;
a file to write to; "agop", or "layer" for a whole layer made of the package's parts: kernel
matrix, regression, AGOP, square root, and the map of W and ReLU.
"""

import sys
import time

import numpy as np
import torch
from xrfm.rfm_src.kernels import LaplaceKernel
from xrfm.rfm_src.utils import matrix_power

with np.load(sys.argv[1]) as given:
    arrays = (torch.as_tensor(given[name]) for name in ("alpha", "X", "targets", "W"))
    alpha, X, targets, W = arrays
    ridge = float(given["ridge"])
    kernel = LaplaceKernel(bandwidth=float(given["bandwidth"]), exponent=1.0)


def agop():
    return kernel.get_agop(X, X, alpha.T.contiguous())


def layer():
    K = kernel.get_kernel_matrix(X, X)
    K.diagonal().add_(ridge)
    coefficients = torch.linalg.solve(K, targets)  # the package's default of three
    M = kernel.get_agop(X, X, coefficients.T.contiguous())
    inner = X @ matrix_power(M / M.max(), 0.5, verbose=False)
    return inner, torch.relu(inner @ W)


call, times = {"agop": agop, "layer": layer}[sys.argv[3]], []
for _ in range(3):
    start = time.perf_counter()
    found = call()
    times.append(time.perf_counter() - start)
found = dict(zip(("inner", "mapped"), found, strict=True)) if call is layer else {"matrix": found}
arrays = {name: array.numpy() for name, array in found.items()}
np.savez(sys.argv[2], seconds=min(times[1:]), **arrays)
