"""The store keeps one reading for each leased place, keeps it fresh, and never turns a fault into a value.

`snapshots` is what other folders use. `schedule` decides when each place is read: `due_times` has the due times,
`fair_queue` and `rate_limit` hold back reads of a busy backend, and `place_state` is what is known of one place.
"""
