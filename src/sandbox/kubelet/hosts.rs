//! `/etc/hosts` of pods: the names by which pods find each other.
//!
//! The sandbox has no name server. Instead the names are in a file, which the pods of one subdomain share and which is mounted over
//! `/etc/hosts`. The file has the form of the kubelet's own (Kubernetes, `pkg/kubelet/kubelet_pods.go`, `managedHostsFileContent`,
//! v1.36) and the names of a headless Service (`kubernetes/dns`, `docs/specification.md`, version 1.1.0, section 2.4).
//!
//! Running pods may read the file at any time and must not see half of a change. So the file is never rewritten: one write appends
//! a line, and a `#` in place of its first byte removes it.
//!
//! There are two differences from a cluster: a pod finds only the pods of its own subdomain, and it also finds them by their bare
//! host names, since each pod's own host name must be in the shared file.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    fs::{self, File, OpenOptions},
    io::{self, Seek, SeekFrom, Write},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
};

use serde_json::Value;

use super::environment;
use crate::sandbox::objects::{
    object::{Object, string_map, text},
    registry::Registry,
    resource::Kind,
};

/// The first lines, those of the kubelet.
const HEADER: &str = "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";

/// The hosts files of all subdomains.
pub struct Hosts {
    registry: Arc<Registry>,
    directory: PathBuf,
    domains: RefCell<HashMap<String, Domain>>,
}

/// The pods that share a file, by uid.
type Domain = HashMap<String, Member>;

/// A pod in a hosts file.
struct Member {
    pod: Names,
    ready: bool,
    /// The pod's line in the file, and its offset.
    line: Option<(String, u64)>,
}

/// The parts of a pod's names.
struct Names {
    address: Ipv4Addr,
    hostname: String,
    subdomain: String,
    namespace: String,
    labels: BTreeMap<String, String>,
}

/// The entry of a pod in its hosts file, which is removed when this is dropped.
pub struct Membership {
    hosts: Rc<Hosts>,
    domain: String,
    uid: String,
}

impl Hosts {
    pub fn new(registry: Arc<Registry>, directory: PathBuf) -> Rc<Self> {
        Rc::new(Self {
            registry,
            directory,
            domains: RefCell::default(),
        })
    }

    /// Adds the names of a pod, before its first container starts.
    pub fn join(
        self: &Rc<Self>,
        object: &Object,
        pod: &Value,
        address: Ipv4Addr,
    ) -> io::Result<Membership> {
        let names = Names {
            address,
            hostname: environment::hostname(pod),
            subdomain: text(&pod["spec"]["subdomain"]).to_owned(),
            namespace: object.namespace().to_owned(),
            labels: object.labels.clone(),
        };
        let membership = Membership {
            hosts: self.clone(),
            // A pod without a subdomain has a file of its own.
            domain: match names.subdomain.as_str() {
                "" => object.uid.clone(),
                subdomain => domain(&names.namespace, subdomain),
            },
            uid: object.uid.clone(),
        };
        fs::create_dir_all(&self.directory)?;
        let mut domains = self.domains.borrow_mut();
        let members = domains.entry(membership.domain.clone()).or_default();
        if members.is_empty() {
            fs::write(membership.file(), HEADER)?;
        }
        let mut member = Member {
            pod: names,
            ready: false,
            line: None,
        };
        let written = self.write(&membership.file(), &mut member);
        members.insert(object.uid.clone(), member);
        drop(domains);
        written.map(|()| membership)
    }

    /// Updates the lines of the pods that a Service selects.
    pub fn refresh(&self, service: &Object) {
        let domain = domain(service.namespace(), service.name());
        let file = self.directory.join(&domain);
        let mut domains = self.domains.borrow_mut();
        for member in domains.get_mut(&domain).into_iter().flatten() {
            report(&file, self.write(&file, member.1));
        }
    }

    /// Updates a pod's line.
    fn write(&self, file: &Path, member: &mut Member) -> io::Result<()> {
        let pod = &member.pod;
        let service = self
            .registry
            .get(Kind::Service, &pod.namespace, &pod.subdomain)
            .map(|service| service.value())
            .unwrap_or_default();
        let line = pod.line(publishes(&service["spec"], &pod.labels, member.ready));
        if let Some((present, offset)) = &member.line {
            if *present == line {
                return Ok(());
            }
            remove(file, *offset)?;
        }
        member.line = None;
        let offset = append(file, &line)?;
        member.line = Some((line, offset));
        Ok(())
    }
}

