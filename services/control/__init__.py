"""Control: who may do what, under which policy, at which price. Publishes the configuration."""
