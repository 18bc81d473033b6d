"""What the authority sends back: fetch, reconcile, apply."""
