"""A toy paper: how two means drift apart."""
