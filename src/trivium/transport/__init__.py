"""The only sockets to upstreams, and the server's side of HTTP/1.1."""
