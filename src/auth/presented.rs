//! What a request shows of who it comes from: exactly one of it counts.

use std::net::IpAddr;

use super::{AuthError, token};
use crate::tls::ClientCertificate;

/// Everything in a request that could say who sends it, before any of it is believed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Presented<'r> {
    /// The value of the one `Authorization` header.
    pub authorization: Option<&'r str>,
    /// What the client showed in the TLS handshake.
    pub certificate: Option<&'r ClientCertificate>,
    /// The other end of the connection, not what any header says of it.
    pub peer: Option<IpAddr>,
    /// Every line of headers, names in lower case; none where no header can name a caller.
    pub headers: &'r [(&'r str, &'r [u8])],
}

/// The one credential that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown<'r> {
    /// What follows `Bearer` (RFC 6750 section 2.1).
    Bearer(&'r str),
}

impl<'r> Presented<'r> {
    /// The value of each line of the header `name`, which is in lower case.
    pub(super) fn lines(&self, name: &str) -> impl Iterator<Item = &'r [u8]> {
        self.headers.iter().filter(move |(of, _)| *of == name).map(|(_, value)| *value)
    }

    /// The credential that counts: `Authorization` where there is one. What is wrong with it is never
    /// made up for by anything else that the request shows.
    ///
    /// # Errors
    /// `Missing`, `NotBearer`.
    pub fn one(self) -> Result<Shown<'r>, AuthError> {
        let authorization = self.authorization.ok_or(AuthError::Missing)?;
        bearer(authorization).map(Shown::Bearer).ok_or(AuthError::NotBearer)
    }

    /// In a word, for the audit log: how it tried to show who it is, whether that holds or not.
    /// `by_proxy` is whether it has headers as a proxy sends them.
    #[must_use]
    pub fn method(self, by_proxy: bool) -> &'static str {
        match self.one() {
            Ok(Shown::Bearer(credential)) if credential.starts_with(token::PREFIX) => "token",
            Ok(Shown::Bearer(_)) => "bearer",
            Err(AuthError::Missing) if by_proxy => "proxy",
            Err(AuthError::Missing) if self.certificate.is_some() => "certificate",
            Err(AuthError::Missing) => "none",
            Err(_) => "other",
        }
    }
}

/// The token of `Bearer TOKEN`. The scheme is compared without case, RFC 9110 section 11.1.
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, credential) = authorization.split_once(' ')?;
    let credential = credential.trim_start_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && !credential.is_empty()).then_some(credential)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str) -> Result<Shown<'_>, AuthError> {
        Presented { authorization: Some(text), ..Presented::default() }.one()
    }

    #[test]
    fn a_bearer_credential_is_read_whatever_the_case_of_its_scheme() {
        for text in ["Bearer x.y", "bearer x.y", "BEARER  x.y"] {
            assert_eq!(header(text), Ok(Shown::Bearer("x.y")), "{text}");
        }
    }

    #[test]
    fn a_credential_is_known_by_one_of_few_words() {
        let method = |text| Presented { authorization: Some(text), ..Presented::default() }.method(true);
        assert_eq!(Presented::default().method(false), "none");
        assert_eq!(Presented::default().method(true), "proxy");
        let words = ["Bearer cs1_x", "Bearer eyJ", "Basic YTpi"].map(method);
        assert_eq!(words, ["token", "bearer", "other"]);
    }

    #[test]
    fn what_is_no_bearer_credential_says_how_to_send_one() {
        assert_eq!(Presented::default().one(), Err(AuthError::Missing));
        for text in ["", "Bearer", "Bearer ", "Basic YTpi", "cs1_x", "Token x", "Bearer\tx"] {
            assert_eq!(header(text), Err(AuthError::NotBearer), "{text}");
        }
        assert!(AuthError::NotBearer.to_string().contains("Authorization: Bearer <token>"));
    }
}
