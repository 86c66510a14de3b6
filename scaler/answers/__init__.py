"""Decides what KEDA is told about each trigger, and when. This docstring says in which order to read the folder.

One GetMetrics call:

1. `server.request_cache` asks the `Registry` for the `ScaledObject` that the request names. The first request parses
   the metadata, checks the access rules and the limits, and keeps the result; later ones find it.
2. `Answers.answer_nowait` returns the `Answer` of the call before, if it is still valid and no place has a newer
   reading.
3. Otherwise it renews the leases (`Leases`), which tell the store which places to keep fresh, and collects one reading
   for each place. If one has to be read first, `answer_nowait` returns None, and `Answers.answer` waits and tries
   again.
4. `Trigger.assess` turns the readings into an `Assessment`: metric values, activity, reasons. That is `Answer.raw`.
5. `settle` compares it with what KEDA was told before, and lets it become lower or inactive only when the readings
   have proved it. The result is `Answer.told`, which KEDA gets.
6. Without a usable reading `hold` repeats what KEDA was told last, if that was active and is not too old; otherwise the
   call fails with the `Fault` of the place. It never returns 0 or inactive instead.

IsActive gets what the GetMetrics within the two seconds before it got, and otherwise goes through steps 1 to 6 itself.
A stream (StreamIsActive) does the same whenever the store has a new reading, and sends `true` when the trigger is
active.

So KEDA gets, for a trigger whose places

- can be read: the values of readings at most `refreshSeconds` old, or `staleSeconds` where a rate limit delays the
  reads;
- fail, for up to `staleSeconds` after the last good reading: the values of that reading;
- fail for longer, if it was active: the same values for another `holdSeconds`, then an error; if it was inactive: an
  error;
- can be read again: at once what is higher or active, and what is lower or inactive after `settleSeconds`;
- have not been read well by this process before: an error until they are, and until the last fault of a place, or the
  last start of its backend, is `settleSeconds` past.

With `refreshSeconds: "0"` every call waits for a read of its own, and nothing older is served or held.

Read in this order:

- `state`: the frozen values that hold all that changes about a trigger (`Answer`, `Poll`, `Lease`)
- `scaledobject`: one trigger of one ScaledObject, with those values
- `settling`: the rule of steps 5 and 6, as pure functions
- `answer`: steps 2 to 6
- `registry` and `leases`: steps 1 and 3
- `listeners` and `streams`: which streams a new reading wakes, and when a stream sends
- `pod_costs` and `sparing`: `spareBusy`, which writes deletion costs to pods and never changes an answer
"""
