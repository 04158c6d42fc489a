"""Files of data for `ratchet demo --data`, written sentence by sentence from small parts."""
