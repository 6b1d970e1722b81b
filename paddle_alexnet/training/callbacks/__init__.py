"""Callbacks of `paddle.Model.fit`, in the order of `callback_order.py`.

`fit` calls `on_epoch_end` before validation, so callbacks that depend on the validation loss use `on_eval_end`:
`RecordEpoch` adds the epoch to the `History`, and later callbacks read `history.last`. The `loss` in the logs is the
exact mean. `fit` calls nothing after an error or Ctrl-C, so callbacks with resources have `close()`.
"""
