"""A hook plugin that watches how much of the gradient's direction stays from step to step."""

import numpy as np

from lunar_core import hookimpl


class SignAgreement:
    """Adds ``sign_agreement``, the share of gradient signs that equal the last step's, to each epoch's log record."""

    def __init__(self):
        self.last = {}
        self.shares = []

    @hookimpl(band="editor")
    def lunar_fit_start(self):
        self.last, self.shares = {}, []

    @hookimpl(band="editor")
    def lunar_grads_ready(self, grads):
        signs = {name: np.sign(grad) for name, grad in grads.items()}
        if self.last:
            same = sum(int((signs[n] == self.last[n]).sum()) for n in signs if n in self.last)
            self.shares.append(same / max(sum(s.size for s in signs.values()), 1))
        self.last = signs

    @hookimpl(band="editor")
    def lunar_epoch_end(self, metrics):
        if not self.shares:
            return None
        share, self.shares = float(np.mean(self.shares)), []
        return {**metrics, "sign_agreement": share}


agreement = SignAgreement()
