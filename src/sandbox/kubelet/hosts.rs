//! `/etc/hosts` of pods: by which names they find each other.
//!
//! A cluster has a name server; processes of this machine have its name server, so the names are in a file, which the pods of one
//! subdomain share and have mounted over `/etc/hosts`. It follows the kubelet's own hosts files (Kubernetes,
//! `pkg/kubelet/kubelet_pods.go`, `managedHostsFileContent`, v1.36) and what a cluster's name server knows of a headless Service
//! (`kubernetes/dns`, `docs/specification.md`, version 1.1.0, section 2.4).
//!
//! Running pods read the file at any time, so it is never written anew: a line is appended with one write, and goes when its first
//! byte becomes a `#`. Nobody ever sees half of it.
//!
//! Two things differ from a cluster: a pod knows the names of its own subdomain only, and it knows its neighbours by their bare
//! host names, too, because its own has to be in the file that they share.

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

/// What the kubelet writes first.
const HEADER: &str = "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";

/// Who is known by which name.
pub struct Hosts {
    registry: Arc<Registry>,
    directory: PathBuf,
    domains: RefCell<HashMap<String, Domain>>,
}

/// The pods that share a file, by uid.
type Domain = HashMap<String, Member>;

/// A pod that has names.
struct Member {
    pod: Names,
    ready: bool,
    /// The line that stands in the file, and where.
    line: Option<(String, u64)>,
}

/// What the names of a pod are made of.
struct Names {
    address: Ipv4Addr,
    hostname: String,
    subdomain: String,
    namespace: String,
    labels: BTreeMap<String, String>,
}

/// A pod's place in the file. Its names go when it is dropped.
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

    /// Gives a pod its names, from before its first container starts.
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
            // A pod without a subdomain has a file for itself.
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

    /// Looks again at the names that a Service gives.
    pub fn refresh(&self, service: &Object) {
        let domain = domain(service.namespace(), service.name());
        let file = self.directory.join(&domain);
        let mut domains = self.domains.borrow_mut();
        for member in domains.get_mut(&domain).into_iter().flatten() {
            report(&file, self.write(&file, member.1));
        }
    }

    /// Brings a pod's line up to date.
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

    /// Notes whether the pod is ready, which some Services ask for.
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
    /// The pod's line; its longest name is the canonical one, as in the kubelet's file.
    fn line(&self, is_published: bool) -> String {
        let (hostname, namespace) = (&self.hostname, &self.namespace);
        let mut names = Vec::new();
        if is_published {
            // The Service's name leads to each of its pods.
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

/// Whether the Service that a pod's subdomain names gives the pod its name.
fn publishes(service: &Value, labels: &BTreeMap<String, String>, ready: bool) -> bool {
    let selector = string_map(&service["selector"]);
    text(&service["clusterIP"]) == "None"
        && !selector.is_empty()
        && selector
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
        && (ready || service["publishNotReadyAddresses"] == true)
}

/// The name of a subdomain's file; a namespace has no dots, so it is unique.
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
