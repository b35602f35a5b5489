"""The words the processes share: units, windows, pools, events, state, reports, topics, SQL."""