impl Membership {
    /// The file to mount over `/etc/hosts`.
    pub fn file(&self) -> PathBuf {
        self.hosts.directory.join(&self.domain)
    }

    /// Notes whether the pod is ready: some Services publish only ready pods.
    pub fn set_ready(&self, ready: bool) {
        let mut domains = self.hosts.domains.borrow_mut();
        let member = domains
            .get_mut(&self.domain)
            .and_then(|members| members.get_mut(&self.uid));
        if let Some(member) = member.filter(|member| member.ready != ready) {
            member.ready = ready;
            report(&self.file(), self.hosts.write(&self.file(), member));
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut domains = self.hosts.domains.borrow_mut();
        let Some(members) = domains.get_mut(&self.domain) else {
            return;
        };
        let member = members.remove(&self.uid);
        if members.is_empty() {
            domains.remove(&self.domain);
            report(&self.file(), fs::remove_file(self.file()));
        } else if let Some((_, offset)) = member.and_then(|member| member.line) {
            report(&self.file(), remove(&self.file(), offset));
        }
    }
}

impl Names {
    /// The pod's line. The longest name is the canonical one, as in the kubelet's file.
    fn line(&self, is_published: bool) -> String {
        let (hostname, namespace) = (&self.hostname, &self.namespace);
        let mut names = Vec::new();
        if is_published {
            // The name of the Service resolves to all of its pods.
            for name in [
                format!("{hostname}.{}", self.subdomain),
                self.subdomain.clone(),
            ] {
                names.extend(["svc.cluster.local.", "svc.", ""].map(|zone| {
                    format!("{name}.{namespace}.{zone}")
                        .trim_end_matches('.')
                        .to_owned()
                }));
                names.push(name);
            }
        }
        names.push(hostname.clone());
        format!("{}\t{}\n", self.address, names.join(" "))
    }
}

/// Whether the Service of a pod's subdomain publishes the pod.
fn publishes(service: &Value, labels: &BTreeMap<String, String>, ready: bool) -> bool {
    let selector = string_map(&service["selector"]);
    text(&service["clusterIP"]) == "None"
        && !selector.is_empty()
        && selector
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
        && (ready || service["publishNotReadyAddresses"] == true)
}

/// The name of a subdomain's file. A namespace has no dots, so the name is unique.
fn domain(namespace: &str, subdomain: &str) -> String {
    format!("{subdomain}.{namespace}")
}

fn append(file: &Path, line: &str) -> io::Result<u64> {
    let mut file = OpenOptions::new().append(true).open(file)?;
    file.write_all(line.as_bytes())?;
    Ok(file.stream_position()? - line.len() as u64)
}

fn remove(file: &Path, offset: u64) -> io::Result<()> {
    let mut file: File = OpenOptions::new().write(true).open(file)?;
    file.seek(SeekFrom::Start(offset))?;
    file.write_all(b"#")
}

fn report(file: &Path, result: io::Result<()>) {
    if let Err(error) = result {
        log::warn!("sandbox: {}: {error}", file.display());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn labels() -> BTreeMap<String, String> {
        BTreeMap::from([("task".to_owned(), "a".to_owned())])
    }

    #[test]
    fn a_headless_service_gives_names_to_the_pods_it_selects() {
        let service = |address: &str, task: &str, eager: bool| json!({ "clusterIP": address, "selector": { "task": task }, "publishNotReadyAddresses": eager });
        assert!(publishes(&service("None", "a", true), &labels(), false));
        assert!(publishes(&service("None", "a", false), &labels(), true));
        assert!(!publishes(&service("None", "a", false), &labels(), false));
        assert!(!publishes(&service("None", "b", true), &labels(), true));
        assert!(!publishes(
            &service("10.96.0.7", "a", true),
            &labels(),
            true
        ));
        assert!(!publishes(&Value::Null, &labels(), true));
    }

    #[test]
    fn a_line_begins_with_the_whole_name() {
        let pod = Names {
            address: Ipv4Addr::new(127, 64, 0, 1),
            hostname: "node-0".to_owned(),
            subdomain: "task".to_owned(),
            namespace: "team".to_owned(),
            labels: labels(),
        };
        assert_eq!(pod.line(false), "127.64.0.1\tnode-0\n");
        assert_eq!(
            pod.line(true),
            "127.64.0.1\tnode-0.task.team.svc.cluster.local node-0.task.team.svc node-0.task.team node-0.task \
             task.team.svc.cluster.local task.team.svc task.team task node-0\n"
        );
    }
}
