"""Neural collapse, recomputed.

One module for each concept; import the module you need::

    from ncutils import kernels, metrics

Importing ``ncutils`` itself imports nothing else and sets no global state.
"""

__version__ = "0.1.0"
