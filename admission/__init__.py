"""The decision before a request starts: reserve, renew, settle, release, over HTTP."""
