//! Whether a task is started again: SkyPilot's `job_recovery`, and `--recover`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// When a new attempt of a task begins. A node that is lost to the cluster is always a reason.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recovery {
    /// How many failures of the task itself are a reason.
    #[serde(default)]
    pub max_restarts_on_errors: u32,
    /// The exit codes that are a reason each time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recover_on_exit_codes: Vec<u8>,
}

impl Recovery {
    /// The meaning of `job_recovery` in SkyPilot's normal form, which was checked; none if it turns recovery off. A cluster has one
    /// place for tasks, so the strategies do not differ.
    pub fn from_json(value: &Value) -> Option<Self> {
        if value["strategy"] == "NONE" {
            return None;
        }
        // A whole number may be written as `3.0`.
        let number = |value: &Value| {
            value
                .as_u64()
                .or(value.as_f64().map(|number| number as u64))
        };
        let most = number(&value["max_restarts_on_errors"]).unwrap_or(0);
        let codes = match &value["recover_on_exit_codes"] {
            Value::Array(codes) => codes.iter().collect(),
            code => vec![code],
        };
        let code = |code: &Value| u8::try_from(number(code)?).ok();
        Some(Self {
            max_restarts_on_errors: u32::try_from(most).unwrap_or(u32::MAX),
            recover_on_exit_codes: codes.into_iter().filter_map(code).collect(),
        })
    }

    /// Whether the failure of a node with this exit code is a reason each time.
    pub fn recovers_from(&self, exit_code: Option<i32>) -> bool {
        let code = exit_code.and_then(|code| u8::try_from(code).ok());
        code.is_some_and(|code| self.recover_on_exit_codes.contains(&code))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::api::{Recovery, TaskDefinition};

    #[test]
    fn a_file_or_the_command_line_asks_for_recovery() {
        let of = |most, codes: &[u8]| {
            Some(Recovery {
                max_restarts_on_errors: most,
                recover_on_exit_codes: codes.to_vec(),
            })
        };
        for (given, is_asked, expected) in [
            (json!(null), false, None),
            (json!(null), true, of(0, &[])),
            (json!("failover"), false, of(0, &[])),
            (json!("None"), false, None),
            (json!("none"), true, of(0, &[])),
            (
                json!({"strategy": "none", "max_restarts_on_errors": 2}),
                false,
                None,
            ),
            (json!({}), false, of(0, &[])),
            (json!({"max_restarts_on_errors": 3}), true, of(3, &[])),
            (json!({"recover_on_exit_codes": 33}), false, of(0, &[33])),
            (
                json!({"strategy": "EAGER_NEXT_REGION", "max_restarts_on_errors": 1, "recover_on_exit_codes": [0, 255]}),
                false,
                of(1, &[0, 255]),
            ),
            (
                json!({"max_restarts_on_errors": u64::from(u32::MAX) + 1}),
                false,
                of(u32::MAX, &[]),
            ),
        ] {
            let task = json!({"run": "true", "resources": {"job_recovery": given}});
            let task = TaskDefinition::from_json(&task).unwrap();
            assert_eq!(task.recovery(is_asked), expected, "{given} {is_asked}");
            // A server gets the normal form.
            let wire = task.to_wire().unwrap();
            let again = TaskDefinition::from_json(&wire).unwrap();
            assert_eq!(again.recovery(is_asked), expected, "{wire}");
        }
    }

    #[test]
    fn exit_codes_are_compared() {
        let recovery = Recovery {
            max_restarts_on_errors: 0,
            recover_on_exit_codes: vec![33, 137],
        };
        assert!(recovery.recovers_from(Some(33)) && recovery.recovers_from(Some(137)));
        assert!(!recovery.recovers_from(Some(1)) && !recovery.recovers_from(None));
        assert!(!recovery.recovers_from(Some(289)));
    }
}
