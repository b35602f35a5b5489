"""Reconciliation that anybody can run: totals or a window, recomputed and compared."""
