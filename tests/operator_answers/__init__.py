"""Expressions of other libraries, their recorded results, and ours that equal them."""
