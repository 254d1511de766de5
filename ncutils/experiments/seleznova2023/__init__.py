"""Cases of P2: neural (tangent kernel) collapse."""
