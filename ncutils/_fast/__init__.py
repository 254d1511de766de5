"""XLA is slow at some things on a CPU: what goes round it. A file goes when its benchmark says so.

The rule: a file stays while its benchmark shows 1.5 times the speed of the plain form or more.
"""
