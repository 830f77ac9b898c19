//! Reads how to reach a cluster: from kubeconfigs, as kubectl reads them, or as a pod.
//!
//! kube parses and merges the files. This module chooses the context, and decides what the fields mean. Where kube and kubectl
//! differ, it is kubectl's reading that people have tried.

use std::{
    env, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use http::Uri;
use k8s_openapi::ByteString;
use kube::{
    Config,
    config::{AuthInfo, Cluster, ExecAuthCluster, Kubeconfig, KubeconfigError},
};
use rustls::{pki_types::ServerName, sign::CertifiedKey};
use secrecy::{ExposeSecret, SecretString};

use super::{
    connection::Access,
    credentials::{Credentials, Source},
    plugin::Plugin,
    tls,
};
use crate::{
    certificate::Trust,
    proxy::{self, InvalidProxy, Proxy, Target},
};

/// Where Kubernetes puts the service account of a pod.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The access that the environment gives: as a pod, else by `KUBECONFIG`, else by `~/.kube/config`.
///
/// # Errors
/// There is none, or it cannot be used.
pub fn of_environment() -> Result<Access, String> {
    if env::var_os("KUBERNETES_SERVICE_HOST").is_some()
        && Path::new(SERVICE_ACCOUNT).join("token").exists()
    {
        return of_pod().map_err(|problem| format!("the configuration of this pod: {problem}"));
    }
    of_files().map_err(|problem| format!("{problem}; `serve --sandbox` needs no cluster"))
}

fn of_files() -> Result<Access, String> {
    let listed = env::var_os("KUBECONFIG").filter(|paths| !paths.is_empty());
    let paths: Vec<PathBuf> = match &listed {
        Some(paths) => env::split_paths(paths).collect(),
        None => {
            let home = env::home_dir();
            let home = home.ok_or("the kubeconfig: neither KUBECONFIG nor HOME is set")?;
            vec![home.join(".kube/config")]
        }
    };
    let paths = paths
        .into_iter()
        .filter(|path| !path.as_os_str().is_empty());
    let paths: Vec<PathBuf> = paths.collect();
    let names = quoted(paths.iter().map(|path| path.display().to_string()));
    let merged = read_all(&paths)?;
    let merged = merged.ok_or_else(|| match listed {
        Some(_) => format!("the kubeconfig {names} (KUBECONFIG): there is no such file"),
        None => format!("the kubeconfig: KUBECONFIG is not set, and there is no {names}"),
    })?;
    access(&merged, &|name| env::var(name).ok())
        .map_err(|problem| format!("the kubeconfig {names}: {problem}"))
}

/// The access that a file gives to a cluster on this machine, which no proxy of the environment is in front of.
///
/// # Errors
/// The file cannot be used.
pub fn of_file(path: &Path) -> Result<Access, String> {
    let name = format!("the kubeconfig `{}`", path.display());
    let file = read(path)?.ok_or_else(|| format!("{name}: there is no such file"))?;
    access(&file, &|_| None).map_err(|problem| format!("{name}: {problem}"))
}

/// Merges files as kubectl does: those that do not exist are skipped, and the first one that names a thing wins. None if no file
/// exists.
fn read_all(paths: &[PathBuf]) -> Result<Option<Kubeconfig>, String> {
    let mut merged: Option<Kubeconfig> = None;
    for path in paths {
        let Some(next) = read(path)? else { continue };
        merged = Some(match merged {
            None => next,
            Some(first) => (first.merge(next))
                .map_err(|error| format!("the kubeconfig `{}`: {error}", path.display()))?,
        });
    }
    Ok(merged)
}

fn read(path: &Path) -> Result<Option<Kubeconfig>, String> {
    match Kubeconfig::read_from(path) {
        Ok(mut file) => {
            file.current_context = set(file.current_context);
            Ok(Some(file))
        }
        Err(KubeconfigError::ReadConfig(error, _)) if error.kind() == io::ErrorKind::NotFound => {
            Ok(None)
        }
        Err(KubeconfigError::ReadConfig(error, _)) => {
            Err(format!("the kubeconfig `{}`: {error}", path.display()))
        }
        // The lines below the first one quote the file, in which secrets may be.
        Err(error) => {
            let error = error.to_string();
            let line = error.lines().next().unwrap_or_default();
            Err(format!("the kubeconfig `{}`: {line}", path.display()))
        }
    }
}

/// A value; an empty one counts as none.
fn set(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn quoted(names: impl Iterator<Item = String>) -> String {
    let names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// The cluster and the user of the current context.
fn choose(file: &Kubeconfig) -> Result<(Cluster, AuthInfo), String> {
    let known = quoted(file.contexts.iter().map(|context| context.name.clone()));
    let known = match known.as_str() {
        "" => "it has no contexts".to_owned(),
        known => format!("its contexts are {known}"),
    };
    let Some(name) = &file.current_context else {
        return Err(format!(
            "no context is chosen (`kubectl config use-context NAME`); {known}"
        ));
    };
    let context = file.contexts.iter().find(|context| context.name == *name);
    let context = context
        .and_then(|named| named.context.as_ref())
        .ok_or_else(|| format!("there is no context `{name}`; {known}"))?;
    let cluster = (file.clusters.iter())
        .find(|cluster| cluster.name == context.cluster)
        .and_then(|named| named.cluster.clone())
        .ok_or_else(|| {
            format!(
                "the context `{name}` names the cluster `{}`, which does not exist",
                context.cluster
            )
        })?;
    let Some(user) = set(context.user.clone()) else {
        return Ok((cluster, AuthInfo::default()));
    };
    let found = file.auth_infos.iter().find(|known| known.name == user);
    if found.is_none() {
        // kubectl connects without credentials.
        log::warn!("the context `{name}` names the user `{user}`, which does not exist");
    }
    let auth_info = found.and_then(|found| found.auth_info.clone());
    Ok((cluster, auth_info.unwrap_or_default()))
}

fn access(file: &Kubeconfig, variables: proxy::Variables<'_>) -> Result<Access, String> {
    let (cluster, user) = choose(file)?;
    access_to(cluster, user, variables)
}

fn access_to(
    cluster: Cluster,
    user: AuthInfo,
    variables: proxy::Variables<'_>,
) -> Result<Access, String> {
    let url = url(&cluster, &user)?;
    let trust = trust(&cluster)?;
    let proxy = match set(cluster.proxy_url.clone()) {
        Some(url) => Some(url.parse().map_err(|()| {
            let origin = "proxy-url".to_owned();
            InvalidProxy { origin }.to_string()
        })?),
        None => proxy_of(&url, variables)?,
    };
    let server_name = set(cluster.tls_server_name.clone()).map(|name| {
        ServerName::try_from(name.clone())
            .map_err(|_| format!("the tls-server-name `{name}` is not a name of a host"))
    });
    let certificate = certificate(&user)?;
    let source = source(&cluster, &user)?;
    let mut config = Config::new(url);
    config.auth_info = AuthInfo {
        impersonate: set(user.impersonate),
        impersonate_uid: set(user.impersonate_uid),
        impersonate_groups: user.impersonate_groups,
        impersonate_user_extra: user.impersonate_user_extra,
        ..AuthInfo::default()
    };
    let credentials = Credentials::new(source, certificate);
    Ok(Access {
        config,
        proxy,
        tls: Arc::new(tls::settings(&trust, credentials.clone())?),
        server_name: server_name.transpose()?,
        credentials,
    })
}

/// The URL of the API server. As for kubectl, an address without a scheme is one of TLS if TLS is configured.
fn url(cluster: &Cluster, user: &AuthInfo) -> Result<Uri, String> {
    let server = set(cluster.server.clone()).ok_or("the cluster has no server")?;
    let server = match server.contains("://") {
        true => server,
        false => {
            let has_tls = cluster.certificate_authority.is_some()
                || cluster.certificate_authority_data.is_some()
                || cluster.insecure_skip_tls_verify == Some(true)
                || user.client_certificate.is_some()
                || user.client_certificate_data.is_some();
            format!("{}://{server}", if has_tls { "https" } else { "http" })
        }
    };
    let url: Option<Uri> = server.parse().ok();
    let url = url.filter(|url| matches!(url.scheme_str(), Some("http" | "https")));
    url.filter(|url| url.host().is_some_and(|host| !host.is_empty()))
        .ok_or_else(|| "the server of the cluster is not an HTTP URL".to_owned())
}

/// The proxy that the environment names.
fn proxy_of(url: &Uri, variables: proxy::Variables<'_>) -> Result<Option<Proxy>, String> {
    let is_https = url.scheme_str() != Some("http");
    let target = Target {
        is_https,
        host: url.host().unwrap_or_default(),
        port: url.port_u16().unwrap_or(if is_https { 443 } else { 80 }),
    };
    proxy::of_environment(variables, target, &[]).map_err(|error| error.to_string())
}

fn trust(cluster: &Cluster) -> Result<Trust, String> {
    if cluster.insecure_skip_tls_verify == Some(true) {
        return Ok(Trust::Any);
    }
    match (
        set(cluster.certificate_authority_data.clone()),
        set(cluster.certificate_authority.clone()),
    ) {
        (Some(data), _) => decode(&data, "certificate-authority-data").map(Trust::Pem),
        (None, Some(path)) => Ok(Trust::File(path.into())),
        (None, None) => Ok(Trust::System),
    }
}

fn decode(text: &str, field: &str) -> Result<Vec<u8>, String> {
    let text: String = text.split_whitespace().collect();
    let bytes: ByteString =
        serde_json::from_value(text.into()).map_err(|_| format!("{field} is not base64"))?;
    Ok(bytes.0)
}

/// Reads a field of the user, or the file that it names.
fn data_or_file(
    field: &str,
    data: Option<String>,
    path: Option<String>,
) -> Result<Option<Vec<u8>>, String> {
    match (set(data), set(path)) {
        (Some(data), _) => decode(&data, &format!("{field}-data")).map(Some),
        (None, Some(path)) => std::fs::read(&path)
            .map(Some)
            .map_err(|error| format!("cannot read the {field} `{path}`: {error}")),
        (None, None) => Ok(None),
    }
}

fn certificate(user: &AuthInfo) -> Result<Option<Arc<CertifiedKey>>, String> {
    let certificate = data_or_file(
        "client-certificate",
        user.client_certificate_data.clone(),
        user.client_certificate.clone(),
    )?;
    let key = user.client_key_data.as_ref();
    let key = key.map(|key| key.expose_secret().to_owned());
    let key = data_or_file("client-key", key, user.client_key.clone())?;
    match (certificate, key) {
        (Some(certificate), Some(key)) => tls::identity(&certificate, &key).map(Some),
        (None, None) => Ok(None),
        (Some(_), None) => Err("the user has a client-certificate, but no client-key".to_owned()),
        (None, Some(_)) => Err("the user has a client-key, but no client-certificate".to_owned()),
    }
}

/// The token or the plugin of a user. A file comes before a token, and both before a plugin.
fn source(cluster: &Cluster, user: &AuthInfo) -> Result<Source, String> {
    let exposed = |secret: &Option<SecretString>| {
        set(secret
            .as_ref()
            .map(|secret| secret.expose_secret().to_owned()))
    };
    let token = exposed(&user.token);
    if let Some(path) = set(user.token_file.clone()) {
        return Ok(Source::File(path.into(), token));
    }
    if let Some(token) = token {
        return Ok(Source::Token(token));
    }
    if let (Some(user), Some(password)) = (set(user.username.clone()), exposed(&user.password)) {
        return Ok(Source::Basic { user, password });
    }
    if let Some(mut exec) = user.exec.clone() {
        if exec.provide_cluster_info {
            let cluster = ExecAuthCluster::try_from(cluster).map_err(|error| error.to_string())?;
            exec.cluster = Some(cluster);
        }
        return Plugin::new(exec).map(|plugin| Source::Plugin(Box::new(plugin)));
    }
    let Some(provider) = &user.auth_provider else {
        return Ok(Source::None);
    };
    // kubectl has this one only. The others became plugins.
    match provider.config.get("id-token") {
        Some(token) if provider.name == "oidc" => Ok(Source::Token(token.clone())),
        _ => Err(format!(
            "the auth-provider `{}` is not supported: use a plugin (`exec`)",
            provider.name
        )),
    }
}

/// The access of a pod, by its service account.
fn of_pod() -> Result<Access, String> {
    let mut config = Config::incluster().map_err(|error| error.to_string())?;
    let url = config.cluster_url.clone();
    let token = config.auth_info.token_file.take().unwrap_or_default();
    let trust = config
        .root_cert_file
        .take()
        .map_or(Trust::System, Trust::File);
    let credentials = Credentials::new(Source::File(token.into(), None), None);
    let variables = |name: &str| env::var(name).ok();
    Ok(Access {
        proxy: proxy_of(&url, &variables)?,
        tls: Arc::new(tls::settings(&trust, credentials.clone())?),
        server_name: None,
        credentials,
        config,
    })
}

/// The access to a server at a URL, without credentials.
#[cfg(test)]
pub fn of_url(url: &str) -> Result<Access, String> {
    let cluster = Cluster {
        server: Some(url.to_owned()),
        ..Cluster::default()
    };
    access_to(cluster, AuthInfo::default(), &|_| None)
}

#[cfg(test)]
mod tests;
