//! Options of `serve` that are valid alone, but not together, or that would have no effect.

use super::{Auth, ServeArgs};

impl ServeArgs {
    /// Whether the server listens on a port. Beside an open port, the users of a socket would be worth nothing, so a socket comes
    /// alone unless a port is asked for.
    pub fn has_port(&self) -> bool {
        self.socket.is_none() || self.host.is_some() || self.port.is_some() || self.auth.is_some()
    }

    fn has_tokens(&self) -> bool {
        self.auth == Some(Auth::Kubernetes)
    }

    /// The first contradiction, as a message for the user.
    pub(super) fn contradiction(&self) -> Option<String> {
        let has_tokens = self.has_tokens();
        let needs = [
            (
                "--sandbox",
                self.sandbox,
                &[
                    (
                        "--sandbox-log-max-size",
                        self.sandbox_log_max_size.is_some(),
                    ),
                    ("--sandbox-objects", self.sandbox_objects.is_some()),
                    ("--sandbox-users", self.sandbox_users.is_some()),
                ][..],
            ),
            (
                "--socket",
                self.socket.is_some(),
                &[("--socket-user-domain", self.socket_user_domain.is_some())],
            ),
            (
                "--tls-key",
                self.tls_key.is_some(),
                &[("--tls-cert", self.tls_cert.is_some())],
            ),
            (
                "--tls-cert",
                self.tls_cert.is_some(),
                &[("--tls-key", self.tls_key.is_some())],
            ),
            (
                "--auth kubernetes",
                has_tokens,
                &[("--audience", self.audience.is_some())],
            ),
            (
                "--auth header",
                !has_tokens,
                &[
                    ("--user-header", self.user_header.is_some()),
                    ("--trusted-proxy", !self.trusted_proxy.is_empty()),
                ],
            ),
            (
                "--auth header or --socket (with tokens, the cluster says who may act for all users)",
                !has_tokens || self.socket.is_some(),
                &[("--admin", !self.admin.is_empty())],
            ),
            (
                "--host or --port (with --socket alone, no port is open)",
                self.has_port(),
                &[
                    ("--tls-cert", self.tls_cert.is_some()),
                    ("--user-header", self.user_header.is_some()),
                    ("--trusted-proxy", !self.trusted_proxy.is_empty()),
                    ("--allowed-host", !self.allowed_host.is_empty()),
                ],
            ),
        ];
        needs
            .iter()
            .filter(|(_, has, _)| !has)
            .find_map(|(needed, _, options)| {
                let (option, _) = options.iter().find(|(_, is_given)| *is_given)?;
                Some(format!("{option} needs {needed}"))
            })
            .or_else(|| self.admin_without_domain())
    }

    /// An administrator whom no user of the socket can be, where no others come.
    fn admin_without_domain(&self) -> Option<String> {
        let domain = self.socket_user_domain.as_ref()?;
        let end = format!("@{domain}");
        let comes_here = |user: &str| self.has_port() && !self.has_tokens() || user.ends_with(&end);
        let stranger = (self.admin.iter()).find(|user| !comes_here(user.as_str()))?;
        Some(format!(
            "--admin {stranger}: with --socket-user-domain, the users of the socket are called NAME{end}"
        ))
    }
}
