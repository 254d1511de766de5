"""Packages that need help to run under a current JAX, one module each."""
