# SPDX-License-Identifier: Apache-2.0
"""How the ONNX graph of a decoder is asked, whoever runs it: keys and values are handed on from step to step."""

import numpy


class Decoder:
    """Who runs it sets `inputs` and `outputs` (names) and defines room(name), keys or values before the first token, and run(feed)."""

    def feed(self, ids, past):
        seen = next(iter(past.values())).shape[2] if past else 0
        feed = {"input_ids": numpy.array([ids], numpy.int64)}
        if "attention_mask" in self.inputs:
            feed["attention_mask"] = numpy.ones((1, seen + len(ids)), numpy.int64)
        if "position_ids" in self.inputs:
            feed["position_ids"] = numpy.arange(seen, seen + len(ids), dtype=numpy.int64)[None]
        for name in self.inputs:
            if name.startswith("past"):
                feed[name] = past[name] if past else self.room(name)
        return feed

    def step(self, ids, past):
        """-> logits [ids, vocabulary], what `past` is for the next step."""
        made = self.run(self.feed(ids, past))
        kept = {name.replace("present", "past_key_values", 1): value for name, value in made.items() if name.startswith("present")}
        return made["logits"][0].astype(numpy.float32), kept

    def continuation(self, ids, count):
        logits, past = self.step(ids, {})
        made = [int(logits[-1].argmax())]
        while len(made) < count:
            logits, past = self.step(made[-1:], past)
            made.append(int(logits[-1].argmax()))
        return made

    def logits(self, ids):
        return self.step(ids, {})[0]
