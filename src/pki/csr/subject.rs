//! The subject of a CSR: one user name, groups, and attributes that are dropped.
use super::error::{CsrError, shown};
use crate::pki::der::{self, Element, NotDer};
use crate::pki::name::Name;

/// The most groups that one request may ask for.
const MAX_GROUPS: usize = 100;
/// The longest value of a dropped attribute, in bytes; RFC 5280 appendix A.1 allows less.
const MAX_DROPPED_BYTES: usize = 4096;

const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const ORGANIZATION: &[u8] = &[0x55, 4, 10];
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;

/// What a subject asks for.
pub(super) struct Subject {
    pub user: Name,
    pub groups: Vec<Name>,
    pub warnings: Vec<String>,
}

/// Reads a Name (RFC 5280 section 4.1.2.4).
///
/// # Errors
/// A [`CsrError`]: malformed, not exactly one CN, an attribute or a value that is not accepted.
pub(super) fn read(name: Element<'_>) -> Result<Subject, CsrError> {
    let mut rdns = name.open();
    if rdns.is_empty() {
        return Err(CsrError::SubjectEmpty);
    }
    let mut reading = Reading::default();
    while !rdns.is_empty() {
        let rdn = rdns.expect(der::SET).map_err(malformed)?;
        reading.take_rdn(rdn)?;
    }
    reading.finish()
}

fn malformed(NotDer: NotDer) -> CsrError {
    CsrError::Malformed("its subject is not DER")
}

/// One attribute of an RDN.
struct Attribute<'a> {
    oid: &'a [u8],
    value: Element<'a>,
    raw: &'a [u8],
}

#[derive(Default)]
struct Reading {
    user: Option<Name>,
    groups: Vec<Name>,
    repeated: Vec<Name>,
    dropped: Vec<&'static str>,
}

impl Reading {
    /// DER orders the values of an RDN by their encodings (X.690 section 11.6). A library that joins
    /// all of a name does not always order it: what it must change is the joining.
    fn take_rdn(&mut self, rdn: Element<'_>) -> Result<(), CsrError> {
        let attributes = attributes(rdn)?;
        let several = attributes.len() > 1;
        if several && attributes.iter().any(|attribute| attribute.oid != ORGANIZATION) {
            return Err(CsrError::RdnMixed);
        }
        if !attributes.is_sorted_by(|one, next| one.raw <= next.raw) {
            return Err(CsrError::Malformed("the values of an RDN are not in DER's order"));
        }
        attributes.into_iter().try_for_each(|attribute| self.take(&attribute))
    }

    fn take(&mut self, attribute: &Attribute<'_>) -> Result<(), CsrError> {
        match attribute.oid {
            COMMON_NAME if self.user.is_some() => Err(CsrError::CommonNameRepeated),
            COMMON_NAME => {
                self.user = Some(value("CN", attribute.value)?);
                Ok(())
            }
            ORGANIZATION => self.take_group(value("O", attribute.value)?),
            other => self.drop_or_refuse(other, attribute.value),
        }
    }

    fn take_group(&mut self, group: Name) -> Result<(), CsrError> {
        if self.groups.contains(&group) {
            if !self.repeated.contains(&group) {
                self.repeated.push(group);
            }
        } else if self.groups.len() == MAX_GROUPS {
            return Err(CsrError::TooManyGroups { max: MAX_GROUPS });
        } else {
            self.groups.push(group);
        }
        Ok(())
    }

    fn drop_or_refuse(&mut self, oid: &[u8], value: Element<'_>) -> Result<(), CsrError> {
        let Some(name) = dropped_attribute(oid) else {
            return Err(CsrError::SubjectAttribute(attribute_name(oid)));
        };
        if string_type(value.tag).is_none() || value.value.len() > MAX_DROPPED_BYTES {
            return Err(CsrError::Malformed(
                "an attribute of its subject is not a string of at most 4096 bytes",
            ));
        }
        if !self.dropped.contains(&name) {
            self.dropped.push(name);
        }
        Ok(())
    }

    fn finish(self) -> Result<Subject, CsrError> {
        let user = self.user.ok_or(CsrError::CommonNameMissing)?;
        let dropped = self.dropped.iter().map(|name| {
            format!(
                "the CSR's {name} is dropped: the certificate names only the user (CN) and the groups (O)"
            )
        });
        let repeated = self.repeated.iter().map(|group| {
            format!("the group `{}` is in the CSR more than once and taken once", shown(group.as_str()))
        });
        Ok(Subject { user, warnings: dropped.chain(repeated).collect(), groups: self.groups })
    }
}

/// The attributes of one RDN.
fn attributes(rdn: Element<'_>) -> Result<Vec<Attribute<'_>>, CsrError> {
    let mut reader = rdn.open();
    let mut attributes: Vec<Attribute<'_>> = Vec::new();
    while !reader.is_empty() {
        attributes.push(attribute(reader.expect(der::SEQUENCE).map_err(malformed)?).map_err(malformed)?);
    }
    if attributes.is_empty() {
        return Err(CsrError::Malformed("its subject has an empty RDN"));
    }
    Ok(attributes)
}

fn attribute(sequence: Element<'_>) -> Result<Attribute<'_>, NotDer> {
    let mut reader = sequence.open();
    let oid = reader.expect(der::OID)?.value;
    let value = reader.any()?;
    reader.finish()?;
    Ok(Attribute { oid, value, raw: sequence.raw })
}

fn value(attribute: &'static str, element: Element<'_>) -> Result<Name, CsrError> {
    let found = string_type(element.tag).unwrap_or("value that is no string");
    let well_typed = match element.tag {
        UTF8_STRING => true,
        PRINTABLE_STRING => element.value.iter().all(|byte| is_printable(*byte)),
        _ => return Err(CsrError::StringType { attribute, found }),
    };
    let text = std::str::from_utf8(element.value).ok().filter(|_| well_typed);
    let text = text.ok_or(CsrError::StringContent { attribute, found })?;
    Name::parse(text).map_err(|reason| CsrError::Name { attribute, value: shown(text), reason })
}

/// The characters of `PrintableString` (X.680 section 41.4).
fn is_printable(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&byte)
}

fn string_type(tag: u8) -> Option<&'static str> {
    Some(match tag {
        UTF8_STRING => "UTF8String",
        0x12 => "NumericString",
        PRINTABLE_STRING => "PrintableString",
        0x14 => "T61String",
        0x16 => "IA5String",
        0x1a => "VisibleString",
        0x1c => "UniversalString",
        0x1e => "BMPString",
        _ => return None,
    })
}

/// Attributes that tools add by themselves and that no Kubernetes component reads.
fn dropped_attribute(oid: &[u8]) -> Option<&'static str> {
    Some(match oid {
        [0x55, 4, 6] => "C",
        [0x55, 4, 7] => "L",
        [0x55, 4, 8] => "ST",
        [0x55, 4, 11] => "OU",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25] => "DC",
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1] => "emailAddress",
        _ => return None,
    })
}

fn attribute_name(oid: &[u8]) -> String {
    let name = match oid {
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1] => "UID",
        [0x55, 4, 4] => "SN",
        [0x55, 4, 5] => "serialNumber",
        [0x55, 4, 12] => "title",
        [0x55, 4, 42] => "GN",
        other => return der::dotted(other),
    };
    name.to_owned()
}
