//! Tensors of the Open Inference Protocol, as JSON or as the binary data that may follow it.

use crate::http::error::ApiError;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// A tensor as it stands in the JSON of a request.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct TensorHeader {
    pub(super) name: String,
    pub(super) shape: Vec<u64>,
    pub(super) datatype: String,
    #[serde(default)]
    pub(super) parameters: TensorParameters,
    /// Its elements, nested or flat; absent where they follow as binary data.
    #[schema(value_type = Option<Object>)]
    pub(super) data: Option<Value>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
pub(super) struct TensorParameters {
    /// How many bytes of the binary data are this tensor's.
    pub(super) binary_data_size: Option<usize>,
}

/// The elements of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Elements {
    Integers(Vec<i64>),
    Texts(Vec<String>),
    Floats(Vec<f32>),
}

/// A tensor that was read, or is to be written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tensor {
    pub(super) name: String,
    pub(super) shape: Vec<u64>,
    pub(super) elements: Elements,
}

/// A tensor as it stands in the JSON of an answer.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TensorBody {
    name: String,
    datatype: &'static str,
    shape: Vec<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<BinarySize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    data: Option<ElementsBody>,
}

#[derive(Debug, Serialize, ToSchema)]
struct BinarySize {
    binary_data_size: usize,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum ElementsBody {
    Integers(Vec<i64>),
    Texts(Vec<String>),
    Floats(Vec<f32>),
}

fn wrong(name: &str, what: &str) -> ApiError {
    ApiError::invalid("inputs", format!("input `{name}` {what}"))
}

impl TensorHeader {
    /// The tensor; takes its part off the front of `binary`.
    pub(super) fn read(self, binary: &mut &[u8]) -> Result<Tensor, ApiError> {
        let Self { name, shape, datatype, parameters, data } = self;
        let count = shape.iter().try_fold(1_u64, |product, &side| product.checked_mul(side));
        let count = count.filter(|&count| count <= 1 << 32).ok_or_else(|| wrong(&name, "is too large"))? as usize;
        let elements = match (parameters.binary_data_size, data) {
            (Some(size), None) => {
                let (own, rest) =
                    binary.split_at_checked(size).ok_or_else(|| wrong(&name, "has less binary data than it says"))?;
                *binary = rest;
                from_binary(&name, &datatype, own)?
            }
            (None, Some(data)) => from_json(&name, &datatype, &data)?,
            _ => return Err(wrong(&name, "needs either `data` or `binary_data_size`")),
        };
        let given = match &elements {
            Elements::Integers(integers) => integers.len(),
            Elements::Texts(texts) => texts.len(),
            Elements::Floats(floats) => floats.len(),
        };
        if given != count {
            return Err(wrong(&name, &format!("has {given} elements, but its shape says {count}")));
        }
        Ok(Tensor { name, shape, elements })
    }
}

fn from_json(name: &str, datatype: &str, data: &Value) -> Result<Elements, ApiError> {
    let mut flat = Vec::new();
    flatten(data, &mut flat);
    let integers = || flat.iter().map(|value| value.as_i64()).collect::<Option<Vec<_>>>();
    match datatype {
        "BYTES" => {
            let texts = flat.iter().map(|value| value.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>();
            texts.map(Elements::Texts).ok_or_else(|| wrong(name, "must hold strings"))
        }
        "INT32" | "INT64" | "UINT32" | "UINT64" => {
            integers().map(Elements::Integers).ok_or_else(|| wrong(name, "must hold integers"))
        }
        _ => Err(unknown_type(name, datatype)),
    }
}

fn flatten<'a>(value: &'a Value, flat: &mut Vec<&'a Value>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| flatten(value, flat)),
        value => flat.push(value),
    }
}

fn from_binary(name: &str, datatype: &str, bytes: &[u8]) -> Result<Elements, ApiError> {
    let whole = |width: usize| {
        if bytes.len().is_multiple_of(width) { Ok(()) } else { Err(wrong(name, "has a broken last element")) }
    };
    match datatype {
        "INT32" | "UINT32" => {
            whole(4)?;
            let signed = datatype == "INT32";
            let number = |chunk: &[u8; 4]| {
                if signed { i64::from(i32::from_le_bytes(*chunk)) } else { i64::from(u32::from_le_bytes(*chunk)) }
            };
            Ok(Elements::Integers(bytes.as_chunks().0.iter().map(number).collect()))
        }
        "INT64" | "UINT64" => {
            whole(8)?;
            Ok(Elements::Integers(bytes.as_chunks().0.iter().map(|chunk| i64::from_le_bytes(*chunk)).collect()))
        }
        "BYTES" => texts(bytes).map(Elements::Texts).ok_or_else(|| wrong(name, "has broken binary strings")),
        _ => Err(unknown_type(name, datatype)),
    }
}

