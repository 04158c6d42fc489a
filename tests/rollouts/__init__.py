"""Bad adapters in the real system: refused by the gate, stopped in the canary, or rolled back."""
