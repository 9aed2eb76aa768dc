"""Delivery: put a finished track on the server exactly once, and verify that viewers can see it.

A delivery is stored before the server is changed. After a crash the next run continues from the stored row
and from what the server lists. The states of a delivery (`domain/deliveries.py`):

| state     | sent | meaning                                       | next step                               |
| --------- | ---- | --------------------------------------------- | --------------------------------------- |
| intended  | no   | nothing was sent; the bytes of a track to be  | upload: delete the replaced track if it |
|           |      | replaced are kept (`previous_ref`)            | still exists, then send                 |
| intended  | yes  | the bytes may have arrived                    | confirm                                 |
| uploaded  | yes  | the server answered; the file may be missing  | confirm                                 |
|           |      | (notes/jellyfin-server.md J31)                |                                         |
| confirmed | yes  | listed with the expected content; the bytes   | removal watch                           |
|           |      | of the replaced track are released            |                                         |
| missing   | yes  | was confirmed, and is not listed now          | removal watch: confirmed or refused     |
| edited    | any  | a user changed the file, and owns it now      | none                                    |
| refused   | any  | a user removed the track, or ran `undo`       | none until a user requests the track    |
| withdrawn | any  | the daemon removed the track itself           | a new delivery, if there is a gap       |

"Sent" is `Delivery.sent_at`. `Delivery.step` tells what was already done for a sent track:

| step                   | meaning                                       | if the track is listed then   |
| ---------------------- | --------------------------------------------- | ----------------------------- |
| (none)                 | the quick checks are not over                 | confirmed                     |
| refreshed-after-upload | all quick checks failed, and the item was     | confirmed                     |
|                        | refreshed                                     |                               |
| restoring              | a new track never appeared; this is the       | confirmed; the job of the new |
|                        | replaced one, sent again                      | track fails                   |

Rules:

- A track may be sent as long as nothing was sent. Afterwards only checks decide, and a second upload follows
  `domain/confirm_policy.py`.
- A replaced track is restored if the new one is refused or never appears. Its bytes are kept until one of the
  two is listed.
- A track is replaced by writing over it if its folder is reachable from this machine, so that viewers always
  have one.
- All changes of one item run one after the other (`ItemLocks`): every added or deleted file renumbers the
  tracks of the item, and the server deletes by number.

Modules: `services` builds the others. `upload`, `confirm`, `restore` and `withdraw` run the stages of a job,
`undo` serves the user's command, and `removal_watch` follows delivered tracks during scans. They share
`context`, `preconditions`, `intent`, `own_tracks` and `item_locks`.
"""
