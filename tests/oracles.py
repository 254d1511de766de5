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


# ---- block-structured kernels ----------------------------------------------------------


def class_of(sizes):
    """The class of each sample, sorted."""
    return [c for c, size in enumerate(sizes) for _ in range(size)]


def block_matrix(diag, within, across, sizes):
    """Definition 3.1, entry by entry; values may be numbers or n × n matrices."""
    labels = class_of(sizes)
    N = len(labels)
    return [
        [diag if i == j else within if labels[i] == labels[j] else across for j in range(N)]
        for i in range(N)
    ]


def flow_velocity(W, H, b, kernel, sizes):
    """Minus the gradient of the loss, through Θ^h(x_i, x_j) given as an n × n matrix each."""
    labels = class_of(sizes)
    (n, N), C = H.shape, len(sizes)
    dW, dH, db = np.zeros_like(W), np.zeros_like(H), np.zeros_like(b)
    for j in range(N):
        for c in range(C):
            r = W[c] @ H[:, j] + b[c] - (labels[j] == c)
            dW[c] -= r * H[:, j]
            db[c] -= r
            for i in range(N):
                dH[:, i] -= (
                    kernel[i][j] * np.eye(n) if np.isscalar(kernel[i][j]) else kernel[i][j]
                ) @ (W[c] * r)
    return dW, dH, db


