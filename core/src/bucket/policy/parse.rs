//! From JSON to statements.

use super::actions::ActionPattern;
use super::condition::Condition;
use super::json::Json;
use super::principal::{Principal, Principals};
use super::{Effect, PolicyError, ResourcePattern, Selection, Statement, wildcard};
use crate::ids::BucketName;

type Fields = Vec<(String, Json)>;

const ARN: &str = "arn:aws:s3:::";

/// What the statements of one policy have in common.
struct Rules<'a> {
    bucket: &'a BucketName,
    /// Version 2012-10-17: `${` begins a variable.
    variables: bool,
}

/// A place in a policy, for messages.
#[derive(Clone)]
struct Place(String);

impl Place {
    fn field(&self, name: &str) -> Self {
        Self(format!("{}, {name}", self.0))
    }

    fn refuse<T>(&self, why: impl Into<String>) -> Result<T, PolicyError> {
        Err(PolicyError::Malformed { place: self.0.clone(), why: why.into() })
    }
}

/// Reads the statements of a policy.
pub(super) fn statements(text: &str, bucket: &BucketName) -> Result<Vec<Statement>, PolicyError> {
    let json = serde_json::from_str(text).map_err(|e| PolicyError::Json(e.to_string()))?;
    let top = Place("policy".to_owned());
    let mut fields = object(&top, json)?;
    let version = optional_text(&top, &mut fields, "Version")?;
    let variables = match version.as_deref() {
        Some("2012-10-17") => true,
        Some("2008-10-17") | None => false,
        Some(_) => return top.field("Version").refuse("it must be 2012-10-17 or 2008-10-17"),
    };
    optional_text(&top, &mut fields, "Id")?;
    let list = match take(&mut fields, "Statement") {
        Some(Json::List(list)) => list,
        Some(one @ Json::Object(_)) => vec![one],
        Some(other) => {
            let why = format!("it must be a list of statements, not {}", other.kind());
            return top.field("Statement").refuse(why);
        }
        None => return top.refuse("Statement is missing"),
    };
    nothing_left(&top, &fields)?;
    if list.is_empty() {
        return top.field("Statement").refuse("there must be at least one statement");
    }
    let rules = Rules { bucket, variables };
    let mut statements: Vec<Statement> = Vec::new();
    for (i, json) in list.into_iter().enumerate() {
        let place = Place(format!("statement {}", i + 1));
        let statement = rules.statement(place.clone(), json)?;
        if statement.sid.is_some() && statements.iter().any(|s| s.sid == statement.sid) {
            return place.field("Sid").refuse("another statement has the same Sid");
        }
        statements.push(statement);
    }
    Ok(statements)
}

impl Rules<'_> {
    fn statement(&self, place: Place, json: Json) -> Result<Statement, PolicyError> {
        let mut fields = object(&place, json)?;
        let sid = optional_text(&place, &mut fields, "Sid")?.filter(|sid| !sid.is_empty());
        let place = match &sid {
            Some(sid) => Place(format!("{} ({sid:?})", place.0)),
            None => place,
        };
        let effect = match optional_text(&place, &mut fields, "Effect")?.as_deref() {
            Some("Allow") => Effect::Allow,
            Some("Deny") => Effect::Deny,
            Some(_) => return place.field("Effect").refuse("it must be Allow or Deny"),
            None => return place.refuse("Effect is missing"),
        };
        let principals = match one_of(&place, &mut fields, "Principal", "NotPrincipal")? {
            (false, at, json) => Principals::These(list_of_principals(&at, json)?),
            (true, at, _) if effect == Effect::Allow => {
                return at.refuse("to allow something to all but some is not supported; use Deny");
            }
            (true, at, json) => Principals::AllBut(list_of_principals(&at, json)?),
        };
        let actions = selection(&place, &mut fields, "Action", |at, text| {
            ActionPattern::new(text)
                .map_or_else(|| at.refuse(format!("{text:?} is not an action of S3")), Ok)
        })?;
        let resources =
            selection(&place, &mut fields, "Resource", |at, text| self.resource(at, text))?;
        let conditions = match take(&mut fields, "Condition") {
            Some(json) => self.conditions(&place.field("Condition"), json)?,
            None => Vec::new(),
        };
        nothing_left(&place, &fields)?;
        Ok(Statement { sid, effect, principals, actions, resources, conditions })
    }

    fn resource(&self, place: &Place, text: &str) -> Result<ResourcePattern, PolicyError> {
        let pattern = match text.strip_prefix(ARN) {
            Some(pattern) => pattern,
            None if text == "*" => text,
            None => return place.refuse(format!("{text:?} does not begin with {ARN}")),
        };
        self.no_variables(place, text)?;
        let bucket = pattern.split_once('/').map_or(pattern, |(bucket, _)| bucket);
        if wildcard::matches(bucket, self.bucket.as_str()) {
            Ok(ResourcePattern(pattern.to_owned()))
        } else {
            place.refuse(format!("{text:?} is not of bucket {}", self.bucket))
        }
    }

    fn conditions(&self, place: &Place, json: Json) -> Result<Vec<Condition>, PolicyError> {
        let mut conditions = Vec::new();
        for (operator, keys) in object(place, json)? {
            let place = place.field(&operator);
            for (key, values) in object(&place, keys)? {
                let at = place.field(&key);
                let values = scalars(&at, values)?;
                for value in &values {
                    self.no_variables(&at, value)?;
                }
                match Condition::parse(&operator, &key, &values) {
                    Ok(condition) => conditions.push(condition),
                    Err(why) => return at.refuse(why),
                }
            }
        }
        Ok(conditions)
    }

    fn no_variables(&self, place: &Place, text: &str) -> Result<(), PolicyError> {
        if self.variables && text.contains("${") {
            return place.refuse(format!("{text:?}: policy variables are not supported"));
        }
        Ok(())
    }
}

