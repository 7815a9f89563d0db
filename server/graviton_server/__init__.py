"""The engine behind Graviton: namespace, packs, targets, upkeep, and the command line."""
