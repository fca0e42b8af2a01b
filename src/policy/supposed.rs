//! What credentials that nobody shows would say: for cases and for evaluations.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use crate::caller::{Claims, Proven};

/// A person's own token.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SupposedProof {
    /// The person's groups, as the source that proves persons spells them.
    #[serde(default)]
    pub groups: Vec<String>,
}

impl SupposedProof {
    /// That it is the token of `person`.
    ///
    /// # Errors
    /// A sentence: nobody is named, or a group is empty.
    pub fn of(&self, person: Option<&str>) -> Result<Proven, String> {
        let person = person.ok_or("it is the token of a person who is named: give on_behalf_of")?;
        if self.groups.iter().any(String::is_empty) {
            return Err("a group is empty".to_owned());
        }
        Ok(Proven { name: person.to_owned(), groups: self.groups.clone() })
    }
}

/// Reads the claims of a caller. One that is given twice is an error: two readers could take different ones.
///
/// # Errors
/// It is no mapping of lists, or a name is repeated.
pub fn claims_once<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Claims, D::Error> {
    deserializer.deserialize_map(EachOnce)
}

struct EachOnce;

impl<'de> Visitor<'de> for EachOnce {
    type Value = Claims;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("claims, each with a list of values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Claims, A::Error> {
        let mut claims = Claims::new();
        while let Some((name, values)) = access.next_entry::<String, Vec<String>>()? {
            if claims.insert(name, values).is_some() {
                return Err(A::Error::custom("a claim is given twice"));
            }
        }
        Ok(claims)
    }
}
