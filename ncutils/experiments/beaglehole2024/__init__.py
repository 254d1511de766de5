"""Cases of P3: average gradient outer product as a mechanism for deep neural collapse."""
