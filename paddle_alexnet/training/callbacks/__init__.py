"""What happens around `paddle.Model.fit`, one job a callback, called in the order of the list in `trainer.py`.

`fit` calls `on_epoch_end` before it evaluates, so what depends on the validation loss lives in `on_eval_end`:
`RecordEpoch` comes first there and adds the epoch to the `History`, the callbacks after it read `history.last`.
The `loss` in the logs is the exact mean, see `metrics.py`. `fit` calls nothing when it is left by an error or Ctrl-C:
a callback that holds something has `close()`, which the trainer calls.
"""
