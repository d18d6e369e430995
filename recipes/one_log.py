"""The logs of trainings that followed one another, as one `log.csv` with one `curve.png`.

Usage:
    python recipes/one_log.py FOLDER FIRST/log.csv SECOND/log.csv ...

The steps of each log are counted on from the last one of the log before.
"""

import os
import sys

from bert_tf.report.curves import draw_curves
from bert_tf.training.log import TrainingLog, read_log

folder, *paths = sys.argv[1:]
log, before = TrainingLog(folder, events=False), 0
for path in paths:
    for row in read_log(path):
        last = before + int(row["step"])
        log.add({**row, "step": last})
    before = last
draw_curves(log.rows(), os.path.join(folder, "curve.png"))
