//! The message in the body of an error answer: ours, `FastAPI`'s or a proxy's.

use serde_json::Value;
use ureq::http::StatusCode;

use super::shorten;

/// The message of an error answer: our `detail`, `FastAPI`'s list of problems, or else the status and the first line.
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

/// A problem as `FastAPI` writes it: `{"loc": ["body", "num_nodes"], "msg": "...", "type": ...}`.
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

    fn detail_of(status: u16, body: &str) -> String {
        detail(StatusCode::from_u16(status).unwrap(), body.as_bytes())
    }

    #[test]
    fn our_own_detail_is_unchanged() {
        let body = r#"{"detail":"task `ab12cd34` not found","reason":"NotFound"}"#;
        assert_eq!(detail_of(404, body), "task `ab12cd34` not found");
        let body = r#"{"detail":"too warm","reason":"AnUnknownReason"}"#;
        assert_eq!(detail_of(418, body), "too warm");
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
            detail_of(422, body),
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
            assert_eq!(detail_of(status, body), expected);
        }
        let long = detail_of(502, &"é".repeat(100_000));
        assert!(long.chars().count() < 250, "{long}");
    }
}
