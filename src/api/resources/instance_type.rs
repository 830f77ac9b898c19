//! `instance_type`: the names that SkyPilot gives to resources on Kubernetes.

use super::{
    Accelerators, Quantity,
    quantity::{read_cpus, read_memory},
};

/// The resources that a name says.
#[derive(Debug, PartialEq)]
pub struct InstanceType {
    pub cpus: Quantity,
    pub memory: Quantity,
    pub gpus: Option<Accelerators>,
}

impl InstanceType {
    /// Reads a name such as `4CPU--16GB` or `4CPU--16GB--H100:2` (SkyPilot 0.14.1, `sky/provision/kubernetes/utils.py`,
    /// `KubernetesInstanceType`); none for the instance type of a cloud.
    pub fn parse(name: &str) -> Option<Self> {
        let mut parts = name.split("--");
        let cpus = parts.next()?.strip_suffix("CPU")?;
        let memory = parts.next()?.strip_suffix("GB")?;
        let gpus = match parts.next() {
            Some(gpus) => Some(Accelerators::parse(gpus)?),
            None => None,
        };
        let is_whole = parts.next().is_none();
        is_whole.then_some(Self {
            cpus: read_cpus(&cpus.into()).ok()?,
            memory: read_memory(&memory.into()).ok()?,
            gpus,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_skypilot_say_the_resources() {
        let parse = |name| {
            let InstanceType { cpus, memory, gpus } = InstanceType::parse(name)?;
            Some(format!(
                "{cpus} {memory} {}",
                gpus.map_or_else(String::new, |gpus| gpus.to_string())
            ))
        };
        for (name, expected) in [
            ("4CPU--16GB", Some("4 16G ")),
            ("0.5CPU--2.5GB", Some("0.5 2.5G ")),
            ("4CPU--16GB--H100:2", Some("4 16G H100:2")),
            ("m5.large", None),
            ("4CPU", None),
            ("4CPU--16GB--", None),
            ("4CPU--16GB--H100:2--x", None),
        ] {
            assert_eq!(parse(name).as_deref(), expected, "{name}");
        }
    }
}
