//! `k8s-cli volumes ...`: the arguments of the commands about volumes.

use argh::FromArgs;

use super::{Format, value};
use crate::api::{AccessMode, VolumeId};

/// Create, list and delete volumes.
#[derive(FromArgs, Debug, PartialEq)]
#[argh(
    subcommand,
    name = "volumes",
    help_triggers("-h", "--help"),
    example = "{command_name} create data 10Gi\n{command_name} list"
)]
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
#[argh(
    subcommand,
    name = "create",
    help_triggers("-h", "--help"),
    example = "{command_name} data 10Gi\n{command_name} --storage-class fast --access-modes ReadWriteMany data 1Ti"
)]
pub struct VolumeCreateArgs {
    /// name of the volume, by which tasks mount it
    #[argh(positional)]
    pub name: String,

    /// size of the volume, such as 10Gi; a bare number is in Gi
    #[argh(positional)]
    pub size: String,

    /// storage class (default: the cluster's)
    #[argh(option, arg_name = "class")]
    pub storage_class: Option<String>,

    /// access modes, separated by commas (default: ReadWriteOnce)
    #[argh(option, arg_name = "modes", from_str_fn(value::access_modes))]
    pub access_modes: Option<Vec<AccessMode>>,

    /// table, tsv, json, yaml or name (default: table on a terminal, else tsv)
    #[argh(option, short = 'o', arg_name = "format")]
    pub output: Option<Format>,

    /// URL of the server (default: $K8S_CLI_API_URL, else http://localhost:8000)
    #[argh(option, arg_name = "url")]
    pub api_url: Option<String>,
}

/// List volumes, newest first.
#[derive(FromArgs, Debug, PartialEq)]
#[argh(
    subcommand,
    name = "list",
    help_triggers("-h", "--help"),
    example = "{command_name}\n{command_name} --details --all-users"
)]
pub struct VolumeListArgs {
    /// show more columns
    #[argh(switch)]
    pub details: bool,

    /// include the volumes of all users
    #[argh(switch)]
    pub all_users: bool,

    /// table, tsv, json, yaml or name (default: table on a terminal, else tsv)
    #[argh(option, short = 'o', arg_name = "format")]
    pub output: Option<Format>,

    /// URL of the server (default: $K8S_CLI_API_URL, else http://localhost:8000)
    #[argh(option, arg_name = "url")]
    pub api_url: Option<String>,
}

/// Show one volume.
#[derive(FromArgs, Debug, PartialEq)]
#[argh(
    subcommand,
    name = "status",
    help_triggers("-h", "--help"),
    example = "{command_name} ab12cd34"
)]
pub struct VolumeStatusArgs {
    /// the volume's id
    #[argh(positional)]
    pub id: VolumeId,

    /// table, tsv, json, yaml or name (default: table on a terminal, else tsv)
    #[argh(option, short = 'o', arg_name = "format")]
    pub output: Option<Format>,

    /// URL of the server (default: $K8S_CLI_API_URL, else http://localhost:8000)
    #[argh(option, arg_name = "url")]
    pub api_url: Option<String>,
}

/// Delete a volume and its data.
#[derive(FromArgs, Debug, PartialEq)]
#[argh(
    subcommand,
    name = "delete",
    help_triggers("-h", "--help"),
    example = "{command_name} ab12cd34\n{command_name} --force ab12cd34"
)]
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

    /// URL of the server (default: $K8S_CLI_API_URL, else http://localhost:8000)
    #[argh(option, arg_name = "url")]
    pub api_url: Option<String>,
}
