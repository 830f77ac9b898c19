//! `k8s-cli volumes ...`: what is typed about volumes.

use argh::FromArgs;

use super::{Format, value};
use crate::api::{AccessMode, VolumeId};

/// Create, list and delete volumes.
#[derive(FromArgs, Debug, PartialEq)]
#[argh(subcommand, name = "volumes", help_triggers("-h", "--help"))]
pub struct VolumesArgs {
    #[argh(subcommand)]
    pub command: VolumesCommand,
}

#[derive(FromArgs, Debug, PartialEq)]
#[argh(subcommand)]
pub enum VolumesCommand {
    Create(VolumeCreateArgs),
    List(VolumeListArgs),
    Status(VolumeStatusArgs),
    Delete(VolumeDeleteArgs),
}

/// Create a volume.
#[derive(FromArgs, Debug, PartialEq)]
#[argh(subcommand, name = "create", help_triggers("-h", "--help"))]
pub struct VolumeCreateArgs {
    /// what tasks mount it by
    #[argh(positional)]
    pub name: String,

    /// how much it holds, as in 10Gi
    #[argh(positional)]
    pub size: String,

    /// storage class (default: the cluster's)
    #[argh(option, arg_name = "class")]
    pub storage_class: Option<String>,

    /// access modes, separated by commas (default ReadWriteOnce)
    #[argh(option, arg_name = "modes", from_str_fn(value::access_modes))]
    pub access_modes: Option<Vec<AccessMode>>,

    /// table, tsv, json, yaml or name (default: table on a terminal, else tsv)
    #[argh(option, short = 'o', arg_name = "format")]
    pub output: Option<Format>,

    /// the server (default $K8S_CLI_API_URL, else http://localhost:8000)
    #[argh(option, arg_name = "url")]
    pub api_url: Option<String>,
}

/// List volumes, newest first.
#[derive(FromArgs, Debug, PartialEq)]
#[argh(subcommand, name = "list", help_triggers("-h", "--help"))]
pub struct VolumeListArgs {
    /// show more columns
    #[argh(switch)]
    pub details: bool,

    /// include the volumes of every user
    #[argh(switch)]
    pub all_users: bool,

    /// table, tsv, json, yaml or name (default: table on a terminal, else tsv)
    #[argh(option, short = 'o', arg_name = "format")]
    pub output: Option<Format>,

    /// the server (default $K8S_CLI_API_URL, else http://localhost:8000)
    #[argh(option, arg_name = "url")]
    pub api_url: Option<String>,
}

/// Show one volume.
#[derive(FromArgs, Debug, PartialEq)]
#[argh(subcommand, name = "status", help_triggers("-h", "--help"))]
pub struct VolumeStatusArgs {
    /// the volume's id
    #[argh(positional)]
    pub id: VolumeId,

    /// table, tsv, json, yaml or name (default: table on a terminal, else tsv)
    #[argh(option, short = 'o', arg_name = "format")]
    pub output: Option<Format>,

    /// the server (default $K8S_CLI_API_URL, else http://localhost:8000)
    #[argh(option, arg_name = "url")]
    pub api_url: Option<String>,
}

/// Delete a volume and what it holds.
#[derive(FromArgs, Debug, PartialEq)]
#[argh(subcommand, name = "delete", help_triggers("-h", "--help"))]
pub struct VolumeDeleteArgs {
    /// the volume's id
    #[argh(positional)]
    pub id: VolumeId,

    /// do not ask
    #[argh(switch)]
    pub force: bool,

    /// table, tsv, json, yaml or name (default: table on a terminal, else tsv)
    #[argh(option, short = 'o', arg_name = "format")]
    pub output: Option<Format>,

    /// the server (default $K8S_CLI_API_URL, else http://localhost:8000)
    #[argh(option, arg_name = "url")]
    pub api_url: Option<String>,
}
