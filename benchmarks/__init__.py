"""Measurements beside a peer in the same run: machines are shared, so ratios say more than rates."""
