"""What PyTorch and ONNX Runtime take for BERT-base, batch 1, sequence 128, on one thread: the speed to beat.

    pip install torch transformers onnxruntime onnx onnxscript
    taskset -c 0 python crates/candle/scripts/reference_speed.py

Compare with `cargo bench -p statmux-candle -- tensors` on the same otherwise idle machine.
"""

import pathlib
import tempfile
import time

import onnxruntime
import torch
from transformers import BertConfig, BertModel

torch.set_num_threads(1)
model = BertModel(BertConfig(), add_pooling_layer=False).eval()
tokens = torch.randint(1000, 2000, (1, 128))


class Bare(torch.nn.Module):
    def forward(self, tokens):
        return model(tokens).last_hidden_state


def show(name, run, repetitions=20):
    for _ in range(3):
        run()
    times = []
    for _ in range(repetitions):
        start, processor = time.perf_counter(), time.process_time()
        run()
        times.append(((time.perf_counter() - start) * 1e3, (time.process_time() - processor) * 1e3))
    for what, times in zip(("wall", "processor"), zip(*times)):
        times = sorted(times)
        print(f"{name}: {what} time fastest {times[0]:.1f} ms, median {times[len(times) // 2]:.1f} ms")


with torch.inference_mode():
    show(f"PyTorch {torch.__version__}", lambda: model(tokens))
with tempfile.TemporaryDirectory() as folder, torch.no_grad():
    path = pathlib.Path(folder) / "bert.onnx"
    torch.onnx.export(Bare().eval(), (tokens,), path, input_names=["tokens"], dynamo=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    inputs = {"tokens": tokens.numpy()}
    show(f"ONNX Runtime {onnxruntime.__version__}", lambda: session.run(None, inputs))
