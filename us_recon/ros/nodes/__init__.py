"""The three nodes: each wires parameters, subscriptions and publishers to one core object."""
