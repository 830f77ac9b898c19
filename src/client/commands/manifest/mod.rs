//! `k8s-cli manifest`: what an operator needs to run the server, as Kubernetes objects or as a unit of systemd. No server is asked.

use std::env;

use serde_json::Value;

use crate::{
    cli::{Auth, ManifestArgs, role},
    client::{Context, Error, Exit},
};

const CLUSTER: &str = include_str!("cluster.yaml");
const UNIT: &str = include_str!("k8s-cli.service");

/// The warning about a server in the cluster that does not know its users.
const OPEN: &str = "warning: whoever reaches the Service can run anything in the namespace, as any user: use --auth kubernetes, or let only a proxy \
                    reach it (serve --trusted-proxy)";

/// Directories that the unit hides from the server, or that only their owner can enter.
const HIDDEN: [&str; 5] = ["/home/", "/root/", "/run/user/", "/tmp/", "/var/tmp/"];

pub fn run(context: &mut Context<'_>, args: ManifestArgs) -> Result<Exit, Error> {
    let text = match args.systemd {
        true => {
            let binary = env::current_exe();
            let binary = binary.map_or("/usr/local/bin/k8s-cli".to_owned(), |path| {
                path.display().to_string()
            });
            if HIDDEN.iter().any(|directory| binary.starts_with(directory)) {
                context.say(&format!(
                    "warning: the unit cannot start {binary}, which other users and services do not see: copy it to /usr/local/bin, and \
                     print the unit with that one"
                ));
            }
            unit(&args, &binary)
        }
        false => {
            if args.auth != Some(Auth::Kubernetes) {
                context.say(OPEN);
            }
            cluster(&args)
        }
    };
    context.out.write_all(text.as_bytes())?;
    Ok(Exit::Done)
}

/// The objects of a server in the cluster.
fn cluster(args: &ManifestArgs) -> String {
    let has_tokens = args.auth == Some(Auth::Kubernetes);
    let auth = if has_tokens {
        ", --auth, kubernetes"
    } else {
        ""
    };
    let role = role().replace("namespace: default", "namespace: \"NAMESPACE\"");
    let default = concat!("k8s-cli:", env!("CARGO_PKG_VERSION"));
    let documents = CLUSTER.split_inclusive("---\n");
    let wanted = documents.filter(|text| has_tokens || !text.contains("kind: ClusterRoleBinding"));
    // JSON is YAML, and a name of digits is no number in it.
    let image = Value::from(args.image.as_deref().unwrap_or(default)).to_string();
    wanted
        .collect::<String>()
        .replace("ROLE", &role)
        .replace("\"AUTH", &format!("\"{auth}"))
        .replace("NAMESPACE", &args.namespace)
        .replace("IMAGE", &image)
}

/// A unit of systemd for a server on a machine that its users log in to.
fn unit(args: &ManifestArgs, binary: &str) -> String {
    let auth = match args.auth {
        Some(Auth::Kubernetes) => " --auth kubernetes",
        _ => "",
    };
    UNIT.replace("NAMESPACEAUTH", &format!("{}{auth}", args.namespace))
        .replace("BINARY", &quoted(binary))
}

/// A path as a word of `ExecStart` (systemd.service(5)).
fn quoted(path: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+".contains(letter);
    if path.chars().all(is_plain) {
        return path.to_owned();
    }
    let path = path.replace('\\', r"\\").replace('"', "\\\"");
    format!("\"{}\"", path.replace('%', "%%").replace('$', "$$"))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    fn args(auth: Option<Auth>) -> ManifestArgs {
        ManifestArgs {
            namespace: "team".to_owned(),
            image: Some("registry.example/k8s-cli:1".to_owned()),
            auth,
            systemd: false,
        }
    }

    fn objects(auth: Option<Auth>) -> Vec<Value> {
        let text = cluster(&args(auth));
        let documents = serde_yaml::Deserializer::from_str(&text);
        documents
            .map(|document| Value::deserialize(document).unwrap())
            .collect()
    }

    #[test]
    fn names_that_look_like_other_values_are_texts() {
        for (namespace, image) in [("123", "true"), ("null", "@x"), ("1e3", "a\"b")] {
            let args = ManifestArgs {
                namespace: namespace.to_owned(),
                image: Some(image.to_owned()),
                ..args(Some(Auth::Kubernetes))
            };
            let text = cluster(&args);
            for document in serde_yaml::Deserializer::from_str(&text) {
                let object = Value::deserialize(document).unwrap();
                if object["kind"] == "Namespace" {
                    assert_eq!(object["metadata"]["name"], namespace);
                }
                if object["kind"] == "Deployment" {
                    let container = &object["spec"]["template"]["spec"]["containers"][0];
                    assert_eq!(container["image"], image);
                    assert_eq!(container["command"][7], namespace);
                }
            }
        }
    }

    #[test]
    fn the_objects_are_those_of_one_namespace() {
        let all = objects(Some(Auth::Kubernetes));
        let kinds: Vec<_> = all
            .iter()
            .map(|object| object["kind"].as_str().unwrap())
            .collect();
        assert_eq!(
            kinds,
            [
                "Namespace",
                "ServiceAccount",
                "Role",
                "RoleBinding",
                "ClusterRoleBinding",
                "Deployment",
                "Service"
            ]
        );
        for object in &all {
            let metadata = &object["metadata"];
            let is_global =
                ["Namespace", "ClusterRoleBinding"].contains(&object["kind"].as_str().unwrap());
            let expected = if is_global {
                Value::Null
            } else {
                json!("team")
            };
            assert_eq!(metadata["namespace"], expected, "{object}");
        }
        assert!(all[2]["rules"].as_array().unwrap().len() > 5);
        let container = &all[5]["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["image"], "registry.example/k8s-cli:1");
        let command: Vec<_> = container["command"]
            .as_array()
            .unwrap()
            .iter()
            .skip(6)
            .collect();
        assert_eq!(command, ["--namespace", "team", "--auth", "kubernetes"]);
        let open = objects(None);
        assert_eq!(open.len(), 6);
        let command = &open[4]["spec"]["template"]["spec"]["containers"][0]["command"];
        assert_eq!(command.as_array().unwrap().len(), 8);
    }

    #[test]
    fn the_unit_names_the_program() {
        let unit = unit(&args(None), "/opt/k8s-cli");
        let start =
            "ExecStart=/opt/k8s-cli serve --socket /run/k8s-cli/k8s-cli.sock --namespace team\n";
        assert!(unit.contains(start), "{unit}");
    }

    #[test]
    fn a_path_is_one_word_of_the_unit() {
        assert_eq!(quoted("/opt/k8s-cli_1.0/bin"), "/opt/k8s-cli_1.0/bin");
        assert_eq!(quoted("/opt/a b/100%"), r#""/opt/a b/100%%""#);
        assert_eq!(quoted(r#"/opt/"$x\"#), r#""/opt/\"$$x\\""#);
    }
}
