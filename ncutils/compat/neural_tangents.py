"""neural-tangents 0.6.5 under a current JAX, without TensorFlow.

    from ncutils.compat.neural_tangents import nt, stax

neural-tangents takes names from places in JAX that they have since left. Those that
it asks for while it is imported are lent to JAX for that moment and taken back; what
it looks up later, when its functions run, is put into its own modules. JAX itself is
left as it was. Only public names of JAX are used here.
"""

import contextlib
import functools
import importlib.util
import math
import sys
import types

import jax
import jax.core
import jax.extend.core as jex
import jax.extend.linear_util as linear_util
import jax.extend.source_info_util as source_info_util
import jax.numpy as jnp
import scipy.linalg
from jax.api_util import debug_info, safe_map
from jax.interpreters import ad

if importlib.util.find_spec("neural_tangents") is None:
    raise ImportError(
        "neural-tangents is not installed. It asks for TensorFlow, which it does not need "
        "here: install it with `pip install --no-deps neural-tangents==0.6.5`"
    )


def _module(name, base=None, **names):
    """A module with these names, and the attributes of `base` for all others."""
    module = types.ModuleType(name)
    module.__dict__.update(names)
    if base is not None:
        module.__getattr__ = functools.partial(getattr, base)
    return module


@contextlib.contextmanager
def _lent(namespace, **names):
    """Add to a dict those of the names that it lacks, and take them out again."""
    new = {name: value for name, value in names.items() if name not in namespace}
    namespace.update(new)
    try:
        yield
    finally:
        for name in new:
            namespace.pop(name, None)


def _linearize(fun, *primals, has_aux):
    """What `ad.linearize` was: `fun` is a wrapped function of flat arguments."""
    if has_aux:
        raise ValueError("auxiliary outputs are not supported")
    out, tangent_map = jax.linearize(fun.call_wrapped, *primals)
    closed = jax.make_jaxpr(tangent_map)(*primals)
    unknown = types.SimpleNamespace(is_known=lambda: False)
    return out, [unknown] * len(out), closed.jaxpr, closed.consts


def _eqn_vjp_fn(eqn, cotangent, *invals):
    """As in neural-tangents, less the call and map primitives, which are gone."""
    if eqn is None:
        return (cotangent,)
    transpose = ad.get_primitive_transpose(eqn.primitive)
    return transpose(cotangent, *invals, **eqn.params)


def _wrap_init(fun, params=None):
    """`linear_util.wrap_init` with the debug information that it now asks for."""
    about = debug_info("neural_tangents", fun, (), {})
    return linear_util.wrap_init(fun, params, debug_info=about)


def _get_flops(f, optimize, *args, **kwargs):
    """As in neural-tangents, for a `cost_analysis` that is no longer a list."""
    stage = jax.jit(f).lower(*args, **kwargs)
    return (stage.compile() if optimize else stage).cost_analysis()["flops"]


def _eigvalsh(a, eigvals):
    """`scipy.linalg.eigvalsh` by the name that its argument had before SciPy 1.14."""
    return scipy.linalg.eigvalsh(a, subset_by_index=eigvals)


def _outside_traces(f):
    """Call `f` outside any trace, unless its first argument is traced itself."""

    @functools.wraps(f)
    def wrapped(k, *args):
        traced = isinstance(k, jax.core.Tracer)
        with contextlib.nullcontext() if traced else jax.core.eval_context():
            return f(k, *args)

    return wrapped


def _lent_to_jax():
    """Every name that neural-tangents expects at import time, for that time."""
    stack = contextlib.ExitStack()
    moved = ("Jaxpr", "JaxprEqn", "Literal", "Primitive", "Var")
    stack.enter_context(_lent(vars(jax.core), **{name: getattr(jex, name) for name in moved}))
    stack.enter_context(_lent(vars(ad), zeros_like_p=jex.Primitive("zeros_like")))
    util = _module("jax.util", safe_map=safe_map, safe_zip=lambda *a: list(zip(*a, strict=True)))
    # neural_tangents.experimental is the one part that uses TensorFlow
    absent = {"jax.util": util, "neural_tangents.experimental": _module("experimental")}
    stack.enter_context(_lent(sys.modules, **absent))
    return stack


with _lent_to_jax():
    import neural_tangents as nt
    from neural_tangents import stax
    from neural_tangents._src import empirical, predict

empirical.core = _module("core", jax.core, DShapedArray=type("DShapedArray", (), {}))
empirical.ad = _module(
    "ad", ad, linearize=_linearize, config=jax.config, source_info_util=source_info_util
)
# jnp.size of a mere shape and jnp.dtype of an array are deprecated, and asked for
empirical.jnp = _module("numpy", jnp, size=lambda a: math.prod(a.shape), dtype=lambda a: a.dtype)
empirical.lu = _module("linear_util", linear_util, wrap_init=_wrap_init)
empirical._eqn_vjp_fn = _eqn_vjp_fn
empirical._get_flops = _get_flops
predict.sp = _module("scipy", linalg=_module("linalg", eigvalsh=_eigvalsh))
predict.jax = _module(
    "jax", jax, core=_module("core", jax.core, eval_context=contextlib.nullcontext)
)
for _name in ("_get_cho_solve", "_get_fns_in_eigenbasis"):
    setattr(predict, _name, _outside_traces(getattr(predict, _name)))

__all__ = ["nt", "stax"]
