//! Anchored patterns: `*` is any run of printable ASCII; variables are put in as literals.

/// What a `*` may run over. Each row has one meaning for its stars, chosen by its effect and the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Star {
    /// Printable ASCII, space to tilde: in rows that allow.
    Printable,
    /// Printable ASCII without the colon: in `callers` of rows that allow.
    Segment,
    /// Any character: in rows that deny or hold, which must cover every shape that a name can take.
    Anything,
}

impl Star {
    /// Whether one star may run over the whole of `text`.
    #[must_use]
    pub fn covers(self, text: &str) -> bool {
        text.bytes().all(|byte| self.takes(byte))
    }

    /// The least byte offset from which a star may run to the end of `text`.
    #[must_use]
    pub fn reaches_back_to(self, text: &str) -> usize {
        text.bytes().rposition(|byte| !self.takes(byte)).map_or(0, |last| last.saturating_add(1))
    }

    fn takes(self, byte: u8) -> bool {
        match self {
            Self::Anything => true,
            Self::Printable => matches!(byte, 0x20..=0x7e),
            Self::Segment => matches!(byte, 0x20..=0x7e) && byte != b':',
        }
    }
}

/// What a pattern may leave open until there is a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Variable {
    /// `{caller}`: the caller's name.
    Caller,
    /// `{on_behalf_of}`: the person that the request names.
    OnBehalfOf,
    /// `{caller.groups}`: each group that the caller's credential shows.
    CallerGroups,
    /// `{on_behalf_of.groups}`: each group that the token of the named person shows.
    PersonGroups,
    /// `{caller.claim.NAME}`: each value of that claim of the caller's credential.
    Claim(String),
}

/// The longest name of a claim, in bytes.
const LONGEST_CLAIM: usize = 128;

impl Variable {
    /// Reads what stands between the braces.
    fn parse(word: &str) -> Option<Self> {
        match word {
            "caller" => Some(Self::Caller),
            "on_behalf_of" => Some(Self::OnBehalfOf),
            "caller.groups" => Some(Self::CallerGroups),
            "on_behalf_of.groups" => Some(Self::PersonGroups),
            _ => word
                .strip_prefix("caller.claim.")
                .filter(|name| is_claim(name))
                .map(|name| Self::Claim(name.to_owned())),
        }
    }
}

/// Names of claims are short words or URLs (RFC 7519 section 4.2).
fn is_claim(name: &str) -> bool {
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:/".contains(&byte);
    (1..=LONGEST_CLAIM).contains(&name.len()) && name.bytes().all(sound)
}

/// One pattern, read once. It matches a whole value or does not match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    shape: Shape,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Shape {
    Literal,
    /// The text before the first star, the texts between stars, and the text after the last.
    Wild {
        first: String,
        middle: Vec<String>,
        last: String,
        star: Star,
    },
    Variable {
        before: String,
        variable: Variable,
        after: String,
    },
}

