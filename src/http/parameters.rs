//! The query string, read strictly: a typo must not give an auditor a wrong answer.

use percent_encoding::percent_decode_str;

use super::error::Problem;

/// Every parameter that was given, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Reads a query string whose parameters are all among `known`.
    ///
    /// # Errors
    /// 400 for an unknown parameter, one that is given twice, or one that is not UTF-8.
    pub fn parse(query: Option<&str>, known: &[&str]) -> Result<Self, Problem> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for piece in query.unwrap_or_default().split('&').filter(|piece| !piece.is_empty()) {
            let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            if !known.contains(&name.as_str()) {
                return Err(unknown(&name, known));
            }
            if pairs.iter().any(|(earlier, _)| *earlier == name) {
                return Err(repeated(&name));
            }
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    /// Takes one out; none where it was not given.
    pub fn take(&mut self, name: &str) -> Option<String> {
        let place = self.0.iter().position(|(given, _)| given == name)?;
        Some(self.0.remove(place).1)
    }

    /// Takes one out that must say something.
    ///
    /// # Errors
    /// 400 where it is given and empty.
    pub fn take_filled(&mut self, name: &str) -> Result<Option<String>, Problem> {
        match self.take(name) {
            Some(value) if value.is_empty() => {
                Err(invalid(format!("{name} is empty: leave it out or fill it")))
            }
            other => Ok(other),
        }
    }

    /// What was not taken, by name.
    #[must_use]
    pub fn sorted(&self) -> Vec<(&str, &str)> {
        let mut pairs: Vec<_> = self.0.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        pairs.sort_unstable();
        pairs
    }
}

/// 400 with what is wrong with a parameter.
pub fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new("parameter_invalid", detail)
}

/// 400: a parameter twice.
pub fn repeated(name: &str) -> Problem {
    Problem::new(
        "parameter_repeated",
        format!("{name} is given twice: give it once, in the query or in the body"),
    )
}

fn unknown(name: &str, known: &[&str]) -> Problem {
    let name = name.escape_debug();
    let detail = if known.is_empty() {
        format!("there is no parameter `{name}`: this path takes none")
    } else {
        format!("there is no parameter `{name}`: this path takes {}", known.join(", "))
    };
    Problem::new("parameter_unknown", detail)
}

/// What the WHATWG URL standard calls application/x-www-form-urlencoded, but an escape that is none and
/// octets that are no UTF-8 are errors.
fn decode(text: &str) -> Result<String, Problem> {
    if !escapes_are_whole(text.as_bytes()) {
        return Err(invalid("the query has a % that two hex digits do not follow: write %25 for a %"));
    }
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    let decoded = decoded.map_err(|_| invalid("the query is not UTF-8 when its escapes are read"))?;
    if decoded.chars().any(char::is_control) {
        return Err(invalid("the query has a control character"));
    }
    Ok(decoded.into_owned())
}

fn escapes_are_whole(bytes: &[u8]) -> bool {
    let mut rest = bytes.iter();
    while let Some(byte) = rest.next() {
        let is_hex = |digit: Option<&u8>| digit.is_some_and(u8::is_ascii_hexdigit);
        if *byte == b'%' && !(is_hex(rest.next()) && is_hex(rest.next())) {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<Vec<(String, String)>, &'static str> {
        Parameters::parse(Some(query), &["user", "ttl"])
            .map(|parameters| parameters.0)
            .map_err(|problem| problem.code())
    }

    #[test]
    fn parameters_are_decoded() {
        let expected = vec![("user".to_owned(), "a b=c+é".to_owned()), ("ttl".to_owned(), String::new())];
        assert_eq!(parse("user=a+b=c%2B%c3%A9&&ttl"), Ok(expected));
        assert_eq!(parse(""), Ok(vec![]));
        assert_eq!(Parameters::parse(None, &[]).unwrap(), Parameters::default());
    }

    #[test]
    fn an_unknown_parameter_is_refused_with_those_that_there_are() {
        assert_eq!(parse("usr=a"), Err("parameter_unknown"));
        assert_eq!(parse("User=a"), Err("parameter_unknown"));
        let problem = Parameters::parse(Some("usr=a"), &["user", "ttl"]).unwrap_err();
        assert!(format!("{problem:?}").contains("user, ttl"));
    }

    #[test]
    fn a_parameter_given_twice_is_refused_even_with_the_same_value() {
        assert_eq!(parse("user=a&user=a"), Err("parameter_repeated"));
        assert_eq!(parse("user=a&us%65r=b"), Err("parameter_repeated"));
    }

    #[test]
    fn what_is_no_text_is_refused() {
        for query in
            ["user=%", "user=%4", "user=%zz", "user=%ff", "user=%00", "user=a%0ab", "user=%C2%85", "%=a"]
        {
            assert_eq!(parse(query), Err("parameter_invalid"), "{query}");
        }
    }

    #[test]
    fn an_empty_filter_is_refused() {
        let mut parameters = Parameters::parse(Some("user=&ttl=8h"), &["user", "ttl"]).unwrap();
        assert!(parameters.take_filled("user").is_err());
        assert_eq!(parameters.take_filled("ttl").unwrap().as_deref(), Some("8h"));
        assert_eq!(parameters.take_filled("ttl").unwrap(), None);
    }
}
