"""Triton's HTTP client for the Open Inference Protocol, unmodified, against a running statmux server.

usage: triton_client.py BASE_URL ENCODER DECODER
"""

import sys
from importlib.metadata import version

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

base_url, encoder, decoder = sys.argv[1:4]
client = triton.InferenceServerClient(base_url.removeprefix("http://"))

assert client.is_server_live() and client.is_server_ready() and client.is_model_ready(encoder)
assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
metadata = client.get_model_metadata(encoder)
assert metadata["outputs"][0]["name"] == "embedding", metadata
assert client.get_model_metadata(decoder)["outputs"][0]["name"] == "output_ids"

ids = np.array([[5, 6, 7], [8, 9, 10]], dtype=np.int64)
vectors = []
for binary_input in (True, False):
    for outputs in (None, [triton.InferRequestedOutput("embedding", binary_data=False)]):
        tensor = triton.InferInput("input_ids", ids.shape, "INT64")
        tensor.set_data_from_numpy(ids, binary_data=binary_input)
        result = client.infer(encoder, [tensor], outputs=outputs, request_id="7")
        assert result.get_response()["id"] == "7"
        vectors.append(result.as_numpy("embedding"))
for vector in vectors:
    assert vector.shape[0] == 2 and vector.dtype == np.float32
    assert np.allclose(vector, vectors[0], atol=1e-4) and np.allclose(np.linalg.norm(vector, axis=1), 1, atol=1e-3)

text = np.array([b"hello"], dtype=np.object_)
tensor = triton.InferInput("text", text.shape, "BYTES")
tensor.set_data_from_numpy(text)
result = client.infer(decoder, [tensor], parameters={"max_tokens": 6, "temperature": 0})
assert result.as_numpy("output_ids").shape[0] == 1 and result.as_numpy("output_ids").shape[1] <= 6
assert isinstance(result.as_numpy("text")[0], bytes)

result = client.infer(decoder, [tensor], parameters={"max_tokens": 6, "temperature": 0, "stop": "a"})
assert b"a" not in result.as_numpy("text")[0]

assert [entry["name"] for entry in client.get_model_repository_index() if entry["state"] == "READY"].count(encoder) == 1
config = client.get_model_config(encoder)
assert config["input"][0]["data_type"] == "TYPE_INT64" and config["output"][0]["name"] == "embedding", config
(statistics,) = client.get_inference_statistics(encoder)["model_stats"]
assert statistics["inference_count"] >= 8 and statistics["inference_stats"]["success"]["ns"] > 0, statistics
assert len(client.get_inference_statistics()["model_stats"]) >= 2

tensor = triton.InferInput("input_ids", ids.shape, "INT64")
tensor.set_data_from_numpy(ids)
for algorithm in ("gzip", "deflate"):
    vector = client.infer(encoder, [tensor], request_compression_algorithm=algorithm).as_numpy("embedding")
    assert np.allclose(vector, vectors[0], atol=1e-4)
# Names with slashes, which this client escapes in paths.
for name in (entry["name"] for entry in client.get_model_repository_index()):
    assert client.is_model_ready(name) and client.get_model_metadata(name)["name"] == name
unknown = triton.InferInput("pixels", ids.shape, "INT64")
unknown.set_data_from_numpy(ids)
try:
    client.infer(encoder, [tensor, unknown])
    raise AssertionError("an unknown input must be refused")
except InferenceServerException as error:
    assert error.status() == "400" and "pixels" in error.message(), error

for arguments in ({"timeout": 1}, {"parameters": {"deadline_ms": 0.001}}):
    try:
        client.infer(encoder, [tensor], **arguments)
        raise AssertionError("a deadline that cannot be met must be refused")
    except InferenceServerException as error:
        assert error.status() == "429", error
try:
    client.infer("no such model", [tensor])
    raise AssertionError("an unknown model must be refused")
except InferenceServerException as error:
    assert error.status() == "404", error

print("tritonclient", version("tritonclient"), "works")
