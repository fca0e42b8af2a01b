//! Why a CSR is not accepted.
use crate::pki::key::{KeyError, SignatureError};
use crate::pki::name::NameError;

/// The most characters of a foreign value that a message repeats.
const SHOWN_CHARACTERS: usize = 64;

/// Why a CSR is not accepted, and what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CsrError {
    /// Over 64 KiB.
    #[error(
        "the CSR has {bytes} bytes, more than 65536: make one without large attributes, as with `openssl req -new`"
    )]
    TooLong {
        /// The length that was found.
        bytes: usize,
    },
    /// Not strict DER of the structure of RFC 2986.
    #[error("the CSR is malformed, {0}: make a new one with `openssl req -new`")]
    Malformed(&'static str),
    /// Another version than 0.
    #[error("the CSR's version is not 0, the only one of PKCS #10: make a new one with `openssl req -new`")]
    Version,
    /// No name at all.
    #[error("the CSR's subject is empty: name the user and the groups, as with -subj \"/CN=USER/O=GROUP\"")]
    SubjectEmpty,
    /// Names, but none of them the user's.
    #[error("the CSR's subject has no CN: name the user, as with -subj \"/CN=USER/O=GROUP\"")]
    CommonNameMissing,
    /// Two user names.
    #[error("the CSR's subject has more than one CN: keep the one user name")]
    CommonNameRepeated,
    /// An RDN that holds several attributes other than O.
    #[error(
        "the CSR's subject joins several attributes into one RDN: give each an RDN of its own, as with -subj \"/CN=USER/O=GROUP\" without `+`"
    )]
    RdnMixed,
    /// An attribute that is neither read nor known to be harmless.
    #[error(
        "the CSR's subject has the attribute {0}, which is not accepted: leave it out, only CN and O are read"
    )]
    SubjectAttribute(String),
    /// CN or O in a string type that readers disagree about.
    #[error(
        "the CSR's {attribute} is a {found}: write it as UTF8String, as with `openssl req -utf8 -nameopt utf8` and `string_mask = utf8only`"
    )]
    StringType {
        /// CN or O.
        attribute: &'static str,
        /// The type that was found.
        found: &'static str,
    },
    /// Bytes that its string type does not have.
    #[error(
        "the CSR's {attribute} holds bytes that its string type {found} does not allow: write it as UTF8String, as with `openssl req -utf8`"
    )]
    StringContent {
        /// CN or O.
        attribute: &'static str,
        /// The type that was found.
        found: &'static str,
    },
    /// A value that is no [`crate::pki::name::Name`].
    #[error("the CSR's {attribute} `{value}` is not accepted: {reason}")]
    Name {
        /// CN or O.
        attribute: &'static str,
        /// The value, escaped and cut.
        value: String,
        /// The rule that it breaks.
        reason: NameError,
    },
    /// Over 100 groups.
    #[error("the CSR asks for more than {max} groups: leave some O out")]
    TooManyGroups {
        /// The limit.
        max: usize,
    },
    /// An attribute type of the request that is there twice.
    #[error("the CSR has the attribute {0} twice: make a new one with `openssl req -new`")]
    AttributeRepeated(String),
    /// More attributes than any client writes.
    #[error("the CSR has more than {max} attributes: make a new one with `openssl req -new`")]
    TooManyAttributes {
        /// The limit.
        max: usize,
    },
    /// Two requests for extensions, or one with no or several values.
    #[error("the CSR asks for extensions more than once: keep one extension request with one value, or none")]
    ExtensionRequests,
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The request's own signature.
    #[error(transparent)]
    Signature(#[from] SignatureError),
}

impl CsrError {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "body_too_large",
            Self::Malformed(_) => "csr_malformed",
            Self::Version => "csr_version_not_accepted",
            Self::SubjectEmpty => "csr_subject_empty",
            Self::CommonNameMissing => "csr_cn_missing",
            Self::CommonNameRepeated => "csr_cn_repeated",
            Self::RdnMixed => "csr_rdn_multi_valued",
            Self::SubjectAttribute(_) => "csr_subject_attribute_not_accepted",
            Self::StringType { .. } | Self::StringContent { .. } => "csr_string_type_not_accepted",
            Self::Name { reason, .. } => reason.code(),
            Self::TooManyGroups { .. } => "csr_too_many_groups",
            Self::AttributeRepeated(_) | Self::TooManyAttributes { .. } => "csr_attributes_not_accepted",
            Self::ExtensionRequests => "csr_extension_requests_not_accepted",
            Self::Key(error) => error.code(),
            Self::Signature(error) => error.code(),
        }
    }
}

/// A foreign text as a message may repeat it: one line, printable, at most 64 characters.
pub(super) fn shown(text: &str) -> String {
    let mut escaped = text.escape_debug();
    let mut short: String = escaped.by_ref().take(SHOWN_CHARACTERS).collect();
    if escaped.next().is_some() {
        short.push('…');
    }
    short
}
