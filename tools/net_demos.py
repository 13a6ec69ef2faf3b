#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Real nets that come in Python packages, samples of what they read, and how well a file does: the demonstrations of docs/small-nets.md.

Usage: net_demos.py files|lines|voice OUT [--sound A.wav --test B.wav]     writes OUT/net.onnx, OUT/samples.npz (to calibrate with), OUT/test.npz and, of files, OUT/labels.npy
       net_demos.py files|lines|voice OUT --judge NET.onnx...              prints how each does on what it has not seen, in ONNX Runtime

files: kinds of files (package magika), of /usr, labelled by their endings. lines: text in pictures (rapidocr-onnxruntime), words of tools/words/pages.txt, rendered.
voice: whether someone speaks (silero-vad), in mono recordings at 16 kHz; each frame is heard with the state that the file itself has made.
Python with numpy, onnxruntime; pillow for lines.
"""

import argparse
import importlib.util
import json
import pathlib
import random
import shutil
import wave

import numpy as np
import onnxruntime


def in_package(package, pattern):
    """A file of an installed package, which is not imported; None where it is not installed."""
    found = importlib.util.find_spec(package)
    return None if found is None else next(pathlib.Path(found.origin).parent.rglob(pattern))


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


# --- kinds of files ---------------------------------------------------------------------------------------------------------------------------

# Endings that say what a file is; many of .txt, .md and .html are templates or lists of other kinds.
KINDS = {".py": "python", ".c": "c", ".png": "png", ".so": "elf", ".json": "json", ".pl": "perl", ".pm": "perl", ".sh": "shell", ".css": "css", ".js": "javascript",
         ".xml": "xml", ".gz": "gzip", ".pyc": "pythonbytecode", ".ttf": "ttf", ".svg": "svg", ".yaml": "yaml", ".cmake": "cmake"}


def file_net():
    return in_package("magika", "model.onnx")


def file_samples():
    """Bytes [files, 2048] and classes: at most 40 of an ending, in an order of chance."""
    config = json.loads(next(file_net().parent.glob("config*.json")).read_text())
    names, padding, size = config["target_labels_space"], config.get("padding_token", 256), 1024
    x, labels, counts = [], [], {}
    for path in sorted(pathlib.Path("/usr").rglob("*")):
        kind = KINDS.get(path.suffix)
        if kind not in names or counts.get(kind, 0) >= 40 or not path.is_file() or path.is_symlink():
            continue
        try:
            content = path.read_bytes()
        except OSError:
            continue
        if len(content) < 64:
            continue
        counts[kind] = counts.get(kind, 0) + 1
        begin, end = list(content[:4096].lstrip()[:size]), list(content[-4096:].rstrip()[-size:])
        x.append(begin + [padding] * (size - len(begin)) + [padding] * (size - len(end)) + end)
        labels.append(names.index(kind))
    order = np.random.default_rng(5).permutation(len(x))
    return np.array(x, np.int32)[order], np.array(labels)[order]


# --- text in pictures -------------------------------------------------------------------------------------------------------------------------

LINE_HEIGHT, LINE_WIDTH = 48, 320


def line_net():
    return in_package("rapidocr_onnxruntime", "ch_PP-OCRv4_rec_infer.onnx")


def rendered_lines(count, widest=LINE_WIDTH):
    """Lines of words, black on white and noisy, [48, as wide as they are] in -1 to 1, and what they say."""
    from PIL import Image, ImageDraw, ImageFont

    draw_lots, noise = random.Random(7), np.random.default_rng(7)
    words = (pathlib.Path(__file__).resolve().parent / "words/pages.txt").read_text().split()
    faces = sorted(pathlib.Path("/usr/share/fonts/truetype/dejavu").glob("DejaVuS*.ttf"))
    pictures, texts = [], []
    while len(texts) < count:
        text = " ".join(draw_lots.choices(words, k=draw_lots.randint(1, 4)))
        font = ImageFont.truetype(str(draw_lots.choice(faces)), 32) if faces else ImageFont.load_default(32)
        left, top, right, bottom = font.getbbox(text)
        width, height = int(right - left) + 16, int(bottom - top) + 12
        scaled = round(width * LINE_HEIGHT / height)
        if scaled > widest:
            continue
        picture = Image.new("L", (width, height), 255)
        ImageDraw.Draw(picture).text((8 - left, 6 - top), text, fill=draw_lots.randint(0, 90), font=font)
        seen = np.asarray(picture.resize((scaled, LINE_HEIGHT)), np.float32)
        pictures.append((np.clip(seen + noise.normal(0, 12, seen.shape), 0, 255) / 127.5 - 1).astype(np.float32))
        texts.append(text)
    return pictures, texts


def padded(pictures, width):
    """[count, 3, 48, width], nothing (0) behind each picture."""
    out = np.zeros((len(pictures), 3, LINE_HEIGHT, width), np.float32)
    for place, picture in zip(out, pictures):
        place[:, :, : picture.shape[1]] = picture
    return out


def line_samples(count):
    """Pictures [count, 3, 48, 320], and what they say."""
    pictures, texts = rendered_lines(count)
    return padded(pictures, LINE_WIDTH), texts


DIRECTION_WIDTH = 192


def direction_net():
    return in_package("rapidocr_onnxruntime", "ch_ppocr_mobile_v2.0_cls_infer.onnx")


def direction_samples(count):
    """Pictures [count, 3, 48, 192] of lines, by chance upside down (label 1) or not (0)."""
    pictures, _ = rendered_lines(count, DIRECTION_WIDTH)
    turned = np.random.default_rng(11).integers(0, 2, count)
    return padded([p[::-1, ::-1] if t else p for p, t in zip(pictures, turned)], DIRECTION_WIDTH), turned


def read_line(shares, characters):
    """The best class of every place, each run of one once, blanks left out."""
    best = shares.argmax(-1)
    return "".join(characters[i] for place, i in enumerate(best) if i != 0 and (place == 0 or i != best[place - 1]))


def edits(a, b):
    row = list(range(len(b) + 1))
    for i, one in enumerate(a, 1):
        row, before = [i], row
        for j, other in enumerate(b, 1):
            row.append(min(row[-1] + 1, before[j] + 1, before[j - 1] + (one != other)))
    return row[-1]


def characters_of_lines():
    return ["", *session(line_net()).get_modelmeta().custom_metadata_map["character"].split("\n"), " "]


def character_error(outputs, texts):
    """Percent of the characters that have to be changed. outputs: a list of the net's, [1, places, classes] each."""
    characters = characters_of_lines()
    wrong = sum(edits(read_line(shares[0], characters), text) for shares, text in zip(outputs, texts))
    return 100 * wrong / sum(map(len, texts))


