"""How the servers are started: on one machine, in containers, in a cluster."""
