"""Empirical risk minimisation: the task's loss and nothing else."""

from lookright.methods.method import Method


class ERM(Method):
    """Plain training, the baseline of every comparison (Vapnik, "Statistical Learning Theory", 1998)."""