# --- voices -----------------------------------------------------------------------------------------------------------------------------------

RATE, FRAME, CONTEXT = 16000, 512, 64


def voice_net():
    return in_package("silero_vad", "silero_vad_16k_op15.onnx")


def frames(path):
    with wave.open(str(path)) as file:
        if (file.getframerate(), file.getnchannels(), file.getsampwidth()) != (RATE, 1, 2):
            raise SystemExit(f"{path}: is no mono recording of 16 bits at 16 kHz")
        sound = np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 32768
    return sound[: len(sound) // FRAME * FRAME].reshape(-1, FRAME)


def hear(path, sound):
    """Shares by frame, and what the net has read, its own state included."""
    running, state, context, made, seen = session(path), np.zeros((2, 1, 128), np.float32), np.zeros(CONTEXT, np.float32), [], []
    wanted = {i.name for i in running.get_inputs()}
    for frame in sound:
        feed = {"input": np.concatenate([context, frame])[None], "state": state, "sr": np.array(RATE, np.int64)}
        seen.append(feed)
        share, state = running.run(None, {n: a for n, a in feed.items() if n in wanted})
        context = frame[-CONTEXT:]
        made.append([share])
    return made, seen


def voice_samples(net, sound):
    _, seen = hear(net, frames(sound))
    return {"input": np.concatenate([s["input"] for s in seen]), "state": np.stack([s["state"] for s in seen])}


# --- what is written, and how it is judged ----------------------------------------------------------------------------------------------------

CALIBRATION = {"files": 64, "lines": 60}


def write(demo, options):
    net = {"files": file_net, "lines": line_net, "voice": voice_net}[demo]()
    if net is None:
        raise SystemExit("the package that has this net is not installed: magika, rapidocr-onnxruntime or silero-vad")
    options.out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(net, options.out / "net.onnx")
    if demo == "voice":
        calibration = voice_samples(net, options.sound)
        every = max(1, len(calibration["input"]) // 128)
        calibration, test = {n: a[::every] for n, a in calibration.items()}, voice_samples(net, options.test)
    else:
        name, (x, labels) = ("bytes", file_samples()) if demo == "files" else ("x", line_samples(CALIBRATION[demo] + 120))
        count = CALIBRATION[demo]
        calibration, test = {name: x[:count]}, {name: x[count:]}
        if demo == "files":
            np.save(options.out / "labels.npy", labels[count:])
        else:
            (options.out / "texts.json").write_text(json.dumps(labels[count:]))
    np.savez(options.out / "samples.npz", **calibration)
    np.savez(options.out / "test.npz", **test)


def judge(demo, options):
    test = np.load(options.out / "test.npz")
    if demo == "voice":
        sound = frames(options.test)
        said = [share[0].item() > 0.5 for share in hear(options.out / "net.onnx", sound)[0]]
    for path in options.judge:
        if demo == "voice":
            decided = [share[0].item() > 0.5 for share in hear(path, sound)[0]]
            result = f"{100 * np.mean(np.equal(decided, said)):.2f} % of {len(said)} frames as net.onnx decides"
        else:
            running, name = session(path), test.files[0]
            outputs = [running.run(None, {running.get_inputs()[0].name: sample[None]})[0] for sample in test[name]]
            if demo == "files":
                right = np.mean([o.argmax() for o in outputs] == np.load(options.out / "labels.npy"))
                result = f"{100 * right:.2f} % of {len(outputs)} files"
            else:
                result = f"{character_error(outputs, json.loads((options.out / 'texts.json').read_text())):.2f} % of characters wrong"
        print(f"{path}: {result}, {pathlib.Path(path).stat().st_size / 1e6:.3f} MB")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demo", choices=["files", "lines", "voice"])
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--sound", type=pathlib.Path, help="of voice: the recording to calibrate with")
    parser.add_argument("--test", type=pathlib.Path, help="of voice: the recording to be judged on")
    parser.add_argument("--judge", nargs="+", metavar="NET")
    options = parser.parse_args()
    if options.demo == "voice" and (options.test is None or (options.sound is None and not options.judge)):
        parser.error("voice takes --sound A.wav and --test B.wav, mono recordings at 16 kHz")
    judge(options.demo, options) if options.judge else write(options.demo, options)


if __name__ == "__main__":
    main()
