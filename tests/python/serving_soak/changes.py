"""What moves behind the traffic: an alias, a model that is loaded in another form, one that comes and goes."""

import time

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from place import ALIAS_SECONDS

#: After an alias has moved, the version before may answer this long: a look at the registry, and a load on a busy machine.
SETTLED = ALIAS_SECONDS + 9.0


class Changes:
    """Each change with its own pace; `step` makes the next one. `guest` is asked by nobody else."""

    def __init__(self, place, rest, models, standing):
        self.place, self.models, self.standing = place, models, standing
        self.client = triton.InferenceServerClient(rest)
        #: How often each was made, and answers that are in the prediction log.
        self.done, self.predictions = {}, 0
        self._alias = "2"
        self._swapped = "a"

    def step(self):
        for change in (self.alias_moves, self.is_loaded_anew, self.comes_and_goes):
            change()
            self.done[change.__name__] = self.done.get(change.__name__, 0) + 1

    def alias_moves(self):
        """To the other version; the requests of the others say whether it was followed in time."""
        self._alias = "1" if self._alias == "2" else "2"
        standing = self.standing["line"]
        standing.begins(self._alias, time.time())
        self.place.alias(self._alias)
        standing.only_last_after(time.time() + SETTLED)

    def is_loaded_anew(self):
        """Loading what is loaded replaces it, and no request fails."""
        self._swapped = "b" if self._swapped == "a" else "a"
        self.place.swap(self._swapped)
        standing = self.standing["swapped"]
        standing.begins(self._swapped, time.time())
        self.client.load_model("swapped")
        standing.only_last_after(time.time())

    def comes_and_goes(self):
        model = self.models["guest"]
        (name, array), (output, expected) = (next(iter(one.items())) for one in (model.inputs, model.expected["1"]))
        inputs = [triton.InferInput(name, list(array.shape), "FP32").set_data_from_numpy(array)]
        self.client.load_model("guest")
        answer = self.client.infer("guest", inputs).as_numpy(output)
        assert np.allclose(answer, expected, rtol=1e-5), "the guest answers otherwise"
        self.predictions += 1
        self.client.unload_model("guest")
        try:
            self.client.infer("guest", inputs)
        except InferenceServerException as error:
            assert error.status() in ("400", "404"), f"one that is not loaded: {error}"
        else:
            raise AssertionError("the guest answers though it has gone")

    def close(self):
        self.client.close()
