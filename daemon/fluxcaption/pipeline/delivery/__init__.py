"""Delivery: put a finished track on the server exactly once, and verify that viewers can see it.

A delivery is stored before the server is changed, so that after a crash the next run continues from the stored row and
from what the server lists, never from a belief about what was done. The states of a delivery (`domain/deliveries.py`):

| state     | `sent_at` | meaning                                              | next step                                   |
| --------- | --------- | ---------------------------------------------------- | ------------------------------------------- |
| intended  | no        | nothing was sent; a track of ours that is to be      | upload: delete the replaced track if it     |
|           |           | replaced is kept in `previous` and `previous_ref`    | still exists, then send                     |
| intended  | yes       | the bytes may have arrived                           | confirm; never sent again without checks    |
| uploaded  | yes       | the server answered; the file may still be missing   | confirm                                     |
|           |           | (server contract 7.3)                                |                                             |
| confirmed | yes       | listed with the expected content; the replaced track | removal watch                               |
|           |           | is forgotten                                         |                                             |
| missing   | yes       | was confirmed, and is not listed now                 | removal watch: confirmed again, or refused  |
| edited    | any       | a user changed the file                              | none: the file belongs to the user          |
| refused   | any       | a user removed the track, or ran `undo`              | none until a user requests the track        |
| withdrawn | any       | the daemon removed the track itself                  | a new delivery, if the language is a gap    |

`Delivery.step` says which step of the confirmation was already taken for a sent track:

| step      | meaning                                                          | if the track is listed later                 |
| --------- | ---------------------------------------------------------------- | -------------------------------------------- |
| none      | the quick checks are not over                                    | confirmed                                    |
| refreshed | all quick checks failed, and the server refreshed the item       | confirmed                                    |
| restoring | a new track never appeared, and the replaced one was sent again  | confirmed; the job of the new track fails    |

Rules:

- As long as nothing was sent, a track may be sent. After it was sent, only checks decide, and a second upload follows
  `domain/confirm_policy.py`.
- A replaced track is restored if the new one is refused or never appears. Its bytes are kept until one of the two is listed.
- If the folder is reachable from this machine, a track is replaced by writing over it; then viewers always have one.
- All changes of one item run one after the other (`ItemLocks`): every added or deleted file renumbers the tracks of the
  item, and the server deletes by number.

Modules: `services` builds the rest; `upload`, `confirm`, `restore` and `withdraw` run the stages of a job; `undo` serves the
user's command; `removal_watch` follows delivered tracks during scans; `context`, `preconditions`, `own_tracks` and
`item_locks` are shared by them.
"""
