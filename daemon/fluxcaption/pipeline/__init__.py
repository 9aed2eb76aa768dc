"""The pipeline: from an item of the library to a track beside it.

The path of one job through the modules:

1. `discovery.scanner`, `discovery.enqueue`: a scan, a webhook event, playback or a request finds a gap.
2. `planner`: the decision that the gap is filled, and from which source.
3. `queue.worker_pool`: claims the job, runs one stage after the other, and records each outcome.
4. `captioning.stages`: `acquire` reads a text track (`source_reader`) or transcribes an audio track
   (`transcriber`); `translate` makes the cues of the target language (`track_builder`, `batches`).
5. `delivery.upload`: sends the finished track, in the place of an earlier one if there is one.
6. `delivery.confirm`: reads the track back from the server; `delivery.restore` brings back an earlier track
   if the new one is refused or never appears.
7. `delivery.removal_watch`: follows the delivered track during later scans.
"""
