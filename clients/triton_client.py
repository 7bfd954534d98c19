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

tensor = triton.InferInput("input_ids", ids.shape, "INT64")
tensor.set_data_from_numpy(ids)
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
