//! The message in the body of an error answer: ours or `FastAPI`'s.

use serde_json::Value;

use super::failure::shorten;

/// The message of an error answer: our `detail`, or `FastAPI`'s list of problems; and the reason, which only our servers give. None
/// if another program wrote the answer.
pub fn detail(body: &[u8]) -> Option<(String, Option<String>)> {
    let decoded: Value = serde_json::from_slice(body).ok()?;
    let detail = match &decoded["detail"] {
        Value::String(detail) if !detail.trim().is_empty() => detail.clone(),
        Value::Array(problems) if !problems.is_empty() => {
            problems.iter().map(problem).collect::<Vec<_>>().join("; ")
        }
        _ => return None,
    };
    let reason = decoded["reason"].as_str().map(str::to_owned);
    // FastAPI's answer for a path that a program does not have.
    if reason.is_none() && detail == "Not Found" {
        return None;
    }
    Some((detail, reason))
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

    fn detail_of(body: &str) -> Option<String> {
        detail(body.as_bytes()).map(|(detail, _)| detail)
    }

    #[test]
    fn our_own_detail_is_unchanged() {
        let body = r#"{"detail":"task `ab12cd34` not found","reason":"NotFound"}"#;
        assert_eq!(detail_of(body).unwrap(), "task `ab12cd34` not found");
        let body = r#"{"detail":"too warm","reason":"AnUnknownReason"}"#;
        assert_eq!(detail_of(body).unwrap(), "too warm");
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
            detail_of(body).unwrap(),
            "header.x-user: Field required; body.nodes.0.rank: Input should be a valid integer; JSON decode error; \
             {\"odd\":true}"
        );
    }

    #[test]
    fn another_program_has_no_detail() {
        for body in [
            "",
            "{}",
            "{\"detail\": \"\"}",
            "{\"detail\": []}",
            "<html>\x1b[2J\n<body>",
            "{\"detail\": \"Not Found\"}",
        ] {
            assert_eq!(detail_of(body), None, "{body}");
        }
    }
}