def invariant_of_26(W, H, values, m, C):
    """(26), term by term."""
    diag, within, across = values
    single = diag - within
    class_ = single + m * (within - across)
    alpha = across * m / (class_ + C * across * m)
    means = np.stack([H[:, c * m : (c + 1) * m].mean(axis=1) for c in range(C)], axis=1)
    scatter = (
        sum(np.outer(H[:, i] - means[:, i // m], H[:, i] - means[:, i // m]) for i in range(m * C))
        / m
    )
    middle = np.eye(C) - alpha * np.ones((C, C))
    return W.T @ W / m - means @ middle @ means.T / class_ - scatter / single


def rk4(field, state, end, steps):
    """Classical Runge–Kutta with equal steps."""
    h = end / steps
    add = lambda a, k, s: tuple(x + s * y for x, y in zip(a, k, strict=True))  # noqa: E731
    for _ in range(steps):
        k1 = field(state)
        k2 = field(add(state, k1, h / 2))
        k3 = field(add(state, k2, h / 2))
        k4 = field(add(state, k3, h))
        for k, weight in ((k1, 1), (k2, 2), (k3, 2), (k4, 1)):
            state = add(state, k, h * weight / 6)
    return state


# ---- equations of state ----------------------------------------------------------------


def eos_kernel(S, X, readout_var=1 / 128):
    Q = np.zeros((len(X), len(X)))
    for i, a in enumerate(X):
        for j, b in enumerate(X):
            norm = math.sqrt((1 + 2 * a @ S @ a) * (1 + 2 * b @ S @ b))
            Q[i, j] = readout_var * 2 / math.pi * math.asin(2 * a @ S @ b / norm)
    return Q


def eos_trace_gradient(A, S, X, readout_var=1 / 128):
    """∂Tr[A Q]/∂Σ, one pair of samples at a time, by the chain rule on arcsin(u)."""
    G = np.zeros_like(S)
    for i, a in enumerate(X):
        for j, b in enumerate(X):
            p, q, r = 1 + 2 * a @ S @ a, 1 + 2 * b @ S @ b, 2 * a @ S @ b
            u = r / math.sqrt(p * q)
            du = (np.outer(a, b) + np.outer(b, a)) / math.sqrt(p * q)
            du -= u * (np.outer(a, a) / p + np.outer(b, b) / q)
            G += A[j, i] * readout_var * 2 / math.pi * du / math.sqrt(1 - u * u)
    return G


def eos_new_sigma(S, X, y, width, noise_var=1e-6, weight_var=1.0, sign=-1.0, power=-4):
    """The right-hand side with the source term sign · σ^power (y - f̄)(y - f̄)ᵀ."""
    Q = eos_kernel(S, X)
    inverse = np.linalg.inv(Q + noise_var * np.eye(len(X)))
    gap = y - Q @ inverse @ y
    A = sign * noise_var ** (power / 2) * np.outer(gap, gap) + inverse
    return np.linalg.inv(len(S) / weight_var * np.eye(len(S)) + eos_trace_gradient(A, S, X) / width)


def eos_released_sigma(S, X, y, width, noise_var=1e-6, weight_var=1.0):
    """The right-hand side as P1's public code has it, accidental broadcast included."""
    Q = eos_kernel(S, X)
    inverse = np.linalg.inv(Q + noise_var * np.eye(len(X)))
    column = (Q @ inverse @ y)[:, None]
    D = y - column  # (N,) minus (N, 1): N × N
    A = -noise_var * D @ D.T + inverse
    return np.linalg.inv(len(S) / weight_var * np.eye(len(S)) + eos_trace_gradient(A, S, X) / width)


def eos_free_energy(S, X, y, width, noise_var=1e-6, weight_var=1.0):
    noisy = eos_kernel(S, X) + noise_var * np.eye(len(X))
    prior = len(S) / weight_var * np.trace(S) - np.linalg.slogdet(S)[1]
    return 0.5 * (width * prior + y @ np.linalg.solve(noisy, y) + np.linalg.slogdet(noisy)[1])


# ---- models and training ---------------------------------------------------------------


def mlp_forward(X, weights, biases, activation):
    """(last hidden layer, outputs) of a fully connected network, sample by sample."""
    phi = {"erf": math.erf, "relu": lambda u: max(u, 0.0)}[activation]
    hidden, outputs = [], []
    for x in X:
        h = x
        for W, b in zip(weights[:-1], biases[:-1], strict=True):
            h = np.array([phi(u) for u in W @ h + b])
        hidden.append(h)
        outputs.append(weights[-1] @ h + biases[-1])
    return np.array(hidden), np.array(outputs)


def gradient_descent(W, b, X, T, *, steps, rate, momentum=0.0, decay=0.0):
    """Weights of the affine map x -> W x + b after PyTorch's SGD on the mean squared error."""
    speed_W, speed_b = np.zeros_like(W), np.zeros_like(b)
    for _ in range(steps):
        error = X @ W.T + b - T
        slope_W, slope_b = 2 / T.size * error.T @ X, 2 / T.size * error.sum(axis=0)
        speed_W = momentum * speed_W + slope_W + decay * W
        speed_b = momentum * speed_b + slope_b + decay * b
        W, b = W - rate * speed_W, b - rate * speed_b
    return W, b


def scheduled_descent(W, b, X, T, *, steps, rate, momentum, decay, drop_every, drop):
    """The same with Nesterov's look ahead, decay on W only and a step that drops by stairs."""
    speed_W, speed_b = np.zeros_like(W), np.zeros_like(b)
    for step in range(steps):
        now = rate * drop ** (step // drop_every)
        error = X @ W.T + b - T
        slope_W = 2 / T.size * error.T @ X + decay * W
        slope_b = 2 / T.size * error.sum(axis=0)
        speed_W, speed_b = momentum * speed_W + slope_W, momentum * speed_b + slope_b
        W = W - now * (slope_W + momentum * speed_W)
        b = b - now * (slope_b + momentum * speed_b)
    return W, b


# --- Equations of State without the Gaussian form of the weights -----------------------------


def mean_field_moments(Q, X, y, *, width, noise):
    """One step of the mean field in the plane: double loop over a coarse, shifted grid."""
    from scipy.special import erf as scipy_erf

    A = np.linalg.inv(Q + noise * np.eye(len(y)))
    A = A - np.outer(A @ y, A @ y)
    line = np.arange(-5.95, 6.0, 0.13)
    total, second, kernel = 0.0, np.zeros((2, 2)), np.zeros_like(Q)
    for a in line:
        for b in line:
            w = np.array([a, b]) / np.sqrt(2)
            phi = scipy_erf(X @ w)
            density = np.exp(-(w @ w) - phi @ A @ phi / (2 * 128 * width))
            total += density
            second += density * np.outer(w, w)
            kernel += density * np.outer(phi, phi) / 128
    return second / total, kernel / total


# ---- average gradient outer products -----------------------------------------------------


def machine_outputs(x, alpha, X, kernel, L, M):
    """f(x) of a kernel machine, term by term."""
    total = np.zeros(alpha.shape[1])
    for a, z in zip(alpha, X, strict=True):
        r = np.sqrt((x - z) @ M @ (x - z))
        total += a * (np.exp(-r / L) if kernel == "laplace" else np.exp(-(r**2) / (2 * L**2)))
    return total


def machine_gradients(alpha, X, kernel, L, M):
    """The gradients of f at its own n points, n × d × C; a point's own term has none."""
    G = np.zeros((*X.shape, alpha.shape[1]))
    for i, x in enumerate(X):
        for a, z in zip(alpha, X, strict=True):
            r = np.sqrt((x - z) @ M @ (x - z))
            if r > 0:
                slope = np.exp(-r / L) / (L * r)
                if kernel == "gaussian":
                    slope = np.exp(-(r**2) / (2 * L**2)) / L**2
                G[i] += -slope * np.outer(M @ (x - z), a)
    return G


def mean_outer_product(G):
    """Mean over points of the sum over outputs of g gᵀ."""
    return sum(g[:, c : c + 1] @ g[:, c : c + 1].T for g in G for c in range(g.shape[1])) / len(G)


# ---- P3: theory of Deep RFM ----------------------------------------------------------------


def relu_moment(angle, power):
    """E[relu(u)^p relu(v)^p] for unit normals at an angle, by polar coordinates.

    With u = r cos φ and v = r cos(φ - angle), the integral over r is a Gamma function.
    """
    count = 200_000
    phi = (np.arange(count) + 0.5) * 2 * np.pi / count
    both = np.maximum(np.cos(phi), 0) * np.maximum(np.cos(phi - angle), 0)
    radial = 2**power * math.factorial(power)  # ∫ r^(2p+1) exp(-r²/2) dr
    return radial * np.mean(both**power)


def deep_rfm_gram(T, Y, predictor_ridge, map_ridge, scale):
    """One layer of the asymptotic theory with explicit features, predictor and AGOP."""
    n = T.shape[0]
    X = np.linalg.cholesky(T + map_ridge * np.eye(n)).T  # columns are samples
    alpha = Y @ np.linalg.inv(X.T @ X + predictor_ridge * np.eye(n))
    gradients = X @ alpha.T  # of f(x) = alpha Xᵀ x, the same everywhere
    M = gradients @ gradients.T
    return X.T @ M @ X / scale


def relaxed_problem(k, Y, A, ridge):
    """The objective (7) at coefficients A, as it stands."""
    misfit = Y - A @ k
    return np.trace(misfit @ misfit.T) + ridge * np.trace(k @ A.T @ A)


# ---- empirical tangent kernels -----------------------------------------------------------


def tangent_kernel(jacobian):
    """Θ[k, s, i, j] from the leaves of a Jacobian, each n × k × (the leaf's shape)."""
    n, k = jacobian[0].shape[:2]
    theta = np.zeros((k, k, n, n))
    rows = np.concatenate([leaf.reshape(n, k, -1) for leaf in jacobian], axis=2)
    for a in range(k):
        for b in range(k):
            for i in range(n):
                for j in range(n):
                    theta[a, b, i, j] = rows[i, a] @ rows[j, b]
    return theta


def block_values(theta, y):
    """Means of Θ_kk over outputs: i = j, pairs of a class, pairs of two classes."""
    found = [[], [], []]
    for k in range(len(theta)):
        for i in range(len(y)):
            for j in range(len(y)):
                found[0 if i == j else 1 if y[i] == y[j] else 2].append(theta[k, k, i, j])
    return [np.mean(values) for values in found]


def published_block_values(theta, y, per_class):
    """The same from the first samples of each class only, first half against second half."""
    found, half = [[], [], []], per_class // 2
    first = [np.flatnonzero(y == c)[:per_class] for c in range(max(y) + 1)]
    for k in range(len(theta)):
        for c, mine in enumerate(first):
            found[0] += [theta[k, k, i, i] for i in mine]
            found[1] += [theta[k, k, i, j] for i in mine[:half] for j in mine[half:]]
            for other in first[c + 1 :]:
                found[2] += [theta[k, k, i, j] for i in mine[:half] for j in other[half:]]
    return [np.mean(values) for values in found]


# --- P2's invariant as its released code writes it ------------------------------------------


def released_invariant(W, H, kappa_d, kappa_c, kappa_n, *, m, C):
    """Norm and alignment of the invariant and the sizes of its terms, from class sums."""
    H1 = np.stack([H[:, c * m : (c + 1) * m].mean(axis=1) for c in range(C)], axis=1)
    within = np.zeros((H.shape[0],) * 2)
    for c in range(C):
        for i in range(m):
            gap = H[:, c * m + i] - H1[:, c]
            within += np.outer(gap, gap)
    mean = H1.mean(axis=1)
    single = kappa_d - kappa_c
    of_class = single + m * (kappa_c - kappa_n)
    alpha = kappa_n / (single / m + kappa_c + (C - 1) * kappa_n)
    gram = W.T @ W
    rest = m / of_class * H1 @ H1.T + within / single
    rest -= alpha * C**2 * m / of_class * np.outer(mean, mean)
    norm = np.linalg.norm
    return {
        "invariant_norm": norm(gram - rest),
        "invariant_relative": norm(gram - rest) / norm(gram),
        "invariant_alignment": np.sum(gram * rest) / norm(gram) / norm(rest),
        "norm_means": norm(H1 @ H1.T),
        "norm_within": norm(within),
        "norm_global": norm(np.outer(mean, mean)),
    }
