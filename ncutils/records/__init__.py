"""What keeps the books: results, claims, coverage, papers, and what a result depends on."""
