//! Tensors of the Open Inference Protocol, as JSON or as the binary data that may follow it.

use crate::http::error::ApiError;
use crate::http::fields::{Field, Fields, Neutral, neutral, required, schema, taken};
use crate::http::json::{FromJson, Json};
use serde::Serialize;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType};
use utoipa::{PartialSchema, ToSchema};

/// A tensor as it stands in the JSON of a request.
#[derive(Debug, Default)]
pub(super) struct TensorHeader {
    pub(super) name: String,
    pub(super) shape: Vec<u64>,
    pub(super) datatype: String,
    pub(super) parameters: Option<TensorParameters>,
    pub(super) data: Option<Json>,
}

#[derive(Debug, Default)]
pub(super) struct TensorParameters {
    pub(super) binary_data_size: Option<u64>,
}

impl Fields for TensorHeader {
    const TABLES: &'static [&'static [Field<Self>]] = &[&[
        required("name", String::schema, "", |tensor, v| String::from_json(v).map(|name| tensor.name = name)),
        required("shape", Vec::<u64>::schema, "", |tensor, v| Vec::from_json(v).map(|shape| tensor.shape = shape)),
        required("datatype", String::schema, "INT32, INT64, UINT32, UINT64 or BYTES.", |tensor, v| {
            String::from_json(v).map(|datatype| tensor.datatype = datatype)
        }),
        taken("parameters", schema::<TensorParameters>, "", |tensor, v| v.put(&mut tensor.parameters)),
        taken("data", any, "Its elements, nested or flat; absent where they follow as binary data.", |tensor, v| {
            tensor.data = Some(v);
            Ok(())
        }),
    ]];
}

impl Fields for TensorParameters {
    const TABLES: &'static [&'static [Field<Self>]] = &[&[
        taken("binary_data_size", u64::schema, "How many bytes of the binary data are this tensor's.", |of, v| {
            v.put(&mut of.binary_data_size)
        }),
        neutral("shared_memory_region", &[]),
        neutral("shared_memory_offset", &[Neutral::Number(0.0)]),
        neutral("shared_memory_byte_size", &[Neutral::Number(0.0)]),
    ]];
}

fn any() -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(SchemaType::AnyValue).into()
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
        let elements = match (parameters.and_then(|parameters| parameters.binary_data_size), data) {
            (Some(size), None) => {
                let part = usize::try_from(size).ok().and_then(|size| binary.split_at_checked(size));
                let (own, rest) = part.ok_or_else(|| wrong(&name, "has less binary data than it says"))?;
                *binary = rest;
                from_binary(&name, &datatype, own)?
            }
            (None, Some(data)) => from_json(&name, &datatype, &shape, data)?,
            (Some(_), Some(_)) => return Err(wrong(&name, "has both `data` and `binary_data_size`: give one of them")),
            (None, None) => return Err(wrong(&name, "needs either `data` or `binary_data_size`")),
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

fn from_json(name: &str, datatype: &str, shape: &[u64], data: Json) -> Result<Elements, ApiError> {
    match datatype {
        "BYTES" => {
            let mut texts = Vec::new();
            let mut take = |value| match value {
                Json::Text(text) => {
                    texts.push(text);
                    Ok(())
                }
                other => Err(wrong(name, &other.instead_of("a text").what())),
            };
            flatten(name, data, shape, &mut take)?;
            Ok(Elements::Texts(texts))
        }
        "INT32" | "INT64" | "UINT32" | "UINT64" => {
            let (least, most) = match datatype {
                "INT32" => (i64::from(i32::MIN), i64::from(i32::MAX)),
                "UINT32" => (0, i64::from(u32::MAX)),
                "UINT64" => (0, i64::MAX),
                _ => (i64::MIN, i64::MAX),
            };
            let mut integers = Vec::new();
            let mut take = |value| match value {
                Json::Integer(number) if (least..=most).contains(&number) => {
                    integers.push(number);
                    Ok(())
                }
                other => Err(wrong(name, &other.instead_of(&format!("a whole number within {datatype}")).what())),
            };
            flatten(name, data, shape, &mut take)?;
            Ok(Elements::Integers(integers))
        }
        _ => Err(unknown_type(name, datatype)),
    }
}

/// Takes the elements of `data`, which is flat or nested exactly as `shape` says.
fn flatten(
    name: &str,
    data: Json,
    shape: &[u64],
    take: &mut impl FnMut(Json) -> Result<(), ApiError>,
) -> Result<(), ApiError> {
    let items = match data {
        Json::Integers(numbers) => return numbers.into_iter().map(Json::Integer).try_for_each(take),
        Json::List(items) => items,
        other => return Err(wrong(name, &format!("`data` {}", other.instead_of("a list").what()))),
    };
    if !matches!(items[0], Json::List(_) | Json::Integers(_)) {
        return items.into_iter().try_for_each(take);
    }
    let inner = shape.get(1..).unwrap_or_default();
    for item in items {
        let length = match &item {
            Json::Integers(numbers) => numbers.len(),
            Json::List(items) => items.len(),
            other => return Err(wrong(name, &other.instead_of("a list, as the items before it").what())),
        };
        if inner.first() != Some(&(length as u64)) {
            return Err(wrong(name, &format!("is nested otherwise than its shape {shape:?} says")));
        }
        flatten(name, item, inner, take)?;
    }
    Ok(())
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

impl TensorBody {
    /// Whether its elements stand in the binary data.
    pub(super) fn is_binary(&self) -> bool {
        self.parameters.is_some()
    }
}

impl Tensor {
    /// The tensor as JSON, or its header as JSON with its elements appended to `binary`.
    pub(super) fn write(self, binary: Option<&mut Vec<u8>>) -> TensorBody {
        let datatype = self.datatype();
        let Self { name, shape, elements } = self;
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

    /// The datatype of its elements, integers of all widths as `INT64`.
    pub(super) fn datatype(&self) -> &'static str {
        match self.elements {
            Elements::Integers(_) => "INT64",
            Elements::Texts(_) => "BYTES",
            Elements::Floats(_) => "FP32",
        }
    }

    /// About how many bytes its elements take.
    pub(super) fn size(&self) -> usize {
        match &self.elements {
            Elements::Integers(integers) => size_of_val(&integers[..]),
            Elements::Floats(floats) => size_of_val(&floats[..]),
            Elements::Texts(texts) => texts.iter().map(String::len).sum(),
        }
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
    use crate::http::budget::Budget;
    use serde_json::{Value, json};

    fn header(datatype: &str, shape: &[u64], data: Option<Value>, size: Option<u64>) -> TensorHeader {
        let parameters = Some(TensorParameters { binary_data_size: size });
        let mut room = Budget::new(1 << 20, 0).share();
        let data = data.map(|data| Json::parse(data.to_string().as_bytes(), &mut room).expect("JSON"));
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
        check(header("INT64", &[1], Some(json!([1])), Some(8)), &[0; 8]);
        check(header("INT64", &[4, 1], Some(json!([[1, 2], [3, 4]])), None), &[]);
        check(header("INT64", &[2, 2], Some(json!([[1, 2, 3], [4]])), None), &[]);
        check(header("INT64", &[4], Some(json!([[1, 2], [3, 4]])), None), &[]);
        check(header("INT64", &[2], Some(json!([1, [2]])), None), &[]);
        check(header("INT64", &[1], Some(json!(1)), None), &[]);
        check(header("INT32", &[1], Some(json!([1_u64 << 31])), None), &[]);
        check(header("UINT32", &[1], Some(json!([-1])), None), &[]);
        check(header("BYTES", &[1], Some(json!([1])), None), &[]);
    }
}