impl Pattern {
    /// Reads a pattern whose stars mean `star`.
    ///
    /// # Errors
    /// An empty text, a brace that opens no variable, an unknown variable, more than one, or one
    /// with a `*` in the same pattern.
    pub fn parse(text: &str, star: Star) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        let shape = match text.split_once('{') {
            Some((before, rest)) => with_variable(before, rest)?,
            None if text.contains('}') => return Err(PatternError::StrayBrace),
            None => without_variable(text, star),
        };
        Ok(Self { text: text.to_owned(), shape })
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it has neither star nor variable, so that it matches its own text only.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        matches!(self.shape, Shape::Literal)
    }

    /// Whether it has a star.
    #[must_use]
    pub fn has_star(&self) -> bool {
        matches!(self.shape, Shape::Wild { .. })
    }

    /// Whether it is nothing but stars.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.is_open_ended() && self.literal_start().is_empty()
    }

    /// Whether it is a literal start and then one star, as in `team-*`.
    #[must_use]
    pub fn is_open_ended(&self) -> bool {
        matches!(&self.shape, Shape::Wild { middle, last, .. } if middle.is_empty() && last.is_empty())
    }

    /// What every value that matches begins with.
    #[must_use]
    pub fn literal_start(&self) -> &str {
        match &self.shape {
            Shape::Literal => &self.text,
            Shape::Wild { first, .. } => first,
            Shape::Variable { before, .. } => before,
        }
    }

    /// What every value that matches ends with.
    #[must_use]
    pub fn literal_end(&self) -> &str {
        match &self.shape {
            Shape::Literal => &self.text,
            Shape::Wild { last, .. } => last,
            Shape::Variable { after, .. } => after,
        }
    }

    /// The variable in it.
    #[must_use]
    pub fn variable(&self) -> Option<&Variable> {
        match &self.shape {
            Shape::Variable { variable, .. } => Some(variable),
            Shape::Literal | Shape::Wild { .. } => None,
        }
    }

    /// The pattern's text with `value` in the place of its variable.
    #[must_use]
    pub fn filled(&self, value: &str) -> String {
        match &self.shape {
            Shape::Variable { before, after, .. } => format!("{before}{value}{after}"),
            Shape::Literal | Shape::Wild { .. } => self.text.clone(),
        }
    }

    /// Whether it matches the whole of `value`, in time linear in it. `is` tells whether a variable
    /// has that value.
    #[must_use]
    pub fn matches(&self, value: &str, is: impl Fn(&Variable, &str) -> bool) -> bool {
        match &self.shape {
            Shape::Literal => self.text == value,
            Shape::Wild { first, middle, last, star } => value
                .strip_prefix(first.as_str())
                .and_then(|rest| rest.strip_suffix(last.as_str()))
                .is_some_and(|rest| runs_match(rest, middle, *star)),
            Shape::Variable { before, variable, after } => value
                .strip_prefix(before.as_str())
                .and_then(|rest| rest.strip_suffix(after.as_str()))
                .is_some_and(|middle| is(variable, middle)),
        }
    }
}

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// The text is empty.
    #[error("an empty pattern matches nothing: write the name, or leave the entry out")]
    Empty,
    /// A brace outside a variable.
    #[error(
        "`{{` and `}}` only stand around a variable: {{caller}}, {{on_behalf_of}}, {{caller.groups}} or \
         {{caller.claim.NAME}}; write * for a name that has braces"
    )]
    StrayBrace,
    /// A variable that there is not.
    #[error(
        "there is no variable {{{0}}}: it is one of {{caller}}, {{on_behalf_of}}, {{caller.groups}} and \
         {{caller.claim.NAME}}"
    )]
    UnknownVariable(String),
    /// More than one variable.
    #[error("a pattern has one variable at most: write one pattern for each")]
    SeveralVariables,
    /// A star and a variable.
    #[error("a pattern with a variable has no *: one caller's names would reach into another's")]
    StarWithVariable,
}

fn with_variable(before: &str, rest: &str) -> Result<Shape, PatternError> {
    let (word, after) = rest.split_once('}').ok_or(PatternError::StrayBrace)?;
    if before.contains('}') || word.contains('{') {
        return Err(PatternError::StrayBrace);
    }
    let variable = Variable::parse(word)
        .ok_or_else(|| PatternError::UnknownVariable(word.escape_debug().to_string()))?;
    let second = after.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    if second.is_some_and(|(word, _)| Variable::parse(word).is_some()) {
        return Err(PatternError::SeveralVariables);
    }
    if after.contains(['{', '}']) {
        return Err(PatternError::StrayBrace);
    }
    if before.contains('*') || after.contains('*') {
        return Err(PatternError::StarWithVariable);
    }
    Ok(Shape::Variable { before: before.to_owned(), variable, after: after.to_owned() })
}

