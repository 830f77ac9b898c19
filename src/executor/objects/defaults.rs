//! What a task gets where its file says nothing, as the operator decides. Pure.

use super::script;
use crate::api::{Quantity, TaskDefinition};

/// The image of a task that names none, unless the operator names another.
pub const IMAGE: &str = "python:3.13-slim";

/// The operator's values for fields that a task file leaves out.
#[derive(Clone, Debug, Default)]
pub struct Defaults {
    pub image: Option<String>,
    pub cpus: Option<Quantity>,
    pub memory: Option<Quantity>,
    /// A program that the default image lacks is not installed when a script calls it.
    pub never_install: bool,
}

impl Defaults {
    /// Fills in the fields that a task leaves out; returns whether programs that its image lacks may be installed, and warnings.
    pub fn apply(&self, task: &mut TaskDefinition) -> (bool, Vec<String>) {
        let is_default = task.resources.image_id.is_none();
        let mut warnings = Vec::new();
        if is_default && self.image.is_none() {
            warnings.extend(MISSING.iter().filter_map(|program| missing(task, program)));
        }
        let resources = &mut task.resources;
        resources.image_id = resources.image_id.take().or_else(|| self.image.clone());
        resources.cpus = resources.cpus.take().or_else(|| self.cpus.clone());
        resources.memory = resources.memory.take().or_else(|| self.memory.clone());
        (is_default && !self.never_install, warnings)
    }
}

/// Programs that task files call, that the image of SkyPilot has or a virtual machine would have, and that `shell.sh` cannot install
/// into [`IMAGE`].
const MISSING: [&str; 4] = ["conda", "docker", "nvcc", "systemctl"];

/// The warning about a program that the default image lacks, if the task plainly calls it.
fn missing(task: &TaskDefinition, program: &str) -> Option<String> {
    let mut texts = [("setup", script::setup(task)), ("run", &task.run)].into_iter();
    let (field, _) = texts.find(|(_, text)| calls(text, program))?;
    // A task that installs conda itself says so with the name of one of its installers.
    let installs = |text: &str| text.contains("iniconda") || text.contains("iniforge");
    if program == "conda" && (installs(script::setup(task)) || installs(&task.run)) {
        return None;
    }
    Some(format!(
        "{field}: it calls {program}, which the image {IMAGE} does not have: name an image that has it in `resources.image_id`"
    ))
}

/// Whether a script has a program at the beginning of a command.
fn calls(text: &str, program: &str) -> bool {
    let code = text.lines().map(str::trim_start);
    let code = code.filter(|line| !line.starts_with('#'));
    let mut commands = code.flat_map(|line| line.split(['&', ';', '|', '(']));
    commands.any(|command| {
        let mut words = command.split_whitespace();
        words.find(|word| !matches!(*word, "sudo" | "then" | "do" | "else" | "if" | "!" | "exec"))
            == Some(program)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn task(setup: &str, image: Option<&str>) -> TaskDefinition {
        let task = json!({"setup": setup, "run": "true", "resources": {"image_id": image}});
        TaskDefinition::from_json(&task).unwrap()
    }

    #[test]
    fn fields_that_a_file_leaves_out_are_filled_in() {
        let defaults = Defaults {
            image: Some("ghcr.io/team/base:1".to_owned()),
            cpus: Some(crate::api::read_cpus(&"2+".into()).unwrap()),
            memory: None,
            never_install: false,
        };
        let mut bare = task("true", None);
        assert_eq!(defaults.apply(&mut bare), (true, Vec::new()));
        assert_eq!(
            bare.resources.image_id.as_deref(),
            Some("ghcr.io/team/base:1")
        );
        assert!(bare.resources.cpus.unwrap().at_least && bare.resources.memory.is_none());
        let mut own = task("conda activate x", Some("alpine"));
        assert_eq!(defaults.apply(&mut own), (false, Vec::new()));
        assert_eq!(own.resources.image_id.as_deref(), Some("alpine"));
    }

    #[test]
    fn programs_that_the_default_image_lacks_give_a_warning() {
        for (setup, expected) in [
            ("conda create -n x", Some("setup: it calls conda")),
            ("true && sudo docker run x", Some("setup: it calls docker")),
            (
                "if docker ps; then true; fi",
                Some("setup: it calls docker"),
            ),
            ("# conda activate x", None),
            ("pip install conda-pack docker", None),
            (
                "bash Miniconda3-latest-Linux-x86_64.sh -b\nconda init",
                None,
            ),
        ] {
            let (_, warnings) = Defaults::default().apply(&mut task(setup, None));
            let warning = warnings.first().map(String::as_str);
            match expected {
                Some(start) => assert!(
                    warning.is_some_and(|text| text.starts_with(start)),
                    "{setup}"
                ),
                None => assert_eq!(warning, None, "{setup}"),
            }
        }
    }
}