fn list_of_principals(place: &Place, json: Json) -> Result<Vec<Principal>, PolicyError> {
    let kinds = match json {
        Json::Text(text) if text == "*" => return Ok(vec![Principal::Everyone]),
        other => object(place, other)?,
    };
    let mut principals = Vec::new();
    for (kind, names) in kinds {
        let at = place.field(&kind);
        for name in texts(&at, names)? {
            principals.push(match kind.as_str() {
                "AWS" => Principal::of_aws(&name).or_else(|why| at.refuse(why))?,
                "CanonicalUser" if !name.is_empty() => Principal::User(name),
                _ => return at.refuse("principals are named by AWS or CanonicalUser"),
            });
        }
    }
    if principals.is_empty() {
        return place.refuse("it names nobody");
    }
    Ok(principals)
}

/// The field `name`, or the field `Not` + `name`: exactly one of them must be there.
fn selection<T>(
    place: &Place,
    fields: &mut Fields,
    name: &str,
    read: impl Fn(&Place, &str) -> Result<T, PolicyError>,
) -> Result<Selection<T>, PolicyError> {
    let (negated, at, json) = one_of(place, fields, name, &format!("Not{name}"))?;
    let list =
        texts(&at, json)?.iter().map(|t| read(&at, t)).collect::<Result<Vec<_>, PolicyError>>()?;
    Ok(if negated { Selection::AllBut(list) } else { Selection::These(list) })
}

/// Takes one of two fields that exclude each other: whether it was the second, where, and what.
fn one_of(
    place: &Place,
    fields: &mut Fields,
    first: &str,
    second: &str,
) -> Result<(bool, Place, Json), PolicyError> {
    match (take(fields, first), take(fields, second)) {
        (Some(json), None) => Ok((false, place.field(first), json)),
        (None, Some(json)) => Ok((true, place.field(second), json)),
        (Some(_), Some(_)) => place.refuse(format!("{first} and {second} exclude each other")),
        (None, None) => place.refuse(format!("{first} is missing")),
    }
}

fn take(fields: &mut Fields, name: &str) -> Option<Json> {
    let at = fields.iter().position(|(field, _)| field == name)?;
    Some(fields.remove(at).1)
}

fn nothing_left(place: &Place, fields: &Fields) -> Result<(), PolicyError> {
    match fields.first() {
        Some((name, _)) => place.refuse(format!("field {name:?} is unknown")),
        None => Ok(()),
    }
}

fn object(place: &Place, json: Json) -> Result<Fields, PolicyError> {
    match json {
        Json::Object(fields) => Ok(fields),
        other => place.refuse(format!("it must be an object, not {}", other.kind())),
    }
}

fn optional_text(
    place: &Place,
    fields: &mut Fields,
    name: &str,
) -> Result<Option<String>, PolicyError> {
    match take(fields, name) {
        None => Ok(None),
        Some(Json::Text(text)) => Ok(Some(text)),
        Some(other) => {
            place.field(name).refuse(format!("it must be a string, not {}", other.kind()))
        }
    }
}

/// A string, or a list of at least one.
fn texts(place: &Place, json: Json) -> Result<Vec<String>, PolicyError> {
    values(place, json, "a string", |json| match json {
        Json::Text(text) => Ok(text),
        other => Err(other),
    })
}

/// A string, boolean or number, or a list of at least one.
fn scalars(place: &Place, json: Json) -> Result<Vec<String>, PolicyError> {
    values(place, json, "a string, boolean or number", |json| match json {
        Json::Text(text) | Json::Number(text) => Ok(text),
        Json::Bool(b) => Ok(b.to_string()),
        other => Err(other),
    })
}

fn values(
    place: &Place,
    json: Json,
    what: &str,
    read: impl Fn(Json) -> Result<String, Json>,
) -> Result<Vec<String>, PolicyError> {
    let list = match json {
        Json::List(list) if list.is_empty() => return place.refuse("the list is empty"),
        Json::List(list) => list,
        one => vec![one],
    };
    let wrong = |json: Json| PolicyError::Malformed {
        place: place.0.clone(),
        why: format!("it must be {what} or a list of such, not {}", json.kind()),
    };
    list.into_iter().map(|json| read(json).map_err(wrong)).collect()
}
