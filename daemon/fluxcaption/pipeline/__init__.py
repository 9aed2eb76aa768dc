"""The pipeline: from an item of the library to a track beside it.

The path of one job through the modules:

1. `discovery.scanner`, `discovery.enqueue`: a scan, a webhook event, playback or a request finds a gap.
2. `planner`: the decision that the gap is filled, and from which source.
3. `queue.worker_pool`: claims the job, runs one stage after the other, and records each outcome.
4. `captioning.stages`: `acquire` reads a text track (`source_reader`) or transcribes an audio track
   (`transcriber`); `translate` makes the cues of the target language (`track_builder`, `batches`).
5. `delivery`: `upload` delivers the finished track, `confirm` checks that the server lists it.
"""
