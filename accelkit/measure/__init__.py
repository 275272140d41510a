"""Proof and measurement: parity, evidence, bench, statistics of the server, and the Result that holds them."""
