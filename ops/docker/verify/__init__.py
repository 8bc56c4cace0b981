"""Whether the containers do what is promised of them; `make verify-compose`.

A project of its own (name, ports, volumes) is made from docker-compose.yml, measured, driven through its
one port, scaled, and taken away. Needs a Docker engine with Compose; prints figures as JSON.
"""
