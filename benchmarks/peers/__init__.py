"""The same chain of four stages in several systems, each behind `benchmarks.peers.chain.Chain`."""
