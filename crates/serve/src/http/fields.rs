//! What a body may say: a table of fields for each kind of object.
//!
//! A field is [taken](taken) (or [`required`]), or it is one of an API that this server speaks but does not offer:
//! then its [neutral](neutral) values pass, for they ask for nothing, and all others are refused by name. A field in
//! no table is a mistake, and the answer says which one is nearest. `/openapi.json` is written from the same tables.
//!
//! **Invariant:** no field changes its meaning silently: each is done, neutral, or refused. `null` means absent.

use crate::http::json::{FromJson, Json, Wrong};
use statmux_core::files::nearest;
use std::collections::BTreeSet;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{AdditionalProperties, AnyOfBuilder, ObjectBuilder, Schema, SchemaType, Type};

/// An object that is read by tables of fields.
pub(crate) trait Fields: Default + 'static {
    /// All fields that it may have.
    const TABLES: &'static [&'static [Field<Self>]];
}

/// One field of `T`.
pub(crate) struct Field<T> {
    name: &'static str,
    /// For people who read `/openapi.json`.
    about: &'static str,
    kind: Kind<T>,
}

enum Kind<T> {
    Taken { required: bool, schema: fn() -> RefOr<Schema>, take: fn(&mut T, Json) -> Result<(), Wrong> },
    Neutral(&'static [Neutral]),
}

/// A value that asks for nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Neutral {
    /// Whatever it is: it is for whoever keeps the books, and changes no answer.
    Anything,
    Flag(bool),
    Number(f64),
    Text(&'static str),
    EmptyList,
    EmptyObject,
    /// `["…"]`
    Only(&'static str),
    /// `{"type": "…"}`
    Type(&'static str),
}

/// A field that may be given.
pub(crate) const fn taken<T>(
    name: &'static str,
    schema: fn() -> RefOr<Schema>,
    about: &'static str,
    take: fn(&mut T, Json) -> Result<(), Wrong>,
) -> Field<T> {
    Field { name, about, kind: Kind::Taken { required: false, schema, take } }
}

/// A field that must be given.
pub(crate) const fn required<T>(
    name: &'static str,
    schema: fn() -> RefOr<Schema>,
    about: &'static str,
    take: fn(&mut T, Json) -> Result<(), Wrong>,
) -> Field<T> {
    Field { name, about, kind: Kind::Taken { required: true, schema, take } }
}

/// A field of which only these values pass, `null` aside.
pub(crate) const fn neutral<T>(name: &'static str, passes: &'static [Neutral]) -> Field<T> {
    Field { name, about: "", kind: Kind::Neutral(passes) }
}

/// A field that changes no answer.
pub(crate) const fn ignored<T>(name: &'static str) -> Field<T> {
    Field { name, about: "Changes no answer.", kind: Kind::Neutral(&[Neutral::Anything]) }
}

impl<T: Fields> FromJson for T {
    fn from_json(value: Json) -> Result<Self, Wrong> {
        let Json::Object(given) = value else { return Err(value.instead_of("an object")) };
        let mut read = Self::default();
        let mut seen = BTreeSet::new();
        for (name, value) in given {
            let known = Self::TABLES.iter().copied().flatten().find(|field| field.name == name);
            let field = known.ok_or_else(|| unknown::<Self>(&name).in_field(&name))?;
            if !seen.insert(field.name) {
                return Err(Wrong::new("is given twice").in_field(field.name));
            }
            field.read(&mut read, value).map_err(|wrong| wrong.in_field(field.name))?;
        }
        let missing = Self::TABLES.iter().copied().flatten().find(|field| field.must() && !seen.contains(field.name));
        match missing {
            Some(field) => Err(Wrong::new("is missing").in_field(field.name)),
            None => Ok(read),
        }
    }
}

impl<T> Field<T> {
    fn must(&self) -> bool {
        matches!(self.kind, Kind::Taken { required: true, .. })
    }

    fn read(&self, into: &mut T, value: Json) -> Result<(), Wrong> {
        match &self.kind {
            Kind::Taken { required: false, .. } | Kind::Neutral(_) if value == Json::Null => Ok(()),
            Kind::Taken { take, .. } => take(into, value),
            Kind::Neutral(passes) if passes.iter().any(|neutral| neutral.is(&value)) => Ok(()),
            Kind::Neutral(passes) => Err(Wrong::new(format!("is not offered: {}", remedy(passes)))),
        }
    }
}

impl Neutral {
    fn is(self, value: &Json) -> bool {
        match (self, value) {
            (Self::Anything, _) => true,
            (Self::Flag(neutral), &Json::Bool(given)) => neutral == given,
            (Self::Number(neutral), &Json::Integer(given)) => neutral == given as f64,
            (Self::Number(neutral), &Json::Number(given)) => neutral == given,
            (Self::Text(neutral), Json::Text(given)) => neutral == given,
            (Self::EmptyList, Json::Integers(numbers)) => numbers.is_empty(),
            (Self::EmptyObject, Json::Object(fields)) => fields.is_empty(),
            (Self::Only(neutral), Json::List(items)) => matches!(&items[..], [Json::Text(given)] if given == neutral),
            (Self::Type(neutral), Json::Object(fields)) => {
                matches!(&fields[..], [(name, Json::Text(given))] if name == "type" && given == neutral)
            }
            _ => false,
        }
    }

    fn written(self) -> String {
        match self {
            Self::Anything => "anything".to_owned(),
            Self::Flag(flag) => flag.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => format!("\"{text}\""),
            Self::EmptyList => "[]".to_owned(),
            Self::EmptyObject => "{}".to_owned(),
            Self::Only(text) => format!("[\"{text}\"]"),
            Self::Type(text) => format!("{{\"type\": \"{text}\"}}"),
        }
    }
}

fn remedy(passes: &[Neutral]) -> String {
    let written: Vec<String> = passes.iter().map(|neutral| neutral.written()).collect();
    match &written[..] {
        [] => "leave it out".to_owned(),
        values => format!("leave it out, or give {}", values.join(" or ")),
    }
}

fn unknown<T: Fields>(name: &str) -> Wrong {
    let known: Vec<&str> = T::TABLES.iter().copied().flatten().map(|field| field.name).collect();
    Wrong::new(match nearest(name, &known) {
        Some(near) => format!("is no field here; did you mean `{near}`?"),
        None => format!("is no field here; there are `{}`", known.join("`, `")),
    })
}

/// The schema of `T` as its tables say.
pub(crate) fn schema<T: Fields>() -> RefOr<Schema> {
    let mut object = ObjectBuilder::new().schema_type(Type::Object);
    for field in T::TABLES.iter().copied().flatten() {
        object = match field.kind {
            Kind::Taken { required: true, schema, .. } => {
                object.property(field.name, described(schema(), field.about, false)).required(field.name)
            }
            Kind::Taken { schema, .. } => object.property(field.name, described(schema(), field.about, true)),
            Kind::Neutral(passes) => {
                let about = match field.about {
                    "" => format!("Not offered: {}.", remedy(passes)),
                    about => about.to_owned(),
                };
                let any = ObjectBuilder::new().schema_type(SchemaType::AnyValue).description(Some(about));
                object.property(field.name, any)
            }
        };
    }
    object.additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(false))).into()
}

/// The schema of a list of `T`.
pub(crate) fn list_schema<T: Fields>() -> RefOr<Schema> {
    utoipa::openapi::ArrayBuilder::new().items(schema::<T>()).into()
}

/// The schema of a value that has one of several.
pub(crate) fn any_of(schemas: impl IntoIterator<Item = RefOr<Schema>>) -> RefOr<Schema> {
    let any = schemas.into_iter().fold(AnyOfBuilder::new(), AnyOfBuilder::item);
    RefOr::T(Schema::AnyOf(any.build()))
}

/// `schema` with a word about the field; optional fields may be `null`.
fn described(schema: RefOr<Schema>, about: &str, optional: bool) -> RefOr<Schema> {
    let about = Some(about.to_owned());
    RefOr::T(match schema {
        RefOr::T(Schema::Object(mut object)) => {
            object.description = about;
            if let (true, SchemaType::Type(kind)) = (optional, &object.schema_type) {
                object.schema_type = SchemaType::Array(vec![kind.clone(), Type::Null]);
            }
            Schema::Object(object)
        }
        RefOr::T(Schema::Array(mut array)) => {
            array.description = about;
            if optional {
                array.schema_type = SchemaType::Array(vec![Type::Array, Type::Null]);
            }
            Schema::Array(array)
        }
        RefOr::T(Schema::AnyOf(mut any)) => {
            any.description = about;
            if optional {
                any.items.push(ObjectBuilder::new().schema_type(Type::Null).into());
            }
            Schema::AnyOf(any)
        }
        other => return other,
    })
}
