//! The attributes of a CSR. None is ever copied; they are read so that nothing hides in them and
//! so that the requester learns what is ignored.
use super::error::CsrError;
use crate::pki::der::{self, Element, NotDer, Reader};

/// The most attributes of one request; Windows writes four.
const MAX_ATTRIBUTES: usize = 32;
/// The most requested extensions that are looked at for the warning.
const MAX_EXTENSIONS: usize = 64;

/// extensionRequest (RFC 2985 section 5.4.2).
const EXTENSION_REQUEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 14];
/// `szOID_CERT_EXTENSIONS`, the same from Windows (MS-WCCE section 2.2.2.7.3).
const MICROSOFT_EXTENSION_REQUEST: &[u8] = &[0x2b, 6, 1, 4, 1, 0x82, 0x37, 2, 1, 14];

/// Checks the attributes; the answer is what to tell the requester.
///
/// # Errors
/// [`CsrError`]: malformed, a type given twice, or more than one request for extensions.
pub(super) fn read(attributes: Element<'_>) -> Result<Option<String>, CsrError> {
    let mut reader = attributes.open();
    let mut seen: Vec<&[u8]> = Vec::new();
    let mut requested: Option<Element<'_>> = None;
    while !reader.is_empty() {
        let (oid, values) = attribute(&mut reader).map_err(malformed)?;
        if seen.len() == MAX_ATTRIBUTES {
            return Err(CsrError::TooManyAttributes { max: MAX_ATTRIBUTES });
        }
        let is_request = matches!(oid, EXTENSION_REQUEST | MICROSOFT_EXTENSION_REQUEST);
        if is_request && (requested.is_some() || values.len() != 1) {
            return Err(CsrError::ExtensionRequests);
        }
        if seen.contains(&oid) {
            return Err(CsrError::AttributeRepeated(der::dotted(oid)));
        }
        seen.push(oid);
        requested = if is_request { values.first().copied() } else { requested };
    }
    Ok(requested.and_then(warning))
}

fn malformed(NotDer: NotDer) -> CsrError {
    CsrError::Malformed("its attributes are not DER")
}

fn attribute<'a>(reader: &mut Reader<'a>) -> Result<(&'a [u8], Vec<Element<'a>>), NotDer> {
    let mut fields = reader.expect(der::SEQUENCE)?.open();
    let oid = fields.oid()?;
    let mut set = fields.expect(der::SET)?.open();
    fields.finish()?;
    let mut values = vec![set.any()?];
    while !set.is_empty() {
        values.push(set.any()?);
    }
    Ok((oid, values))
}

/// Names the requested extensions that a requester could expect to find in the certificate.
fn warning(request: Element<'_>) -> Option<String> {
    let mut names: Vec<&'static str> = Vec::new();
    let mut extensions = request.open();
    for _ in 0..MAX_EXTENSIONS {
        let Ok(extension) = extensions.expect(der::SEQUENCE) else { break };
        let name = expected_extension(extension).filter(|name| !names.contains(name));
        names.extend(name);
    }
    (!names.is_empty()).then(|| {
        let names = names.join(", ");
        format!(
            "extensions requested in the CSR ({names}) are ignored: the certificate has this service's own"
        )
    })
}

fn expected_extension(extension: Element<'_>) -> Option<&'static str> {
    let mut fields = extension.open();
    let oid = fields.expect(der::OID).ok()?.value;
    fields.optional(der::BOOLEAN).ok()?;
    let value = fields.expect(der::OCTET_STRING).ok()?.value;
    match oid {
        [0x55, 0x1d, 15] => Some("keyUsage"),
        [0x55, 0x1d, 17] => Some("subjectAltName"),
        [0x55, 0x1d, 19] => asks_for_ca(value).then_some("basicConstraints CA:TRUE"),
        [0x55, 0x1d, 30] => Some("nameConstraints"),
        [0x55, 0x1d, 32] => Some("certificatePolicies"),
        [0x55, 0x1d, 37] => Some("extendedKeyUsage"),
        _ => None,
    }
}

/// Anything but the empty sequence and CA:FALSE.
fn asks_for_ca(basic_constraints: &[u8]) -> bool {
    !matches!(basic_constraints, [0x30, 0] | [0x30, 3, 1, 1, 0])
}
