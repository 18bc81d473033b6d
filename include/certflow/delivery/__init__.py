"""From the printed certificate to its holder's signature: EMS, the pick-up desk, evidence of both (notice 一(一))."""
