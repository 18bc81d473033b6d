"""Verification for employers, and of proofs (notice 三): whether what is asked agrees with the database, no more."""
