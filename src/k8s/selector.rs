//! Label selectors: parsing and matching.
//!
//! Grammar and error messages follow Kubernetes, `staging/src/k8s.io/apimachinery/pkg/labels/selector.go`, v1.36.

use std::collections::BTreeMap;

/// One condition on one label.
#[derive(Clone, Debug, PartialEq)]
pub struct Requirement {
    pub key: String,
    pub test: Test,
}

/// The test of a label's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
    Above(i64),
    Below(i64),
}

/// Whether `labels` meet every requirement.
pub fn matches_labels(requirements: &[Requirement], labels: &BTreeMap<String, String>) -> bool {
    requirements.iter().all(|requirement| {
        let value = labels.get(&requirement.key);
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match &requirement.test {
            Test::In(values) => value.is_some_and(|value| values.contains(value)),
            Test::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Test::Exists => value.is_some(),
            Test::Absent => value.is_none(),
            Test::Above(limit) => number().is_some_and(|number| number > *limit),
            Test::Below(limit) => number().is_some_and(|number| number < *limit),
        }
    })
}

/// Parses a label selector such as `a=b,c in (d, e),!f`.
pub fn parse_labels(selector: &str) -> Result<Vec<Requirement>, String> {
    let mut tokens = Tokens::new(selector);
    let mut requirements = Vec::new();
    loop {
        match tokens.peek() {
            "" if requirements.is_empty() => return Ok(requirements),
            token if token == "!" || is_word(token) => (),
            token => {
                return Err(format!(
                    "found '{token}', expected: !, identifier, or 'end of string'"
                ));
            }
        }
        let requirement = parse_requirement(&mut tokens)
            .map_err(|error| format!("unable to parse requirement: {error}"))?;
        requirements.push(requirement);
        match tokens.next() {
            "" => return Ok(requirements),
            "," => (),
            token => return Err(format!("found '{token}', expected: ',' or 'end of string'")),
        }
        let token = tokens.peek();
        if token != "!" && !is_word(token) {
            return Err(format!("found '{token}', expected: identifier after ','"));
        }
    }
}

fn parse_requirement(tokens: &mut Tokens<'_>) -> Result<Requirement, String> {
    if tokens.peek() == "!" {
        tokens.next();
        let key = tokens.next().to_owned();
        return Ok(Requirement {
            key,
            test: Test::Absent,
        });
    }
    let key = tokens.next().to_owned();
    let test = match tokens.peek() {
        "" | "," => {
            return Ok(Requirement {
                key,
                test: Test::Exists,
            });
        }
        operator @ ("=" | "==" | "!=") => {
            tokens.next();
            let value = match tokens.peek() {
                "" | "," => String::new(),
                token if is_word(token) => tokens.next().to_owned(),
                token => return Err(format!("found '{token}', expected: identifier")),
            };
            match operator {
                "!=" => Test::NotIn(vec![value]),
                _ => Test::In(vec![value]),
            }
        }
        operator @ ("in" | "notin") => {
            tokens.next();
            let values = parse_values(tokens)?;
            match operator {
                "in" => Test::In(values),
                _ => Test::NotIn(values),
            }
        }
        operator @ (">" | "<") => {
            tokens.next();
            let limit = tokens.next();
            let limit = limit
                .parse()
                .map_err(|_| format!("found '{limit}', expected: a number"))?;
            match operator {
                ">" => Test::Above(limit),
                _ => Test::Below(limit),
            }
        }
        token => {
            return Err(format!(
                "found '{token}', expected: in, notin, =, ==, !=, gt, lt"
            ));
        }
    };
    Ok(Requirement { key, test })
}

fn parse_values(tokens: &mut Tokens<'_>) -> Result<Vec<String>, String> {
    match tokens.next() {
        "(" => (),
        token => return Err(format!("found '{token}' expected: '('")),
    }
    let mut values = Vec::new();
    loop {
        match tokens.next() {
            ")" => return Ok(values),
            "," => (),
            token if is_word(token) => values.push(token.to_owned()),
            token => return Err(format!("found '{token}', expected: ',', ')' or identifier")),
        }
    }
}

/// Reads words and operators one at a time; the end is an empty token.
struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    fn new(selector: &'a str) -> Self {
        Self {
            rest: selector.trim_start(),
        }
    }

    fn peek(&self) -> &'a str {
        let two = self.rest.get(..2).unwrap_or_default();
        let length = match self.rest.chars().next() {
            None => 0,
            Some(_) if two == "==" || two == "!=" => 2,
            Some(first) if "=!(),<>".contains(first) => 1,
            Some(_) => self
                .rest
                .find(|c: char| c.is_whitespace() || "=!(),<>".contains(c))
                .unwrap_or(self.rest.len()),
        };
        &self.rest[..length]
    }

    fn next(&mut self) -> &'a str {
        let token = self.peek();
        self.rest = self.rest[token.len()..].trim_start();
        token
    }
}

fn is_word(token: &str) -> bool {
    token
        .chars()
        .next()
        .is_some_and(|first| !"=!(),<>".contains(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(selector: &str, labels: &[(&str, &str)], expected: bool) {
        let labels = labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        assert_eq!(
            matches_labels(&parse_labels(selector).unwrap(), &labels),
            expected,
            "{selector}"
        );
    }

    #[test]
    fn selectors_match_as_in_kubernetes() {
        check("", &[], true);
        check("a=b", &[("a", "b")], true);
        check("a==b,c!=d", &[("a", "b")], true);
        check("a in (x, b),!c", &[("a", "b")], true);
        check("a notin (b)", &[("a", "b")], false);
        check("a notin (b)", &[], true);
        check("a", &[("a", "")], true);
        check("a=", &[("a", "")], true);
        check("n>3", &[("n", "4")], true);
        check("n<3", &[("n", "4")], false);
    }

    #[test]
    fn errors_say_what_was_expected() {
        assert_eq!(
            parse_labels("a==b,,").unwrap_err(),
            "found ',', expected: identifier after ','"
        );
        assert_eq!(
            parse_labels("=").unwrap_err(),
            "found '=', expected: !, identifier, or 'end of string'"
        );
        assert!(parse_labels("a in b").is_err());
    }
}