/// Strings, each after its length in four bytes, little end first.
fn texts(mut bytes: &[u8]) -> Option<Vec<String>> {
    let mut texts = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let (text, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        texts.push(String::from_utf8(text.to_vec()).ok()?);
        bytes = rest;
    }
    bytes.is_empty().then_some(texts)
}

fn unknown_type(name: &str, datatype: &str) -> ApiError {
    wrong(name, &format!("has the datatype {datatype}; INT32, INT64, UINT32, UINT64 and BYTES are understood"))
}

impl Tensor {
    /// The tensor as JSON, or its header as JSON with its elements appended to `binary`.
    pub(super) fn write(self, binary: Option<&mut Vec<u8>>) -> TensorBody {
        let Self { name, shape, elements } = self;
        let datatype = match &elements {
            Elements::Integers(_) => "INT64",
            Elements::Texts(_) => "BYTES",
            Elements::Floats(_) => "FP32",
        };
        let Some(binary) = binary else {
            let data = match elements {
                Elements::Integers(integers) => ElementsBody::Integers(integers),
                Elements::Texts(texts) => ElementsBody::Texts(texts),
                Elements::Floats(floats) => ElementsBody::Floats(floats),
            };
            return TensorBody { name, datatype, shape, parameters: None, data: Some(data) };
        };
        let before = binary.len();
        match elements {
            Elements::Integers(integers) => binary.extend(integers.iter().flat_map(|number| number.to_le_bytes())),
            Elements::Floats(floats) => binary.extend(floats.iter().flat_map(|number| number.to_le_bytes())),
            Elements::Texts(texts) => {
                for text in texts {
                    let length = u32::try_from(text.len()).expect("bodies are limited to far less");
                    binary.extend_from_slice(&length.to_le_bytes());
                    binary.extend_from_slice(text.as_bytes());
                }
            }
        }
        let parameters = Some(BinarySize { binary_data_size: binary.len() - before });
        TensorBody { name, datatype, shape, parameters, data: None }
    }

    /// Its rows, if it holds integers: one for a flat tensor.
    pub(super) fn rows(&self) -> Option<Vec<&[i64]>> {
        let Elements::Integers(integers) = &self.elements else { return None };
        match self.shape[..] {
            [_] => Some(vec![integers]),
            [rows, width] if width > 0 => Some(integers.chunks(width as usize).take(rows as usize).collect()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn header(datatype: &str, shape: &[u64], data: Option<Value>, size: Option<usize>) -> TensorHeader {
        let parameters = TensorParameters { binary_data_size: size };
        TensorHeader { name: "x".into(), shape: shape.to_vec(), datatype: datatype.into(), parameters, data }
    }

    #[test]
    fn json_and_binary_mean_the_same() {
        let flat = header("INT64", &[2, 2], Some(json!([1, 2, 3, 4])), None).read(&mut &[][..]).expect("good");
        let nested = header("INT32", &[2, 2], Some(json!([[1, 2], [3, 4]])), None).read(&mut &[][..]).expect("good");
        let mut bytes: &[u8] = &[1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 9];
        let binary = header("INT32", &[2, 2], None, Some(16)).read(&mut bytes).expect("good");
        assert_eq!(flat, nested);
        assert_eq!(flat, binary);
        assert_eq!(bytes, [9]);
        assert_eq!(flat.rows().expect("integers"), [&[1, 2], &[3, 4]]);
        let mut bytes: &[u8] = &[2, 0, 0, 0, b'h', b'i'];
        let text = header("BYTES", &[1], None, Some(6)).read(&mut bytes).expect("good");
        assert_eq!(text.elements, Elements::Texts(vec!["hi".into()]));
        let mut written = Vec::new();
        text.write(Some(&mut written));
        assert_eq!(written, [2, 0, 0, 0, b'h', b'i']);
    }

    #[test]
    fn broken_tensors_are_refused() {
        let check = |header: TensorHeader, mut bytes: &[u8]| assert!(header.read(&mut bytes).is_err());
        check(header("INT64", &[3], Some(json!([1, 2])), None), &[]);
        check(header("INT64", &[2], Some(json!(["a", 2])), None), &[]);
        check(header("FP64", &[1], Some(json!([1.0])), None), &[]);
        check(header("INT64", &[1], None, Some(8)), &[0; 7]);
        check(header("INT64", &[1], None, Some(7)), &[0; 7]);
        check(header("BYTES", &[1], None, Some(5)), &[255, 255, 255, 255, 0]);
        check(header("BYTES", &[1], None, Some(5)), &[1, 0, 0, 0, 255]);
        check(header("INT64", &[u64::MAX, 2], Some(json!([])), None), &[]);
        check(header("INT64", &[1], None, None), &[]);
    }
}