fn without_variable(text: &str, star: Star) -> Shape {
    let Some((first, rest)) = text.split_once('*') else {
        return Shape::Literal;
    };
    let (between, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    let middle = between.split('*').filter(|part| !part.is_empty()).map(ToOwned::to_owned).collect();
    Shape::Wild { first: first.to_owned(), middle, last: last.to_owned(), star }
}

/// Takes each part where it first occurs. That is enough: a later place leaves a longer run before
/// it and less room after it.
fn runs_match(text: &str, parts: &[String], star: Star) -> bool {
    let mut rest = text;
    for part in parts {
        match rest.split_once(part.as_str()) {
            Some((run, after)) if star.covers(run) => rest = after,
            _ => return false,
        }
    }
    star.covers(rest)
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, value: &str, star: Star) -> bool {
        Pattern::parse(pattern, star).expect("a pattern").matches(value, |_, _| false)
    }

    #[test]
    fn a_pattern_is_anchored_at_both_ends() {
        assert!(matches("dev", "dev", Star::Printable));
        for other in ["dev2", "2dev", "de", "DEV", ""] {
            assert!(!matches("dev", other, Star::Printable), "{other}");
        }
        assert!(!matches("dev-*", "a-dev-b", Star::Printable));
        assert!(!matches("*-dev", "a-dev-b", Star::Printable));
    }

    #[test]
    fn a_star_is_any_run_of_printable_ascii_the_empty_one_too() {
        for value in ["", "a", "a b", "a:b/c*~"] {
            assert!(matches("*", value, Star::Printable), "{value}");
        }
        for value in ["é", "a\u{7f}", "a\tb"] {
            assert!(!matches("*", value, Star::Printable), "{value:?}");
        }
        assert!(matches("a*é", "abé", Star::Printable), "the rest is compared byte for byte");
        assert!(matches("a*b*c", "abbc", Star::Printable));
        assert!(!matches("ab*ba", "aba", Star::Printable), "the ends do not overlap");
    }

    #[test]
    fn a_star_in_callers_never_crosses_a_colon() {
        assert!(matches("dev:*", "dev:builder", Star::Segment));
        assert!(!matches("dev:*", "dev:a:b", Star::Segment));
        assert!(!matches("*", "dev:a", Star::Segment));
        assert!(matches("*:*", "dev:a", Star::Segment));
    }

    #[test]
    fn a_variable_is_put_in_as_a_literal() {
        let pattern = Pattern::parse("x-{caller}", Star::Printable).expect("a pattern");
        let is = |variable: &Variable, text: &str| *variable == Variable::Caller && text == "a*";
        assert!(pattern.matches("x-a*", is));
        assert!(!pattern.matches("x-ab", is));
        assert_eq!(pattern.filled("a*"), "x-a*");
    }

    #[test]
    fn a_claim_is_named_by_a_word_or_a_url() {
        for claim in
            ["email", "preferred_username", "https://example.com/team:a-b", &"x".repeat(LONGEST_CLAIM)]
        {
            let pattern = Pattern::parse(&format!("x-{{caller.claim.{claim}}}"), Star::Printable);
            assert_eq!(pattern.expect(claim).variable(), Some(&Variable::Claim(claim.to_owned())));
        }
        let long = format!("{{caller.claim.{}}}", "x".repeat(LONGEST_CLAIM + 1));
        assert!(Pattern::parse(&long, Star::Printable).is_err());
    }

    #[test]
    fn what_is_no_pattern_is_an_error() {
        for (text, error) in [
            ("", PatternError::Empty),
            ("a{", PatternError::StrayBrace),
            ("a}", PatternError::StrayBrace),
            ("}{caller}", PatternError::StrayBrace),
            ("{caller}}", PatternError::StrayBrace),
            ("{{caller}}", PatternError::StrayBrace),
            ("{}", PatternError::UnknownVariable(String::new())),
            ("{user}", PatternError::UnknownVariable("user".into())),
            ("{Caller}", PatternError::UnknownVariable("Caller".into())),
            ("{caller.claim}", PatternError::UnknownVariable("caller.claim".into())),
            ("{caller.claim.}", PatternError::UnknownVariable("caller.claim.".into())),
            ("{caller.claim.a b}", PatternError::UnknownVariable("caller.claim.a b".into())),
            ("{caller.claim.a}{caller.claim.b}", PatternError::SeveralVariables),
            ("{caller.claim.a}*", PatternError::StarWithVariable),
            ("{caller}{caller}", PatternError::SeveralVariables),
            ("{caller}-{on_behalf_of}", PatternError::SeveralVariables),
            ("{caller}*", PatternError::StarWithVariable),
            ("*-{caller.groups}", PatternError::StarWithVariable),
        ] {
            assert_eq!(Pattern::parse(text, Star::Printable), Err(error), "{text}");
        }
    }

    /// The definition, by trying every run.
    fn by_definition(pattern: &[char], value: &[char], star: Star) -> bool {
        match (pattern, value) {
            ([], []) => true,
            (['*', rest @ ..], _) => {
                by_definition(rest, value, star)
                    || matches!(value, [c, tail @ ..] if star.covers(&c.to_string()) && by_definition(pattern, tail, star))
            }
            ([p, rest @ ..], [v, tail @ ..]) => p == v && by_definition(rest, tail, star),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn the_matcher_is_its_definition(pattern in "[ab:é*]{1,8}", value in "[ab:é]{0,10}") {
            let p: Vec<char> = pattern.chars().collect();
            let v: Vec<char> = value.chars().collect();
            for star in [Star::Printable, Star::Segment, Star::Anything] {
                prop_assert_eq!(matches(&pattern, &value, star), by_definition(&p, &v, star), "{:?}", star);
            }
        }
    }
}
