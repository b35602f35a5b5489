"""The gateway's side: the client that reserves, renews, settles and emits usage events."""
