"""Metering and sharing: usage folded into the ledger, ticks that allocate, history and scaling."""
