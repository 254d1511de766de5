"""One module for each group of experiments: a frozen ``Config`` and ``run``."""
