"""What drives the notebooks and the book; none of it is mathematics."""
