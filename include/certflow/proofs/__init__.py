"""Proofs for those who wait for a certificate, or can get none any more (notice 二(二)): asked, issued, revoked."""
