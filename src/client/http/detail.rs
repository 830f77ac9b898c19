//! The sentence in the body of a refusal, whoever wrote it.

use serde_json::Value;
use ureq::http::StatusCode;

use super::shorten;

/// The sentence in an error's body: this program's `detail`, `FastAPI`'s list of them, or what there is.
pub fn detail(status: StatusCode, body: &[u8]) -> String {
    let decoded: Value = serde_json::from_slice(body).unwrap_or_default();
    match &decoded["detail"] {
        Value::String(detail) if !detail.trim().is_empty() => return detail.clone(),
        Value::Array(problems) if !problems.is_empty() => {
            return problems.iter().map(problem).collect::<Vec<_>>().join("; ");
        }
        _ => (),
    }
    let reason = status.canonical_reason().unwrap_or("unknown status");
    let status = format!("the server answered {} {reason}", status.as_u16());
    let text = String::from_utf8_lossy(body);
    match text.lines().map(str::trim).find(|line| !line.is_empty()) {
        Some(line) => format!("{status}: {}", shorten(line)),
        None => status,
    }
}

/// One of `FastAPI`'s problems: `{"loc": ["body", "num_nodes"], "msg": "...", "type": ...}`.
fn problem(problem: &Value) -> String {
    let Some(message) = problem["msg"].as_str() else {
        return shorten(&problem.to_string());
    };
    let place: Vec<String> = problem["loc"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|part| {
            part.as_str()
                .map_or_else(|| part.to_string(), str::to_owned)
        })
        .collect();
    match place.as_slice() {
        [] => message.to_owned(),
        place => format!("{}: {message}", place.join(".")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(status: u16, body: &str) -> String {
        detail(StatusCode::from_u16(status).unwrap(), body.as_bytes())
    }

    #[test]
    fn our_own_detail_is_shown_as_it_is() {
        let body = r#"{"detail":"task `ab12cd34` not found","reason":"NotFound"}"#;
        assert_eq!(told(404, body), "task `ab12cd34` not found");
        let body = r#"{"detail":"too warm","reason":"NobodyKnowsThisWord"}"#;
        assert_eq!(told(418, body), "too warm");
    }

    #[test]
    fn a_list_of_details_becomes_a_sentence() {
        let body = r#"{"detail":[
            {"type":"missing","loc":["header","x-user"],"msg":"Field required","input":null},
            {"type":"int_parsing","loc":["body","nodes",0,"rank"],"msg":"Input should be a valid integer"},
            {"type":"json_invalid","loc":[],"msg":"JSON decode error"},
            {"odd":true}
        ]}"#;
        assert_eq!(
            told(422, body),
            "header.x-user: Field required; body.nodes.0.rank: Input should be a valid integer; JSON decode error; \
             {\"odd\":true}"
        );
    }

    #[test]
    fn an_answer_without_a_detail_shows_its_status_and_first_line() {
        for (status, body, expected) in [
            (502, "", "the server answered 502 Bad Gateway"),
            (
                500,
                "{}",
                "the server answered 500 Internal Server Error: {}",
            ),
            (599, "", "the server answered 599 unknown status"),
            (
                500,
                "{\"detail\": \"\"}",
                "the server answered 500 Internal Server Error: {\"detail\": \"\"}",
            ),
            (
                502,
                "\n  <html>\x1b[2J\n<body>",
                "the server answered 502 Bad Gateway: <html>\\u{1b}[2J",
            ),
        ] {
            assert_eq!(told(status, body), expected);
        }
        let long = told(502, &"é".repeat(100_000));
        assert!(long.chars().count() < 250, "{long}");
    }
}
