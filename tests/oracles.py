"""Slow, obvious twins of the fast functions, in NumPy and loops.

Each is written from the definition and shares no code with `ncutils`.
"""

import math

import numpy as np

# ---- metrics ---------------------------------------------------------------------------


def covariances(H, y, num_classes):
    """Σ_W and Σ_B from their definitions."""
    overall = H.mean(axis=0)
    within = np.zeros((H.shape[1], H.shape[1]))
    between = np.zeros_like(within)
    for c in range(num_classes):
        rows = H[y == c]
        mean = rows.mean(axis=0)
        for row in rows:
            within += np.outer(row - mean, row - mean) / len(H)
        between += np.outer(mean - overall, mean - overall) / num_classes
    return within, between


def nc1(H, y, num_classes, kind):
    within, between = covariances(H, y, num_classes)
    means = [H[y == c].mean(axis=0) for c in range(num_classes)]
    if kind == "trace":
        return np.trace(within) / np.trace(between)
    if kind == "pinv":
        return np.trace(within @ np.linalg.pinv(between, rcond=1e-10)) / num_classes
    if kind == "std":
        return np.mean(
            [H[y == c][:, k].std() for c in range(num_classes) for k in range(H.shape[1])]
        )
    terms = []
    for a in range(num_classes):
        for b in range(num_classes):
            if a != b:
                v = [np.mean(np.sum((H[y == c] - means[c]) ** 2, axis=1)) for c in (a, b)]
                terms.append(sum(v) / (2 * np.sum((means[a] - means[b]) ** 2)))
    return np.mean(terms)


def centred_means(H, y, num_classes):
    means = np.stack([H[y == c].mean(axis=0) for c in range(num_classes)])
    return means - means.mean(axis=0)


def nc2(H, y, num_classes, kind):
    means = centred_means(H, y, num_classes)
    if kind == "mean_square":
        total = 0.0
        for a in range(num_classes):
            for b in range(num_classes):
                cosine = means[a] @ means[b] / np.linalg.norm(means[a]) / np.linalg.norm(means[b])
                total += (cosine - (1.0 if a == b else -1 / (num_classes - 1))) ** 2
        return total / num_classes**2
    gram = means @ means.T
    frame = (np.eye(num_classes) - 1 / num_classes) / np.sqrt(num_classes - 1)
    return np.linalg.norm(gram / np.linalg.norm(gram) - frame)


def nc3(H, y, W, num_classes):
    means = centred_means(H, y, num_classes)
    return np.linalg.norm(means / np.linalg.norm(means) - W / np.linalg.norm(W))


def nc4(H, y, W, b, num_classes):
    means = np.stack([H[y == c].mean(axis=0) for c in range(num_classes)])
    wrong = 0
    for h in H:
        wrong += np.argmax(W @ h + b) != np.argmin([np.linalg.norm(h - m) for m in means])
    return wrong / len(H)


# ---- kernels ---------------------------------------------------------------------------


def _phi(activation, u):
    return np.maximum(u, 0) if activation == "relu" else np.vectorize(math.erf)(u)


def _dphi(activation, u):
    return (u > 0) * 1.0 if activation == "relu" else 2 / np.sqrt(np.pi) * np.exp(-(u**2))


def limiting_kernels(X, activation, depth, weight_var, bias_var):
    """Q of the last hidden layer and Θ, pair by pair, the integrals by quadrature.

    E[φ(u)φ(v)] with (u, v) = (s r cos(a), t r cos(a - θ)) in polar coordinates: the
    angle by the midpoint rule on pieces on which ReLU is smooth, the radius by
    Gauss-Laguerre quadrature in r²/2 (erf) or exactly (ReLU, homogeneous).
    """
    n, d = X.shape
    K = bias_var + weight_var / d * X @ X.T
    theta = K.copy()
    for _ in range(depth):
        Q, dQ = np.zeros((n, n)), np.zeros((n, n))
        for i in range(n):
            for j in range(n):
                Q[i, j], dQ[i, j] = _gaussian_pair(activation, K[i, i], K[j, j], K[i, j])
        K = bias_var + weight_var * Q
        theta = K + weight_var * theta * dQ
    return Q, theta


def _gaussian_pair(activation, kii, kjj, kij, nodes=120):
    """E[φ(u)φ(v)] and E[φ'(u)φ'(v)] for centred jointly Gaussian u, v."""
    x, w = np.polynomial.hermite_e.hermegauss(nodes)
    if activation == "erf":
        s = np.sqrt(kii)
        a, b = kij / s, np.sqrt(max(kjj - kij**2 / kii, 0.0))
        u, v = s * x[:, None], a * x[:, None] + b * x[None, :]
        weight = w[:, None] * w[None, :] / (2 * np.pi)
        product = _phi("erf", u) * _phi("erf", v)
        slopes = _dphi("erf", u) * _dphi("erf", v)
        return float((weight * product).sum()), float((weight * slopes).sum())
    # ReLU: both positive on an arc of length π - θ; the radius integrates to 2 and 1
    cosine = np.clip(kij / np.sqrt(kii * kjj), -1, 1)
    angle = np.arccos(cosine)
    g, h = np.polynomial.legendre.leggauss(40)
    low, high = -np.pi / 2 + angle, np.pi / 2
    a = (high - low) / 2 * g + (high + low) / 2
    arc = (high - low) / 2 * np.sum(h * np.cos(a) * np.cos(a - angle))
    return np.sqrt(kii * kjj) * 2 * arc / (2 * np.pi), (np.pi - angle) / (2 * np.pi)


def radial(X, Z, M, profile):
    """profile(distance) for each pair of rows, the distance measured by M."""
    out = np.zeros((len(X), len(Z)))
    for i, x in enumerate(X):
        for j, z in enumerate(Z):
            out[i, j] = profile(np.sqrt(max((x - z) @ M @ (x - z), 0.0)))
    return out
