"""The simulated world: the real machines, one seeded clock, and a network that fails."""
