"""Component: the admission API as an ASGI application, without a server or a broker."""
