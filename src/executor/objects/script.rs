//! What a container runs: the commands of a task, in bash.

use crate::api::TaskDefinition;

/// What a container leaves as its last word when `setup` has failed.
pub const SETUP_FAILED: &str = "k8s-cli: setup failed";
/// Where Kubernetes takes a container's last word from.
const LAST_WORD: &str = "/dev/termination-log";
/// Root needs no `sudo`, and many images have none, but task files call it: SkyPilot makes it an alias for nothing then.
const SUDO: &str =
    r#"[ "$EUID" != 0 ] || command -v sudo >/dev/null || { sudo() { "$@"; }; export -f sudo; }"#;
/// What SkyPilot calls these while it sets up (SkyPilot 0.14.1, `sky/skylet/constants.py`).
const SETUP_VARIABLES: &str = "SKYPILOT_SETUP_NODE_RANK=$SKYPILOT_NODE_RANK SKYPILOT_SETUP_NODE_IPS=$SKYPILOT_NODE_IPS \
                               SKYPILOT_SETUP_NUM_GPUS_PER_NODE=$SKYPILOT_NUM_GPUS_PER_NODE";

/// What the container's bash runs. As in SkyPilot, `setup` is a shell of its own, and `run` starts only if it succeeded.
pub fn script(task: &TaskDefinition) -> String {
    let mut script = String::new();
    let setup = task.setup.as_deref().unwrap_or_default();
    if setup.contains("sudo") || task.run.contains("sudo") {
        script = format!("{SUDO}\n");
    }
    if let Some(workdir) = task
        .workdir
        .as_deref()
        .filter(|workdir| workdir.starts_with('/'))
    {
        script += &format!("cd -- {} || exit\n", quote(workdir));
    }
    if !setup.trim().is_empty() {
        script += &format!(
            "{SETUP_VARIABLES} /bin/bash -c {} || {{ code=$?; printf {} 2>/dev/null >{LAST_WORD}; exit $code; }}\n",
            quote(setup),
            quote(SETUP_FAILED),
        );
    }
    script + &task.run
}

/// Quotes a text so that a shell reads it as one word.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_one_word_for_the_shell() {
        assert_eq!(quote("it's"), r"'it'\''s'");
    }
}
