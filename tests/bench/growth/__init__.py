"""What a request, a settlement and an audit entry cost in small and in large books."""
